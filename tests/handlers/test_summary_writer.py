# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_gmcl.handlers import LazySummaryWriter


def test_a_writer_that_gets_no_number_makes_no_file(tmp_path: Path) -> None:
    writer = LazySummaryWriter(tmp_path / "events")
    writer.flush()
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_numbers_are_written_as_by_tensorboards_own(tmp_path: Path) -> None:
    writer = LazySummaryWriter(tmp_path, filename_suffix=".own")
    writer.add_scalar("loss", 0.5, 3)
    writer.close()
    (file,) = tmp_path.iterdir()
    assert file.name.endswith(".own")
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("loss")
    assert [(event.step, event.value) for event in events] == [(3, 0.5)]
