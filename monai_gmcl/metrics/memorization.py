# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether synthetic images are copies of real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from monai_gmcl.exceptions import ConfigurationError

SMALL_SIDE = {2: 32, 3: 16}
"""Of the images that are compared, in pixels, by spatial dimensions."""
QUERIES = 2000
"""Real images, evenly spaced, whose distance to the nearest other one is measured, at most."""
CHUNK = 256


@dataclass(frozen=True)
class Memorization:
    """How near synthetic images come to real ones.

    Attributes:
        distances: of each synthetic image to the nearest real one, ``(n,)``.
        nearest: position of that real image, ``(n,)``.
        real_distances: of real images to the nearest other one.
        quantile: share of fresh images that would be flagged by chance.
        threshold: that quantile of ``real_distances``.
    """

    distances: Tensor
    nearest: Tensor
    real_distances: Tensor
    quantile: float
    threshold: float

    @property
    def flagged(self) -> Tensor:
        """Which synthetic images are at most ``threshold`` from a real one, ``(n,)``."""
        return self.distances <= self.threshold

    @property
    def share(self) -> float:
        """Share of flagged images: about ``quantile`` without memorization, up to 1 for copies."""
        return float(self.flagged.double().mean())

    def closest(self, count: int) -> list[int]:
        """Positions of the synthetic images that are nearest to a real one, the nearest first."""
        return self.distances.sort(stable=True).indices[:count].tolist()


@torch.no_grad()
def memorization(
    synthetic: Tensor,
    real: Tensor,
    features: Callable[[Tensor], Tensor] | None = None,
    quantile: float = 0.05,
) -> Memorization:
    """Whether synthetic images are copies of real ones: distance to the nearest real image, against a fair threshold.

    The distance is the root mean square difference, of pixels or of what ``features`` makes of them. An image is
    flagged where its distance is at most the threshold t, the ``quantile`` of the distances from each real image to
    the nearest *other* real image. A fresh image of the same distribution is to the real ones as each of these is to
    the others, so it is flagged with a chance of about ``quantile``: a share of flagged images well above that
    (its standard deviation by chance is ``sqrt(quantile * (1 - quantile) / n)``) means that images were
    memorized. The reverse does not hold: a low share is no proof of privacy.

    Raw pixels see a copy that was shifted or brightened as a new image. :func:`small_pixels` forgives a little,
    features of a network (a trained student's, say) more.

    Args:
        synthetic: images or features, ``(n, ...)``, n of at least 1.
        real: those that the teacher was trained on, ``(m, ...)``, m of at least 3.
        features: applied to both, in batches, to give ``(B, ...)``: :func:`small_pixels`, or a network in evaluation
            mode. Default: they are compared as they are.
        quantile: above 0 and below 1; the nearer to 0, the more a flag says and the more real images it takes.

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
    """Pixels of images resized to 32 a side, or 16 for volumes, whatever their size: ``(B, D)``.

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
    """Distance to and position of the nearest reference; ``own`` are the queries' own positions, to be left out."""
    squares = references.square().sum(1)
    distances, positions = [], []
    for start in range(0, len(queries), CHUNK):
        chunk = queries[start : start + CHUNK]
        # up to a constant for each query, the squared distance
        far = torch.addmm(squares, chunk, references.T, alpha=-2)
        if own is not None:
            far.scatter_(1, own[start : start + CHUNK, None], float("inf"))
        position = far.argmin(1)
        positions.append(position)
        # anew from the difference, which is exactly 0 for copies
        distances.append((chunk - references[position]).square().mean(1).sqrt())
    return torch.cat(distances), torch.cat(positions)
