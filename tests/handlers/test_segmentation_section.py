# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data.dataloader import DataLoader
from monai.engines import SupervisedEvaluator
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss, DiceLoss
from monai.networks.nets import UNet
from PIL import Image

from monai_gmcl import GMCLTrainer, PolicyTeacher
from monai_gmcl.handlers import RunReport
from monai_gmcl.handlers.segmentation_section import SegmentedImage, segmentation_section


def case(dice: list[float], inside: int = 6) -> SegmentedImage:
    mask = torch.zeros(1, 16, 16, dtype=torch.int64)
    mask[0, 4:12, 4 : 4 + inside] = 1
    return SegmentedImage(torch.rand(1, 16, 16), mask, mask, torch.tensor(dice))


def test_it_tells_the_dice_of_each_class_where_there_is_one_and_shows_the_worst_and_the_best() -> None:
    nan = float("nan")
    cases = [case([0.9, 0.2, nan]), case([0.9, 0.8, 0.6]), case([0.9, nan, nan], 0)]
    section = segmentation_section(cases, ["background", "wall", "core"], "the last weights")
    assert section.tables[0].rows == [
        ["wall", "2", "0.500", "0.200", "0.200", "0.800"],
        ["core", "1", "0.600", "0.600", "0.600", "0.600"],
    ]
    assert section.text[0].startswith("The mean Dice of the last weights on the 3 validation images is 0.450")
    worst, best = section.photos
    assert worst.alt.startswith("The worst") and best.alt.startswith("The best") and worst.png != best.png
    pixels = np.asarray(Image.open(io.BytesIO(worst.png)))
    assert (pixels == (255, 255, 0)).all(-1).any(), "The contours of the first class are yellow."


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("overlapping", [False, True])
def test_a_run_reports_images_of_several_sizes_by_sliding_windows(dims: int, overlapping: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    classes = 2 if overlapping else 3

    def item(*size: int) -> dict[str, Any]:
        image = torch.rand(1, *size)
        mask = (image > 0.5).repeat(2, *[1] * dims).float() if overlapping else (image * 3).long()
        return {"image": image, "label": mask}

    student = UNet(dims, 1, classes, channels=[4, 8], strides=[2])
    sizes = [[8 + 4 * k] * (dims - 1) + [8] for k in range(3)]
    evaluator = SupervisedEvaluator(
        torch.device("cpu"),
        DataLoader([item(*size) for size in sizes], batch_size=1),
        student,
        inferer=SlidingWindowInferer(8),
    )
    teacher = PolicyTeacher(dims, 1, classes)
    GMCLTrainer(
        "cpu",
        1,
        DataLoader([item(*[8] * dims) for _ in range(4)], batch_size=2),
        student,
        torch.optim.Adam(student.parameters()),
        DiceLoss(sigmoid=True) if overlapping else DiceCELoss(softmax=True, to_onehot_y=True),
        train_handlers=[RunReport(tmp_path, evaluator, ["wall", "core"] if overlapping else ["out", "wall", "core"])],
        teacher=teacher,
        teacher_optimizer=teacher.optimizer(),
        seed=0,
    ).run()
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "could not be made" not in page and "Where the student looks" not in page
    assert "on the 3 validation images is" in page and "Dice by class" in page
    assert all(f'<th scope="row">{name}</th>' in page for name in ("wall", "core"))
