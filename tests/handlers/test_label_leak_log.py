# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from monai_gmcl import GMCLTrainer, ImageTeacher
from monai_gmcl.handlers import LabelLeakLog


def test_the_leak_of_a_teacher_that_sees_the_label_is_written_at_the_end(
    tmp_path: Path, make_trainer: Callable[..., GMCLTrainer]
) -> None:
    teacher = ImageTeacher(spatial_dims=2, in_channels=1, num_classes=2, condition_on_label=True)
    trainer = make_trainer([LabelLeakLog(tmp_path)], teacher=teacher)
    trainer.run()
    (row,) = csv.DictReader((tmp_path / "label_leak.csv").open())
    assert int(row["images"]) == 12
    assert 0 <= float(row["auc"]) <= 1 and 0 <= float(row["unconditioned_auc"]) <= 1


def test_nothing_is_written_for_a_teacher_that_does_not_see_the_label(
    tmp_path: Path, make_trainer: Callable[..., Any]
) -> None:
    make_trainer([LabelLeakLog(tmp_path)]).run()
    assert list(tmp_path.iterdir()) == []
