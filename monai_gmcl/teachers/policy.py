# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A teacher that applies named operations with learned strengths and probabilities."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.teachers.base import Teacher
from monai_gmcl.teachers.evidence_optimizer import EvidenceOptimizer
from monai_gmcl.teachers.normal_latents import split_latents
from monai_gmcl.teachers.operations import OPERATIONS, Operation, OrientationOperation
from monai_gmcl.teachers.operations.plan import Plan, Step
from monai_gmcl.teachers.policy_to_monai import MonaiPolicy, policy_text, policy_to_monai

__all__ = ["PolicyTeacher"]

NAMES = tuple(operation.name for operation in OPERATIONS)
LARGEST_SHARE, SMALLEST_SHARE = 2.0, 1 / 50
"""Bounds of shares: 1/50, because an operation may break labels, and 2, so that no single operation dominates."""
TURNED_DOWN = 1 / 2
"""An operation with a share below this value is turned down."""


class PolicyTeacher(Teacher):
    """Changes images by named operations, each with an amount drawn from a learned range.

    The upper end of the range of operation k is its strength

        ``s_k = bound_k * tanh(usual_k * difficulty * share_k / bound_k)``
        ``share_k = exp(log 2 * tanh(z / log 2))`` for ``z = log_share_k > 0``, ``exp(log 50 * tanh(z / log 50))`` below

    The difficulty is common to all operations. The share of each operation, from 1/50 to 2, is learned. Flips and
    quarter turns have no strength: for them the share is the odds of being applied, ``p = share / (1 + share)``. Every
    other operation is applied to an image with ``probability``. Each image gets its own amounts, uniform within the
    ranges. Rotation, zoom, shear, shift and elastic warp are applied in one resampling. Faster AutoAugment (Hataya et
    al., 2019, arXiv 1911.06987) also learns augmentation policies by backpropagation; here the gradient is the
    hypergradient, the derivative of the student's loss on the next real batch.

    Args:
        spatial_dims: 2 or 3.
        in_channels: number of image channels C.
        num_classes: number of classes, or of labels for multi-label tasks.
        value_range: lowest and highest value of the (un-normalized) images.
        mean: per-channel mean that was subtracted from the images.
        std: per-channel standard deviation by which the images were divided.
        include: names of the operations. Default: all that suit the number of channels, and ``quarter_turn`` with
            ``upright=False``.
        exclude: names of operations to leave out. If the label depends on the patch's center, shift, zoom and
            erasing can break it.
        bounds: upper limits of strengths, in the operation's own unit (the logarithm for zoom and gamma).
        probability: probability that an operation is applied to an image.
        upright: whether images have a fixed orientation. Use False for images without one, such as microscopy patches;
            the operations then include quarter turns.
        label_padding: value of mask pixels that geometric operations move in from outside the image, such as 0 for
            background or the loss's ``ignore_index``; for masks with channels, the value of every channel. Default:
            masks are padded by reflection, like images.

    Shape:
        images ``(B, C, H, W)`` or ``(B, C, D, H, W)``; latents ``(B, L)``. Geometry is in pixels: on volumes with
        anisotropic voxels a rotation is not rigid.

    Raises:
        ConfigurationError: an unknown name, an operation that does not suit the number of channels, no operation left,
            a bound that is not positive, or a probability outside (0, 1]; in use, images or latents of another shape.
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
        upright: bool = True,
        label_padding: int | None = None,
    ) -> None:
        super().__init__(spatial_dims, in_channels, num_classes, value_range, mean, std)
        if not 0 < probability <= 1:
            raise ConfigurationError(f"probability must be above 0 and at most 1, got {probability}.")
        self.probability = float(probability)
        if label_padding is not None and (isinstance(label_padding, bool) or not isinstance(label_padding, int)):
            raise ConfigurationError(f"label_padding must be a whole number or None, got {label_padding!r}.")
        self.label_padding = label_padding
        self.operations = _choose_operations(in_channels, include, exclude, dict(bounds or {}), upright)
        oriented = sum(isinstance(operation, OrientationOperation) for operation in self.operations)
        self.log_odds = nn.Parameter(torch.zeros(oriented))
        self.log_share = nn.Parameter(torch.zeros(len(self.operations) - oriented))

    @property
    def shares(self) -> Tensor:
        """Learned shares ``(K,)``, 1/50 to 2, relative to the usual strength; 1 before training."""
        up, down = math.log(LARGEST_SHARE), -math.log(SMALLEST_SHARE)
        # The operations of orientation are the first in OPERATIONS.
        z = torch.cat([self.log_odds, self.log_share])
        return torch.where(z > 0, up * torch.tanh(z / up), down * torch.tanh(z / down)).exp()

    def strengths(self, difficulty: float) -> Tensor:
        """Return differentiable strengths ``(K,)``; for flips and quarter turns, the values are probabilities."""
        pairs = zip(self.operations, self.shares.unbind(), strict=True)
        return torch.stack([operation.strength(share, difficulty) for operation, share in pairs])

    def acts(self, latents: Tensor, image_shape: Sequence[int], difficulty: float = 1.0) -> Tensor:
        """Return which operations are applied to each image, bool ``(n, K)``.

        They are drawn independently of each other. A lesson is therefore a randomized experiment: the effect of an
        operation on the student is the difference between the images with it and the images without it.

        Args:
            latents: ``(n, L)`` of :meth:`draw_latents`.
            image_shape: ``(C, H, W)`` or ``(C, D, H, W)``.
            difficulty: strength of the change.
        """
        gates, _ = self._split(latents, image_shape)
        return gates < self._probabilities(difficulty).to(gates)

    def choice_log_probability(self, latents: Tensor, image_shape: Sequence[int], difficulty: float) -> Tensor:
        """Return the log-probability ``(n,)`` of the drawn flips and quarter turns, differentiable in ``log_odds``.

        Whether a flip is applied is a discrete choice, through which the image's gradient does not pass. Its
        probability is learned from the worth of images with and without the flip (score function estimator).
        """
        count = len(self.log_odds)
        p = self._probabilities(difficulty)[:count]
        acts = self.acts(latents, image_shape, difficulty)[:, :count]
        return torch.where(acts, p.log(), (-p).log1p()).sum(1)

    def _probabilities(self, difficulty: float) -> Tensor:
        """Return the probability of each operation ``(K,)``: learned for flips and quarter turns, otherwise fixed."""
        fixed = self.log_share.new_full((), self.probability)
        pairs = zip(self.operations, self.shares.unbind(), strict=True)
        return torch.stack(
            [o.strength(share, difficulty) if isinstance(o, OrientationOperation) else fixed for o, share in pairs]
        )

    def draw_latents(self, n: int, image_shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        """Draw ``(n, L)``: numbers that decide whether each operation is applied, then numbers for the amounts."""
        self.check_shape(image_shape)
        device = torch.device("cpu") if generator is None else generator.device
        gates = torch.rand(n, len(self.operations), generator=generator, device=device)
        draws = [operation.draw(n, image_shape, generator, device) for operation in self.operations]
        return torch.cat([gates, *draws], 1)

    def change(self, images: Tensor | None, labels: Tensor, latents: Tensor, difficulty: float) -> Tensor:
        """Apply the operations; labels are not used.

        For masks, which are moved with the images (:meth:`change_labels`), the strengths of geometric operations get no
        gradient: it would be the gradient of moving an image away from its mask. Only the difficulty sets these
        strengths.
        """
        assert images is not None
        plan = self._plan(latents.to(images), images.shape[1:], difficulty, learned_geometry=labels.ndim <= 2)
        low, high = self.value_range
        return plan.change((images - low) / (high - low)) * (high - low) + low

    @torch.no_grad()
    def change_labels(self, labels: Tensor, latents: Tensor, difficulty: float = 1.0) -> Tensor:
        """Move masks ``(B, K, *spatial)`` as :meth:`forward` moves their images; other labels are returned unchanged.

        Interpolation is nearest-neighbor, so that masks keep their class indices. Operations on pixel values, including
        erasing, do not change the mask.
        """
        if labels.ndim != self.spatial_dims + 2 or difficulty == 0:
            return labels
        latents = latents.to(labels.device, self.log_share.dtype)
        plan = self._plan(latents, (self.in_channels, *labels.shape[2:]), difficulty)
        return plan.change_labels(labels, self.label_padding)

    def _plan(
        self, latents: Tensor, image_shape: Sequence[int], difficulty: float, learned_geometry: bool = True
    ) -> Plan:
        _, draws = self._split(latents, image_shape)
        acts = self.acts(latents, image_shape, difficulty)
        strengths = torch.where(acts, self.strengths(difficulty).to(latents), 0)
        steps = zip(self.operations, draws, strengths.unbind(1), acts.unbind(1), strict=True)
        plan = Plan([Step(*step) for step in steps])
        return plan if learned_geometry else plan.with_fixed_geometry()

    def optimizer(self) -> EvidenceOptimizer:
        """Return a new :class:`EvidenceOptimizer`: a share leaves 1 only if its gradients are evidence for that."""
        return EvidenceOptimizer(self.parameters())

    @property
    def turned_down(self) -> list[str]:
        """Names of the operations whose learned share is below 1/2."""
        shares = zip(self.operations, self.shares.tolist(), strict=True)
        return [operation.name for operation, share in shares if share < TURNED_DOWN]

    def policy(
        self, difficulty: float = 1.0, effects: Mapping[str, tuple[float, float]] | None = None
    ) -> dict[str, dict[str, Any]]:
        """Return the learned policy, by operation's name.

        Args:
            difficulty: the difficulty for which to return the ranges.
            effects: effects of operations on the student's error with their standard errors, by name
                (:func:`monai_gmcl.metrics.operation_effects`); NaN if unknown.

        Returns:
            ``low``, ``high``, ``unit``; ``probability`` of being applied to an image, learned for ``flip`` and
            ``quarter_turn``; ``share`` (1: usual); ``turned_down``, whether the share is below 1/2; with ``effects``,
            ``effect`` and ``standard_error``.

        Raises:
            ConfigurationError: effects of operations that the teacher does not have.
        """
        foreign = [name for name in effects or () if name not in {operation.name for operation in self.operations}]
        if foreign:
            raise ConfigurationError(
                f"effects has {', '.join(foreign)}, which the teacher does not have as operations."
            )
        strengths, shares = self.strengths(difficulty).tolist(), self.shares.tolist()
        probabilities, turned_down = self._probabilities(difficulty).tolist(), self.turned_down
        table: dict[str, dict[str, Any]] = {}
        for operation, strength, share, p in zip(self.operations, strengths, shares, probabilities, strict=True):
            low, high = operation.limits(strength)
            row = {"low": low, "high": high, "unit": operation.unit, "probability": p, "share": share}
            table[operation.name] = {**row, "turned_down": operation.name in turned_down}
            if effects is not None:
                effect, standard_error = effects.get(operation.name, (math.nan, math.nan))
                table[operation.name] |= {"effect": effect, "standard_error": standard_error}
        return table

    def policy_table(self, difficulty: float = 1.0, effects: Mapping[str, tuple[float, float]] | None = None) -> str:
        """Return :meth:`policy` as text."""
        return policy_text(self.policy(difficulty, effects))

    def __str__(self) -> str:
        return self.policy_table()

    def to_monai(
        self, spatial_size: Sequence[int], difficulty: float = 1.0, keys: str | Sequence[str] | None = None
    ) -> MonaiPolicy:
        """Return the ranges as MONAI's own random transforms and as a bundle configuration; see :class:`MonaiPolicy`.

        Args:
            spatial_size: size of the images; some of MONAI's ranges are in pixels.
            difficulty: the difficulty for which to export the ranges.
            keys: keys of the images, for dictionary transforms. Default: array transforms.

        Raises:
            ConfigurationError: a spatial size with another number of dimensions than the teacher's, a difficulty that
                is not positive.
        """
        if len(spatial_size) != self.spatial_dims or not difficulty > 0:
            raise ConfigurationError(
                f"to_monai needs {self.spatial_dims} spatial sizes and a difficulty above 0, got {tuple(spatial_size)} "
                f"and {difficulty}."
            )
        strengths = list(zip(self.operations, self.strengths(difficulty).tolist(), strict=True))
        described = {
            "difficulty": float(difficulty),
            "ranges": self.policy(difficulty),
            "turned_down": self.turned_down,
        }
        return policy_to_monai(self, strengths, self.probability, spatial_size, keys, described)

    def _split(self, latents: Tensor, image_shape: Sequence[int]) -> tuple[Tensor, Sequence[Tensor]]:
        sizes = [len(self.operations), *(operation.latent_size(image_shape) for operation in self.operations)]
        gates, *draws = split_latents(latents, sizes)
        return gates, draws


def _choose_operations(
    in_channels: int,
    include: Collection[str] | None,
    exclude: Collection[str],
    bounds: dict[str, float],
    upright: bool,
) -> list[Operation]:
    suitable = [operation.name for operation in OPERATIONS if operation.suits(in_channels)]
    for argument, names in (("include", include or ()), ("exclude", exclude), ("bounds", bounds)):
        if isinstance(names, str):
            raise ConfigurationError(f"{argument} must be a list of names, got the string {names!r}.")
        accepted = suitable if argument == "include" else NAMES
        for name in names:
            if name not in accepted:
                raise ConfigurationError(
                    f"{argument} has {name!r}; known operations for {in_channels} channel(s): {', '.join(accepted)}."
                )
    usual = [o.name for o in OPERATIONS if o.name in suitable and (o.keeps_upright or not upright)]
    chosen = [name for name in (usual if include is None else include) if name not in exclude]
    if not chosen:
        raise ConfigurationError("include and exclude leave no operation.")
    return [operation(bounds.get(operation.name)) for operation in OPERATIONS if operation.name in chosen]
