# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The part of a run's report about segmentation: Dice by class, the worst and the best images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from monai_gmcl.engines.trainer import GMCLTrainer
from monai_gmcl.reporting.image_sheet import SheetRow, image_sheet, unnormalized
from monai_gmcl.reporting.page import Picture, Section, Table
from monai_gmcl.tasks import Segmentation
from monai_gmcl.teachers import Teacher

__all__ = ["SegmentedImage", "segment", "segmentation_section"]

SHOWN = 5
"""Number of worst and of best images that are shown."""


@dataclass(frozen=True)
class SegmentedImage:
    """A validation image and how well it was segmented.

    Attributes:
        image: ``(C, *spatial)``, scaled to [0, 1] if the teacher has a range; for volumes the middle slice.
        mask: class indices of the mask, ``(1, H, W)``, in the same slice.
        found: class indices predicted by the student, ``(1, H, W)``, in the same slice.
        dice: Dice of each class, the background first; NaN for a class that is not in the mask.
    """

    image: Tensor
    mask: Tensor
    found: Tensor
    dice: Tensor


@torch.no_grad()
def segment(engine: GMCLTrainer, evaluator: Any, network: nn.Module) -> list[SegmentedImage]:
    """Segment an evaluator's images again with its inferer; images may differ in size."""
    task = engine.task
    assert isinstance(task, Segmentation)
    cases = []
    for batch in evaluator.data_loader:
        prepared = evaluator.prepare_batch(batch, engine.device, False)
        images, masks = (torch.as_tensor(part) for part in prepared[:2])
        outputs = torch.as_tensor(evaluator.inferer(images, network)).float()
        given, dice, _ = task.answers(outputs, masks)
        dice = torch.where(given >= 0, dice, torch.nan).cpu()
        found = _classes(outputs, task.threshold if task.overlapping else None)
        wanted = (
            masks
            if masks.shape[1] == 1 and outputs.shape[1] > 1
            else _classes(masks, 0.5 if task.overlapping else None)
        )
        seen = _in_range(unnormalized(images, engine.teacher), engine.teacher)
        cases += [
            SegmentedImage(_middle(image), _middle(mask), _middle(own), of_image)
            for image, mask, own, of_image in zip(seen, wanted.cpu(), found.cpu(), dice, strict=True)
        ]
    return cases


def segmentation_section(cases: Sequence[SegmentedImage], names: Sequence[str], weights: str) -> Section:
    """Report the student's Dice. ``weights`` describes the weights of the student in words."""
    dice = torch.stack([case.dice for case in cases])[:, 1:]
    rows = []
    for name, of_class in zip(names[1:], dice.T, strict=True):
        held = of_class[~of_class.isnan()]
        told = (
            [f"{float(value):.3f}" for value in (held.mean(), held.median(), held.min(), held.max())]
            if len(held)
            else ["–"] * 4
        )
        rows.append([name, str(len(held)), *told])
    of_images = dice.nanmean(1)
    order = [place for place in of_images.argsort().tolist() if not of_images[place].isnan()]
    text = (
        f"The mean Dice of {weights} on the {len(cases)} validation images is {float(of_images.nanmean()):.3f}, "
        "without the background and without classes that are absent from a mask. Not for diagnosis."
    )
    photos = [
        _photo(
            f"The {which} images: contours of the given masks (above) and predicted masks (below)",
            [cases[i] for i in places],
        )
        for which, places in (("worst", order[:SHOWN]), ("best", order[::-1][:SHOWN]))
        if places
    ]
    table = Table("Dice by class", ["class", "images", "mean", "median", "lowest", "highest"], rows)
    return Section("The student", [text], [table], photos=photos)


def _photo(alt: str, cases: Sequence[SegmentedImage]) -> Picture:
    shown = [case.image for case in cases]
    dice = ", ".join(f"{float(case.dice[1:].nanmean()):.3f}" for case in cases)
    rows = [
        SheetRow("given", [shown], [[case.mask for case in cases]]),
        SheetRow(f"predicted, Dice {dice}", [shown], [[case.found for case in cases]]),
    ]
    return Picture(alt.split()[1] + "_images", alt, image_sheet(rows, tile=160))


def _classes(values: Tensor, threshold: float | None) -> Tensor:
    """Return classes ``(n, 1, *spatial)`` of outputs or of masks with channels; overlapping channels start at 1."""
    if threshold is not None:
        values = torch.cat([torch.full_like(values[:, :1], threshold), values], 1)
    return values.argmax(1, keepdim=True)


def _in_range(images: Tensor, teacher: nn.Module) -> Tensor:
    low, high = teacher.value_range if isinstance(teacher, Teacher) else (float(images.min()), float(images.max()))
    return (images - low) / max(high - low, 1e-12)


def _middle(values: Tensor) -> Tensor:
    return values if values.ndim == 3 else values[:, values.shape[1] // 2]
