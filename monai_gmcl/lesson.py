# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["HeadActivation", "Lesson", "RealStep"]


@dataclass
class HeadActivation:
    """What entered and left the head, the student's last layer, while the student took a lesson.

    Attributes:
        name: dotted name of the head in the student.
        layer: the layer itself.
        weight: the head's weight in that pass.
        inputs: ``(n, F)`` or ``(n, F, ...)``, with the pass's graph.
        outputs: ``(n, K)`` or ``(n, K, ...)``, with the pass's graph.
    """

    name: str
    layer: nn.Module
    weight: Tensor
    inputs: Tensor
    outputs: Tensor


@dataclass
class RealStep:
    """The rest of the student's step, for estimators that differentiate through more than one.

    Attributes:
        images: real images ``(B, C, ...)`` of the step.
        labels: their labels.
        real_weight: r of the step.
        gradient: real gradient of the step, unscaled, by parameter name.
        optimizer_state: the optimizer's state before the step, by parameter name.
        optimizer_options: learning rate and the other options of each parameter's group, by parameter name.
        optimizer: name of the optimizer's class.
        seed: seed of the real pass.
        args: the student's further arguments in it.
        kwargs: its further keyword arguments in it.
        losses: ``(parameters, images) -> (B,)``, the real pass once more with other parameters.
    """

    images: Tensor
    labels: Tensor
    real_weight: float
    gradient: dict[str, Tensor]
    optimizer_state: dict[str, dict[str, Any]]
    optimizer_options: dict[str, dict[str, Any]]
    optimizer: str
    seed: int
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    losses: Callable[[Mapping[str, Tensor], Tensor], Tensor] | None = None


@dataclass
class Lesson:
    """One synthetic batch, with all that is needed to know later what it was worth.

    The first group of attributes is the *record*: tensors and numbers from which the second group, the graph, can be
    rebuilt bit for bit. A lesson so outlives its epoch and its process.

    Attributes:
        sources: real images ``(n, C, H, W)`` or ``(n, C, D, H, W)`` that the teacher changed; None if it needs none.
        labels: ``(n,)``, ``(n, 1)`` or ``(n, K)``, as they came with the real images; or masks ``(n, K, *spatial)``,
            moved as the teacher moved the images.
        source_labels: those masks as they came; None where labels are of whole images.
        latents: the teacher's randomness ``(n, ...)``.
        image_shape: ``(n, C, H, W)`` or ``(n, C, D, H, W)`` of the batch.
        difficulty: strength of the change.
        lesson_weight: w of the student's step.
        parameters: the student's trained parameters before the step, by name.
        buffers: the student's buffers before the step, by name.
        seed: seed of the student's pass (its dropout masks).
        proposed: how many images, the last ones, come from unlabeled sources with proposed labels.
        unlabeled_difficulty: strength of the change of those, in units of ``difficulty``.
        args: further arguments of the student: its sources' extra inputs, from ``prepare_batch``.
        kwargs: further keyword arguments of the student, likewise.
        confidence: how sure the label of each image is, 0 to 1 ``(n,)``; 1 where it was given. None: all were given.
        weights: weight of each image ω ``(n,)``, detached.
        update: A, the derivative of the optimizer's step by its gradient, by parameter name.
        real_step: the rest of the step, kept for estimators that ask for it.
        share: images of this lesson, as a multiple of the mean over all ranks; 1 alone.
        generated: the teacher's images, with the teacher's graph.
        images: the same images as a leaf, to which hypergradients lead.
        outputs: the student's outputs on them.
        losses: the student's loss on each ``(n,)``, with a graph to ``parameters`` and ``images``.
        image_gradient: gradient of the weighted loss by the images, where hardness asks for it.
        head: what the head saw, where the estimator asks for it.
        replay: ``(parameters, images) -> (n,)``, the student's pass once more with the same seed and buffers.
    """

    sources: Tensor | None
    labels: Tensor
    latents: Tensor
    image_shape: tuple[int, ...]
    difficulty: float
    lesson_weight: float
    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor]
    seed: int
    proposed: int = 0
    unlabeled_difficulty: float = 1.0
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    confidence: Tensor | None = None
    source_labels: Tensor | None = None
    weights: Tensor | None = None
    update: dict[str, Tensor] = field(default_factory=dict)
    real_step: RealStep | None = None
    share: float = 1.0
    generated: Tensor | None = None
    images: Tensor | None = None
    outputs: Tensor | None = None
    losses: Tensor | None = None
    image_gradient: Tensor | None = None
    head: HeadActivation | None = None
    replay: Callable[[Mapping[str, Tensor], Tensor], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def labeled(self) -> int:
        """How many images, the first ones, have labels that were given, not proposed."""
        return len(self) - self.proposed

    def parts(self) -> list[tuple[slice, float]]:
        """Return which images the teacher makes at once, and their difficulty."""
        if self.proposed == 0 or self.unlabeled_difficulty == 1:
            return [(slice(None), self.difficulty)]
        own = slice(self.labeled), self.difficulty
        return [own, (slice(self.labeled, None), self.difficulty * self.unlabeled_difficulty)]

    def learned(self, look_ahead: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return A·v, by parameter name: how far the step moves for each unit of gradient along v."""
        return {name: self.update[name] * look_ahead[name] for name in self.update if name in look_ahead}

    def record(self) -> dict[str, Any]:
        """Return the lesson without its graph: tensors and numbers only, safe for ``torch.load(weights_only=True)``."""
        kept = {name: _plain(getattr(self, name)) for name in RECORDED}
        if self.real_step is not None:
            step = self.real_step
            kept["real_step"] = {f.name: _plain(getattr(step, f.name)) for f in fields(step) if f.name != "losses"}
        return kept

    @classmethod
    def from_record(cls, record: Mapping[str, Any], device: torch.device) -> Lesson:
        """Return the recorded lesson on ``device``, its graph still to be rebuilt."""
        values = {name: _moved(value, device) for name, value in record.items()}
        for parameter in values["parameters"].values():
            parameter.requires_grad_()
        if "real_step" in values:
            values["real_step"] = RealStep(**values["real_step"])
        return cls(**values)


RECORDED = (
    "sources",
    "labels",
    "latents",
    "image_shape",
    "difficulty",
    "lesson_weight",
    "parameters",
    "buffers",
    "seed",
    "proposed",
    "unlabeled_difficulty",
    "args",
    "kwargs",
    "confidence",
    "source_labels",
    "weights",
    "update",
    "image_gradient",
)


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    return value


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to(device).clone()
    if isinstance(value, dict):
        return {name: _moved(item, device) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_moved(item, device) for item in value)
    return value
