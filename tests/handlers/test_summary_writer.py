# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

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
