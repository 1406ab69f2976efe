# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Memorization: whether synthetic images are copies of real images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from monai_gmcl.exceptions import ConfigurationError

__all__ = ["Memorization", "memorization", "small_pixels"]

SMALL_SIDE = {2: 32, 3: 16}
"""Side length of the compared images in pixels, by spatial dimensions."""
QUERIES = 2000
"""Largest number of real images, evenly spaced, whose distance to the nearest other image is measured."""
CHUNK = 256


@dataclass(frozen=True)
class Memorization:
    """Distances of synthetic images to real images.

    Attributes:
        distances: distance of each synthetic image to the nearest real image, ``(n,)``.
        nearest: index of the nearest real image, ``(n,)``.
        real_distances: distances of real images to the nearest other real image.
        quantile: fraction of new images that would be flagged by chance.
        threshold: this quantile of ``real_distances``.
    """

    distances: Tensor
    nearest: Tensor
    real_distances: Tensor
    quantile: float
    threshold: float

    @property
    def flagged(self) -> Tensor:
        """Whether the distance of each synthetic image to a real image is at most ``threshold``, ``(n,)``."""
        return self.distances <= self.threshold

    @property
    def share(self) -> float:
        """Fraction of flagged images: about ``quantile`` without memorization, up to 1 for copies."""
        return float(self.flagged.double().mean())

    def closest(self, count: int) -> list[int]:
        """Return the indices of the synthetic images that are closest to a real image, the closest first."""
        return self.distances.sort(stable=True).indices[:count].tolist()


@torch.no_grad()
def memorization(
    synthetic: Tensor,
    real: Tensor,
    features: Callable[[Tensor], Tensor] | None = None,
    quantile: float = 0.05,
) -> Memorization:
    """Compare the distances of synthetic images to the nearest real image with a threshold.

    The distance is the root mean square difference of pixels or of ``features``. An image is flagged if its distance is
    at most the threshold: the ``quantile`` of the distances from each real image to the nearest *other* real image. A
    new image of the same distribution is flagged with a probability of about ``quantile``. If the fraction of flagged
    images is well above ``quantile`` (its standard deviation by chance is ``sqrt(quantile * (1 - quantile) / n)``),
    images were memorized. The converse is not true: a low fraction does not prove privacy.

    With raw pixels, a shifted or brightened copy counts as a new image. :func:`small_pixels` is less sensitive to such
    changes, and features of a network, such as a trained student, are even less sensitive.

    Args:
        synthetic: images or features, ``(n, ...)``, n of at least 1.
        real: the images on which the teacher was trained, ``(m, ...)``, m of at least 3.
        features: function that is applied to batches of both and returns ``(B, ...)``: :func:`small_pixels`, or a
            network in evaluation mode. Default: images are compared directly.
        quantile: above 0 and below 1. A smaller quantile makes flags more specific, but needs more real images.

    Raises:
        ConfigurationError: too few images, images of different shapes, or another quantile.
    """
    if not 0 < quantile < 1:
        raise ConfigurationError(f"quantile must be above 0 and below 1, got {quantile}.")
    if len(synthetic) < 1 or len(real) < 3:
        raise ConfigurationError(
            f"Expected at least 1 synthetic and 3 real images, got {len(synthetic)} and {len(real)}."
        )
    if synthetic.shape[1:] != real.shape[1:] and features is None:
        raise ConfigurationError(
            f"Expected synthetic and real images of one shape, got {tuple(synthetic.shape[1:])} and "
            f"{tuple(real.shape[1:])}."
        )
    ours, theirs = _flat(synthetic, features), _flat(real, features)
    distances, nearest = _nearest(ours, theirs)
    queries = torch.linspace(0, len(theirs) - 1, min(len(theirs), QUERIES), dtype=torch.double).round().long()
    real_distances, _ = _nearest(theirs[queries], theirs, queries)
    threshold = float(torch.quantile(real_distances, quantile))
    return Memorization(distances, nearest, real_distances, quantile, threshold)


def small_pixels(images: Tensor) -> Tensor:
    """Return the pixels of images resized to 32 pixels per side, or 16 for volumes: ``(B, D)``.

    Args:
        images: ``(B, C, H, W)`` or ``(B, C, D, H, W)``.
    """
    spatial_dims = images.ndim - 2
    small = functional.interpolate(images.float(), (SMALL_SIDE[spatial_dims],) * spatial_dims, mode="area")
    return small.flatten(1)


def _flat(images: Tensor, features: Callable[[Tensor], Tensor] | None) -> Tensor:
    images = images.detach()
    if features is not None:
        images = torch.cat([features(batch) for batch in torch.split(images, CHUNK)])
    return images.flatten(1).double()


def _nearest(queries: Tensor, references: Tensor, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return distance and index of the nearest reference; the queries' own indices, ``own``, are excluded."""
    squares = references.square().sum(1)
    distances, positions = [], []
    for start in range(0, len(queries), CHUNK):
        chunk = queries[start : start + CHUNK]
        # the squared distance, except for a constant for each query
        far = torch.addmm(squares, chunk, references.T, alpha=-2)
        if own is not None:
            far.scatter_(1, own[start : start + CHUNK, None], float("inf"))
        position = far.argmin(1)
        positions.append(position)
        # computed again from the difference, which is exactly 0 for copies
        distances.append((chunk - references[position]).square().mean(1).sqrt())
    return torch.cat(distances), torch.cat(positions)
