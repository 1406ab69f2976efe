# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The base class of operations: strength, draws, and the transform of MONAI that replaces it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from monai_gmcl.attributes import Renamed, adopt_old_names
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.teachers.operations.warp import Warp

__all__ = ["GeometryOperation", "Operation", "OrientationOperation", "PixelOperation", "broadcast", "signed"]


class Operation(ABC):
    """One named way to change an image, with a strength that can be learned.

    Each image gets the amount ``strength * u`` with its own ``u`` from the latents. The operation is therefore
    differentiable with respect to its strength, and all randomness is in the latents.

    Args:
        bound: upper limit of the strength. Default: ``bound`` of the class.

    Attributes:
        name: name of the operation.
        unit: unit of the limits.
        usual: strength at difficulty 1 and share 1.
        keeps_upright: whether the operation keeps the orientation of images.

    Raises:
        ConfigurationError: a bound that is not positive.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    usual: ClassVar[float]
    bound: float
    keeps_upright: ClassVar[bool] = True

    stock = Renamed("to_monai_config")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        adopt_old_names(cls)

    def __init__(self, bound: float | None = None) -> None:
        if bound is not None:
            if not 0 < bound < math.inf:
                raise ConfigurationError(
                    f"The bound of {self.name!r} must be positive and finite, got {bound}. Use exclude to switch the "
                    "operation off."
                )
            self.bound = float(bound)

    @classmethod
    def suits(cls, in_channels: int) -> bool:
        """Whether the operation can be applied to images with this number of channels."""
        return True

    @abstractmethod
    def latent_size(self, image_shape: Sequence[int]) -> int:
        """Return the number of random numbers for one image ``(C, H, W)`` or ``(C, D, H, W)``."""

    def draw(
        self, n: int, image_shape: Sequence[int], generator: torch.Generator | None, device: torch.device
    ) -> Tensor:
        """Draw the random numbers of ``n`` images, uniform in [0, 1) unless a subclass overrides this method."""
        return torch.rand(n, self.latent_size(image_shape), generator=generator, device=device)

    def strength(self, share: Tensor, difficulty: float) -> Tensor:
        """Return the strength ``bound * tanh(usual * difficulty * share / bound)``."""
        return self.bound * torch.tanh(self.usual * difficulty * share / self.bound)

    def limits(self, strength: float) -> tuple[float, float]:
        """Return the lowest and the highest amount, in ``unit``, at this strength."""
        return -strength, strength

    def to_monai_config(self, strength: float, spatial_size: Sequence[int]) -> dict[str, Any] | None:
        """Return the configuration of MONAI's transform with this range, for images in [0, 1]; None without one."""
        return None


class GeometryOperation(Operation):
    """An operation that moves points. All geometric operations are applied in one resampling."""

    @abstractmethod
    def apply(self, warp: Warp, draws: Tensor, strength: Tensor) -> Warp:
        """Add the operation to the warp of B images, with draws ``(B, latent_size)`` and strength ``(B,)``."""


class OrientationOperation(Operation):
    """An operation that reorders pixels. It has no strength; its probability is learned.

    The share is the odds, ``p = share / (1 + share)``; a share of 1 is the probability 1/2. Below difficulty 1, the
    odds are multiplied by the difficulty.
    """

    unit, usual, bound = "probability", 0.5, 1.0

    def latent_size(self, image_shape: Sequence[int]) -> int:
        return 1

    def strength(self, share: Tensor, difficulty: float) -> Tensor:
        """Return the probability of the operation."""
        odds = share * min(difficulty, 1.0)
        return odds / (1 + odds)

    def limits(self, strength: float) -> tuple[float, float]:
        return 0.0, strength

    @abstractmethod
    def apply(self, images: Tensor, draws: Tensor, acts: Tensor) -> Tensor:
        """Change the images ``(B, C, *spatial)`` for which ``acts`` ``(B,)`` is true, with draws ``(B, 1)``."""


class PixelOperation(Operation):
    """An operation on pixel values scaled to [0, 1]. The teacher clamps results outside this range."""

    @abstractmethod
    def apply(self, images: Tensor, draws: Tensor, strength: Tensor) -> Tensor:
        """Change images ``(B, C, *spatial)`` with draws ``(B, latent_size)`` and strength ``(B,)``."""


def signed(draws: Tensor, strength: Tensor) -> Tensor:
    """Amounts ``(B, n)`` in [-strength, strength] from uniform draws ``(B, n)`` and strengths ``(B,)``."""
    return strength[:, None] * (2 * draws - 1)


def broadcast(amounts: Tensor, images: Tensor) -> Tensor:
    """View amounts ``(B,)`` or ``(B, C)`` so that they broadcast over images ``(B, C, *spatial)``."""
    return amounts.reshape(len(images), -1, *[1] * (images.ndim - 2))
