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

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.teachers.base import Teacher
from monai_gmcl.teachers.operations import OPERATIONS, GeometryOperation, Operation, PixelOperation, Warp
from monai_gmcl.teachers.policy_to_monai import MonaiPolicy, policy_to_monai

__all__ = ["PolicyTeacher"]

NAMES = tuple(operation.name for operation in OPERATIONS)
LARGEST_SHARE = 3.0
"""Before the mean is taken out. Without it an operation at its bound draws share from the others, and costs nothing
there: on PCam three operations ended at their bounds and the other eight at a tenth of the usual strength."""


class PolicyTeacher(Teacher):
    """Changes images by named operations, each with an amount drawn from a learned range.

    The strength of operation k, the end of its range, is

        ``s_k = bound_k * tanh(usual_k * difficulty * share_k / bound_k)``
        ``share_k = exp(z_k - mean(z))``, ``z = log 3 * tanh((log_share - mean(log_share)) / log 3)``

    so that the difficulty sets the common strength, and what is learned only shares it out. Each image gets its own
    amounts, uniform within the ranges, and each operation acts on an image with ``probability``. Rotation, zoom, shear,
    shift and elastic warp cost one resampling together. Augmentation policies learned by backpropagation are known
    from Faster AutoAugment (Hataya et al., 2019, arXiv 1911.06987); here the gradient is the hypergradient.

    Args:
        spatial_dims: 2 or 3.
        in_channels: number of image channels C.
        num_classes: number of classes, or of labels for multi-label tasks.
        value_range: lowest and highest value of the (un-normalized) images.
        mean: per-channel mean that was subtracted from the images.
        std: per-channel standard deviation by which the images were divided.
        include: names of the operations. Default: all that suit the number of channels.
        exclude: names of operations to leave out. Where the label lives in the center of a patch, shift, zoom and
            erasing can make it false.
        bounds: upper limits of strengths, in the operation's own unit (the logarithm for zoom and gamma).
        probability: how often an operation acts on an image.

    Shape:
        images ``(B, C, H, W)`` or ``(B, C, D, H, W)``; latents ``(B, L)``. Geometry is in pixels: on volumes with
        anisotropic voxels a rotation is not rigid.

    Raises:
        ConfigurationError: an unknown name, one that does not suit the channels, no operation left, a bound that is not
            positive, a probability outside (0, 1]; in use, images or latents of another shape.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        num_classes: int,
        value_range: tuple[float, float] = (0.0, 1.0),
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        include: Collection[str] | None = None,
        exclude: Collection[str] = (),
        bounds: Mapping[str, float] | None = None,
        probability: float = 0.5,
    ) -> None:
        super().__init__(spatial_dims, in_channels, num_classes, value_range, mean, std)
        if not 0 < probability <= 1:
            raise ConfigurationError(f"probability must be above 0 and at most 1, got {probability}.")
        self.probability = float(probability)
        self.operations = _choose_operations(in_channels, include, exclude, dict(bounds or {}))
        self.log_share = nn.Parameter(torch.zeros(len(self.operations)))

    @property
    def shares(self) -> Tensor:
        """Learned shares ``(K,)`` in the common strength, 1/9 to 9; their geometric mean is 1."""
        most = math.log(LARGEST_SHARE)
        logarithms = most * torch.tanh((self.log_share - self.log_share.mean()) / most)
        return (logarithms - logarithms.mean()).exp()

    def strengths(self, difficulty: float) -> Tensor:
        """Return the strengths ``(K,)`` of the operations, differentiable in ``log_share``."""
        bound = self.log_share.new_tensor([operation.bound for operation in self.operations])
        usual = self.log_share.new_tensor([operation.usual for operation in self.operations])
        return bound * torch.tanh(usual * difficulty * self.shares / bound)

    def draw_latents(self, n: int, image_shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        """Draw ``(n, L)``: for each operation a number that decides whether it acts, then each one's own numbers."""
        if len(image_shape) != self.spatial_dims + 1 or image_shape[0] != self.in_channels:
            raise ConfigurationError(
                f"Expected images of {self.in_channels} channels and {self.spatial_dims} spatial dimensions, "
                f"got images of shape {tuple(image_shape)}."
            )
        device = torch.device("cpu") if generator is None else generator.device
        gates = torch.rand(n, len(self.operations), generator=generator, device=device)
        draws = [operation.draw(n, image_shape, generator, device) for operation in self.operations]
        return torch.cat([gates, *draws], 1)

    def change(self, images: Tensor | None, labels: Tensor, latents: Tensor, difficulty: float) -> Tensor:
        """Apply the operations; labels are not looked at."""
        if images is None:
            raise ConfigurationError("PolicyTeacher changes images: it needs sources, got None.")
        gates, draws = self._split(latents.to(images), images.shape[1:])
        strengths = torch.where(gates < self.probability, self.strengths(difficulty).to(images), 0)
        todo = list(zip(self.operations, draws, strengths.unbind(1), strict=True))
        low, high = self.value_range
        images = (images - low) / (high - low)
        geometry = [(o, d, s) for o, d, s in todo if isinstance(o, GeometryOperation)]
        if geometry:
            warp = Warp.identity(images)
            for operation, numbers, strength in geometry:
                warp = operation.apply(warp, numbers, strength)
            images = warp.sample(images)
        for pixelwise, numbers, strength in todo:
            if isinstance(pixelwise, PixelOperation):
                images = pixelwise.apply(images, numbers, strength)
        return images * (high - low) + low

    def policy(self, difficulty: float = 1.0) -> dict[str, dict[str, Any]]:
        """Return the learned ranges: by operation's name ``low``, ``high``, ``unit``, ``share`` (1: as usual)."""
        strengths, shares = self.strengths(difficulty).tolist(), self.shares.tolist()
        table = {}
        for operation, strength, share in zip(self.operations, strengths, shares, strict=True):
            low, high = operation.limits(strength)
            table[operation.name] = {"low": low, "high": high, "unit": operation.unit, "share": share}
        return table

    def policy_table(self, difficulty: float = 1.0) -> str:
        """Return :meth:`policy` as text."""
        lines = [f"{'operation':<14}{'from':>9}{'to':>9}  {'unit':<10}{'share':>6}"]
        for name, row in self.policy(difficulty).items():
            lines.append(f"{name:<14}{row['low']:>9.3f}{row['high']:>9.3f}  {row['unit']:<10}{row['share']:>6.2f}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.policy_table()

    def to_monai(
        self, spatial_size: Sequence[int], difficulty: float = 1.0, keys: str | Sequence[str] | None = None
    ) -> MonaiPolicy:
        """Return the ranges as MONAI's own random transforms and as a bundle configuration; see :class:`MonaiPolicy`.

        Args:
            spatial_size: of the images; some of MONAI's ranges are in pixels.
            difficulty: whose ranges to export.
            keys: of the images, for transforms of dictionaries. Default: transforms of single images.

        Raises:
            ConfigurationError: sizes that are not the teacher's, a difficulty that is not positive.
        """
        if len(spatial_size) != self.spatial_dims or not difficulty > 0:
            raise ConfigurationError(
                f"to_monai takes {self.spatial_dims} spatial sizes and a difficulty above 0, "
                f"got {tuple(spatial_size)} and {difficulty}."
            )
        return policy_to_monai(self, spatial_size, difficulty, keys)

    def _split(self, latents: Tensor, image_shape: Sequence[int]) -> tuple[Tensor, Sequence[Tensor]]:
        sizes = [len(self.operations), *(operation.latent_size(image_shape) for operation in self.operations)]
        if latents.ndim != 2 or latents.shape[1] != sum(sizes):
            raise ConfigurationError(
                f"Images of shape {tuple(image_shape)} take latents (n, {sum(sizes)}), got {tuple(latents.shape)}: "
                "draw them with draw_latents for this shape. Images of different sizes cannot share latents: "
                "bring them to one size (image_transforms(size=...), image_size in a configuration)."
            )
        gates, *draws = torch.split(latents, sizes, 1)
        return gates, draws


def _choose_operations(
    in_channels: int, include: Collection[str] | None, exclude: Collection[str], bounds: dict[str, float]
) -> list[Operation]:
    suitable = [operation.name for operation in OPERATIONS if operation.suits(in_channels)]
    for argument, names in (("include", include or ()), ("exclude", exclude), ("bounds", bounds)):
        if isinstance(names, str):
            raise ConfigurationError(f"{argument} must be a list of names, got the string {names!r}.")
        accepted = suitable if argument == "include" else NAMES
        for name in names:
            if name not in accepted:
                raise ConfigurationError(
                    f"{argument} names {name!r}; known operations for {in_channels} channel(s): {', '.join(accepted)}."
                )
    chosen = [name for name in (suitable if include is None else include) if name not in exclude]
    if not chosen:
        raise ConfigurationError("include and exclude leave no operation.")
    return [operation(bounds.get(operation.name)) for operation in OPERATIONS if operation.name in chosen]
