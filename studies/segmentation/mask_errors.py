# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Drawn vessels some of whose masks are made wrong, and trusted ones, drawn by a seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from monai_gmcl.exceptions import ConfigurationError
from studies.segmentation.images import Item, draw_vessels

__all__ = ["DRAWN", "ERRORS", "MASKS", "MaskSet", "draw"]

DRAWN = 80
"""Images from which those of a seed are drawn; development measures on some of the others."""
HELD_OUT = 15
SHIFT, DILATION = 6, 3
"""Pixels; vessels are 0.5 to 3.5 wide."""


def _shifted(mask: Tensor, generator: torch.Generator) -> Tensor:
    """In a random direction; what leaves at an edge enters at the opposite one."""
    angle = torch.rand((), generator=generator).item() * 2 * math.pi
    return mask.roll([round(SHIFT * math.sin(angle)), round(SHIFT * math.cos(angle))], (-2, -1))


def _dilated(mask: Tensor, _: torch.Generator) -> Tensor:
    return F.max_pool2d(mask, 2 * DILATION + 1, stride=1, padding=DILATION)


def _emptied(mask: Tensor, _: torch.Generator) -> Tensor:
    return torch.zeros_like(mask)


MASKS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "right": lambda mask, _: mask,
    "shifted": _shifted,
    "dilated": _dilated,
    "empty": _emptied,
}
"""What can be done with a mask."""
ERRORS = ("mixed", *list(MASKS)[1:])
"""Kinds of wrong masks of a run: a third each, or one of them."""


@dataclass(frozen=True)
class MaskSet:
    """What an arm may train on.

    Attributes:
        doubtful: images and their given masks, some of them wrong; ``mark`` is the position in :data:`MASKS`.
        right: the same with their right masks, and the mark 0.
        trusted: other images with right masks.
        held_out: other images with right masks, for measuring.
    """

    doubtful: list[Item]
    right: list[Item]
    trusted: list[Item]
    held_out: list[Item]

    def with_right_masks(self) -> MaskSet:
        """Return the same without wrong masks."""
        return replace(self, doubtful=self.right)


def draw(n: int, trusted: int, errors: str, share: float, seed: int) -> MaskSet:
    """Return the images of a seed.

    Args:
        n: images with doubtful masks.
        trusted: others with right masks.
        errors: in :data:`ERRORS`.
        share: of wrong masks, 0 to 1.
        seed: draws images and errors.

    Raises:
        ConfigurationError: more images than there are.
    """
    if n + trusted + HELD_OUT > DRAWN:
        raise ConfigurationError(f"Expected at most {DRAWN - HELD_OUT} images together, got {n} and {trusted} trusted.")
    generator = torch.Generator().manual_seed(seed)
    pool = draw_vessels("train", DRAWN)
    items = [{**pool[i], "mark": torch.tensor(0)} for i in torch.randperm(DRAWN, generator=generator).tolist()]
    kinds = list(MASKS)[1:] if errors == "mixed" else [errors]
    wrong = [kinds[i % len(kinds)] for i in range(round(share * n))]
    # The order of the images is random.
    spoil = partial(_spoiled, generator=generator)
    doubtful = [*map(spoil, items[: len(wrong)], wrong), *items[len(wrong) : n]]
    return MaskSet(doubtful, items[:n], items[n : n + trusted], items[-HELD_OUT:])


def _spoiled(item: Item, kind: str, generator: torch.Generator) -> Item:
    label = MASKS[kind](item["label"], generator)
    return {**item, "label": label, "mark": torch.tensor(list(MASKS).index(kind))}
