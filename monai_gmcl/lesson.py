# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A lesson (one synthetic batch): the record that checkpoints store, and the graph of the student's pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from monai_gmcl.attributes import Renamed
from monai_gmcl.exceptions import ConfigurationError

__all__ = ["HeadActivation", "Lesson", "LessonGraph", "RealStep"]


@dataclass
class HeadActivation:
    """Input and output of the head, the student's last layer, in the pass on a lesson.

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
    """The data of a student's step, for estimators that differentiate through several steps.

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


@dataclass
class LessonGraph:
    """Tensors with autograd graph from the passes of teacher and student on a lesson.

    Attributes:
        generated: the teacher's images, with the teacher's graph.
        images: the same images as a leaf; hypergradients are gradients with respect to this leaf.
        outputs: the student's outputs on them.
        losses: the student's loss on each ``(n,)``, with a graph to the lesson's parameters and ``images``.
        head: input and output of the head, if an estimator needs them.
        student: ``(parameters, buffers, images, labels, seed, args, kwargs) -> (n,)``, the losses of another pass.
    """

    generated: Tensor
    images: Tensor
    outputs: Tensor
    losses: Tensor
    head: HeadActivation | None
    student: Callable[..., Tensor]


@dataclass
class Lesson:
    """One synthetic batch, with the data from which the worth of its images is computed later.

    All attributes but ``graph`` are the *record*: tensors and numbers from which the graph can be rebuilt bit for bit.
    Lessons are therefore kept across epochs and in checkpoints.

    Attributes:
        sources: real images ``(n, C, H, W)`` or ``(n, C, D, H, W)`` that the teacher changed; None if it needs none.
        labels: ``(n,)``, ``(n, 1)`` or ``(n, K)``, as they came with the real images; or masks ``(n, K, *spatial)``,
            moved as the teacher moved the images.
        sure_share: fraction of the pixels of each proposed mask that are used ``(n,)``, a factor of the image's weight;
            None if all are used, or if the unused pixels are marked in the mask.
        source_labels: the masks of the source images; None if labels are not masks.
        latents: the teacher's randomness ``(n, ...)``.
        image_shape: ``(n, C, H, W)`` or ``(n, C, D, H, W)`` of the batch.
        difficulty: strength of the change.
        lesson_weight: w of the student's step.
        parameters: the student's trained parameters before the step, by name.
        buffers: the student's buffers before the step, by name.
        seed: seed of the student's pass (its dropout masks).
        num_pseudo_labeled: number of images from unlabeled sources with proposed labels; these images come last.
        unlabeled_difficulty: strength of the change of these images, in units of ``difficulty``.
        args: extra arguments of the student: the extra inputs of the sources, from ``prepare_batch``.
        kwargs: extra keyword arguments of the student.
        confidence: confidence of each image's label, 0 to 1 ``(n,)``; 1 for given labels. None: all were given.
        weights: weight of each image ω ``(n,)``, detached; 1 until the lesson has been weighted.
        update: A, the derivative of the optimizer's step with respect to its gradient, by parameter name.
        image_gradient: gradient of the weighted loss with respect to the images, if hardness is not 0.
        real_step: further data of the step, for estimators that need them.
        rank_weight: number of images of this lesson, as a multiple of the mean over all ranks; 1 for one rank.
        graph: tensors with autograd graph; None for a lesson loaded from a checkpoint.
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
    num_pseudo_labeled: int = 0
    unlabeled_difficulty: float = 1.0
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    confidence: Tensor | None = None
    sure_share: Tensor | None = None
    source_labels: Tensor | None = None
    weights: Tensor = None  # type: ignore[assignment]
    update: dict[str, Tensor] = field(default_factory=dict)
    image_gradient: Tensor | None = None
    real_step: RealStep | None = None
    rank_weight: float = 1.0
    graph: LessonGraph | None = None

    proposed = Renamed("num_pseudo_labeled")
    labeled = Renamed("num_labeled")
    learned = Renamed("update_direction")
    share = Renamed("rank_weight")

    def __post_init__(self) -> None:
        if self.weights is None:
            self.weights = torch.ones(len(self), device=self.labels.device)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_labeled(self) -> int:
        """Number of images with given labels; these images come first."""
        return len(self) - self.num_pseudo_labeled

    @property
    def generated(self) -> Tensor:
        """The teacher's images, with the teacher's graph."""
        return self._graph().generated

    @property
    def images(self) -> Tensor:
        """The teacher's images as a leaf; hypergradients are gradients with respect to this leaf."""
        return self._graph().images

    @property
    def outputs(self) -> Tensor:
        """The student's outputs on the images."""
        return self._graph().outputs

    @property
    def losses(self) -> Tensor:
        """The student's loss on each image ``(n,)``, with a graph to ``parameters`` and ``images``."""
        return self._graph().losses

    @property
    def head(self) -> HeadActivation:
        """Input and output of the student's head, if an estimator needs them (``Hypergradient.record_head``)."""
        head = self._graph().head
        if head is None:
            raise ConfigurationError(
                "This lesson has no record of the student's head. Expected an estimator whose record_head keeps it, "
                "such as HeadHypergradient."
            )
        return head

    def _graph(self) -> LessonGraph:
        if self.graph is None:
            raise ConfigurationError(
                "This lesson is a record of a checkpoint, without images, outputs and losses. Teacher and student must "
                "compute them again first."
            )
        return self.graph

    def replay(self, parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """Repeat the student's pass with the same seed and buffers, and return the losses ``(n,)``."""
        rest = (self.labels, self.seed, self.args, self.kwargs)
        return self._graph().student(parameters, self.buffers, images, *rest)

    def replay_real(self, step: RealStep, parameters: Mapping[str, Tensor]) -> Tensor:
        """Repeat the pass on the step's real images with other parameters, and return the losses ``(B,)``."""
        rest = (step.images, step.labels, step.seed, step.args, step.kwargs)
        return self._graph().student(parameters, self.buffers, *rest)

    def parts(self) -> list[tuple[slice, float]]:
        """Return the groups of images that the teacher makes in one call, with the difficulty of each group."""
        if self.num_pseudo_labeled == 0 or self.unlabeled_difficulty == 1:
            return [(slice(None), self.difficulty)]
        own = slice(self.num_labeled), self.difficulty
        return [own, (slice(self.num_labeled, None), self.difficulty * self.unlabeled_difficulty)]

    def update_direction(self, look_ahead: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return A·v, by parameter name."""
        return {name: self.update[name] * look_ahead[name] for name in self.update if name in look_ahead}

    def record(self) -> dict[str, Any]:
        """Return the lesson without its graph: tensors and numbers, loadable with ``torch.load(weights_only=True)``."""
        unkept = {"graph", "real_step", "rank_weight"}
        kept = {f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.name not in unkept}
        if self.real_step is not None:
            kept["real_step"] = {f.name: _plain(getattr(self.real_step, f.name)) for f in fields(self.real_step)}
        return kept

    @classmethod
    def from_record(cls, record: Mapping[str, Any], device: torch.device) -> Lesson:
        """Return the recorded lesson on ``device``, without a graph."""
        values = {RENAMED.get(name, name): _moved(value, device) for name, value in record.items()}
        for parameter in values["parameters"].values():
            parameter.requires_grad_()
        if "real_step" in values:
            values["real_step"] = RealStep(**values["real_step"])
        return cls(**values)


RENAMED = {"proposed": "num_pseudo_labeled"}
"""Names in records of version 0.1, and their current names."""


def _plain(value: Any) -> Any:
    return _mapped(value, lambda tensor: tensor.detach().clone())


def _moved(value: Any, device: torch.device) -> Any:
    return _mapped(value, lambda tensor: tensor.detach().to(device).clone())


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {name: _mapped(item, change) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_mapped(item, change) for item in value)
    return value
