# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A teacher that changes hematoxylin-eosin stains in optical density."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.optical_density import HEMATOXYLIN_EOSIN, combine_stains, separate_stains
from monai_gmcl.teachers.base import Teacher
from monai_gmcl.teachers.normal_latents import learned_gain, normal_latents, split_latents, squash

__all__ = ["StainTeacher"]

CHANGES = ("gain", "offset", "tilt", "turn", "field")
USUAL = (0.25, 0.06, 0.08, 0.08, 0.12)
"""Standard deviations at difficulty 1 before training."""
BOUNDS = (0.7, 0.2, 0.25, 0.25, 0.4)
STAINS = ("hematoxylin", "eosin")
NODES = 4


class StainTeacher(Teacher):
    """Changes hematoxylin and eosin in optical density; the spread of each change is learned.

    For each of the two stains, with its concentrations c (:func:`~monai_gmcl.optical_density.separate_stains`) and
    its direction e in color space:

        ``c' = c * exp(gain + field) + offset``,  ``e' = unit(e + tilt * other + turn * residual)``

    ``gain``, ``offset``, ``tilt`` (toward the other stain) and ``turn`` (toward the residual) are one number for each
    image; ``field`` is a smooth map. Each is ``squash(difficulty * usual * z) * 1.7 ** tanh(magnitude)`` with normal
    latents z. The ten magnitudes are learned. They are bounded, so that the synthetic images of one source stay
    different. Labels are ignored.

    Args:
        spatial_dims: 2.
        in_channels: 3.
        num_classes: number of classes, or of labels for multi-label tasks.
        value_range: lowest and highest value of the (un-normalized) images: black, and white of the glass.
        mean: per-channel mean that was subtracted from the images.
        std: per-channel standard deviation by which the images were divided.

    Shape:
        images ``(B, 3, H, W)``, RGB; latents ``(B, L)``.

    Raises:
        ConfigurationError: other dimensions or channels; in use, no images or latents of another shape.

    Source:
        Random gain and offset of stains: D. Tellez et al., Whole-slide mitosis detection in H&E breast histology using
        PHH3 as a reference to train distilled stain-invariant convolutional networks, IEEE TMI 2018
        (arXiv 1808.05896). Learned spread, directions and the smooth map are ours.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        num_classes: int = 2,
        value_range: tuple[float, float] = (0.0, 1.0),
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(spatial_dims, in_channels, num_classes, value_range, mean, std)
        if (spatial_dims, in_channels) != (2, 3):
            raise ConfigurationError(
                "StainTeacher takes RGB images of hematoxylin-eosin slides: spatial_dims 2 and in_channels 3, "
                f"got {spatial_dims} and {in_channels}."
            )
        self.magnitude = nn.Parameter(torch.zeros(len(CHANGES), len(STAINS)))

    def magnitudes(self) -> dict[str, dict[str, float]]:
        """Return, by change and stain, the learned magnitude relative to its initial value."""
        gains = learned_gain(self.magnitude.detach()).tolist()
        return {change: dict(zip(STAINS, row, strict=True)) for change, row in zip(CHANGES, gains, strict=True)}

    def draw_latents(self, n: int, image_shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        """Draw ``(n, L)`` normal numbers: for each stain four numbers, then the nodes of its field."""
        return normal_latents(self, n, sum(_SIZES), image_shape, generator)

    def change(self, images: Tensor | None, labels: Tensor, latents: Tensor, difficulty: float) -> Tensor:
        """Separate the stains, change their amounts and colors, combine them."""
        assert images is not None
        low, high = self.value_range
        parts = split_latents(latents.to(images), _SIZES)
        gain, offset, tilt, turn, field = (
            squash(difficulty * usual * part.view(len(images), len(STAINS), -1), bound) * learned_gain(logit)[:, None]
            for usual, bound, part, logit in zip(USUAL, BOUNDS, parts, self.magnitude.to(images), strict=True)
        )
        concentrations = separate_stains((images - low) / (high - low))
        field = functional.interpolate(
            field.view(-1, len(STAINS), NODES, NODES), images.shape[2:], mode="bilinear", align_corners=True
        )
        stains = concentrations[:, :2] * (gain[..., None] + field).exp() + offset[..., None]
        colored = combine_stains(torch.cat([stains, concentrations[:, 2:]], 1), _stain_matrix(tilt, turn))
        return colored * (high - low) + low


_SIZES = (2, 2, 2, 2, 2 * NODES * NODES)


def _stain_matrix(tilt: Tensor, turn: Tensor) -> Tensor:
    """Return stain directions ``(B, 3, 3)`` after tilts and turns ``(B, 2, 1)``, with the same residual direction."""
    rows = HEMATOXYLIN_EOSIN.to(tilt)
    moved = functional.normalize(rows[:2] + tilt * rows[:2].flip(0) + turn * rows[2], dim=-1)
    return torch.cat([moved, rows[2].expand(len(tilt), 1, 3)], 1)
