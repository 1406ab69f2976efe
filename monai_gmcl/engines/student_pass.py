# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The student's pass as a function: of its parameters, its buffers, its images and a seed; and its loss."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from monai_gmcl.engines.batches import RealBatch
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.hypergradients import Hypergradient
from monai_gmcl.lesson import Lesson, LessonGraph
from monai_gmcl.tasks import Task, choose_task

__all__ = ["StudentLoss", "StudentPass", "seeded", "unwrapped"]

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class StudentPass:
    """The student as a function of parameters, buffers and images: nothing that it does reaches the student itself.

    Batch normalization updates clones of its running statistics; dropout draws from a seed of the pass's own.

    Args:
        network: the student; wrappers of ``torch.compile`` and ``DistributedDataParallel`` are taken off.
        inferer: the trainer's.
        loss_function: the trainer's.
        autocast: makes the context for mixed precision.
        task: what labels mean, if it is known.

    Attributes:
        loss: the loss of a batch and of each image.
        recomputes: whether the student computes parts of its pass again on the way back (activation checkpointing);
            known after the first lesson.
    """

    def __init__(
        self,
        network: nn.Module,
        inferer: Callable[..., Any],
        loss_function: Callable[[Any, Any], Tensor],
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
        task: Task | None = None,
    ) -> None:
        self.network = unwrapped(network)
        self.inferer = inferer
        self.loss = StudentLoss(loss_function, task)
        self.autocast = autocast
        self.recomputes: bool | None = None

    def __call__(
        self,
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        images: Tensor,
        labels: Tensor,
        seed: int,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return outputs ``(n, ...)`` and the loss of each image ``(n,)``.

        Args:
            parameters: the student's, by name.
            buffers: the student's, by name.
            images: ``(n, C, ...)``.
            labels: of the images.
            seed: of the pass (its dropout masks).
            args: further arguments of the student.
            kwargs: further keyword arguments of the student.
        """
        state = {**parameters, **{name: buffer.clone() for name, buffer in buffers.items()}}

        def functional(*args: Any, **kwargs: Any) -> Any:
            return torch.func.functional_call(self.network, state, args, kwargs)

        with seeded(seed, images.device), self.autocast():
            outputs = self.inferer(images, functional, *args, **(kwargs or {}))
            losses = self.loss.of_each(outputs, labels)
        return outputs, losses.float() if losses.dtype in (torch.float16, torch.bfloat16) else losses

    def copy_parameters(self, names: Mapping[Tensor, str]) -> dict[str, Tensor]:
        """Return clones of the named parameters as leaves: the optimizer's in-place step must not break their graph."""
        return {name: p.detach().clone().requires_grad_() for p, name in names.items() if p.requires_grad}

    def copy_buffers(self) -> dict[str, Tensor]:
        """Return clones of the student's buffers."""
        return {name: buffer.detach().clone() for name, buffer in self.network.named_buffers()}

    def forward_lesson(self, lesson: Lesson, generated: Tensor, estimators: Sequence[Hypergradient]) -> LessonGraph:
        """Let the student look at the teacher's images, at the lesson's parameters.

        Args:
            lesson: what the images were made from.
            generated: the teacher's images ``(n, C, ...)``, with the teacher's graph.
            estimators: those that will read the lesson, and may record the student's head in the pass.
        """
        images = generated.detach().requires_grad_()
        with ExitStack() as stack:
            records = [estimator.record_head(self.network, list(lesson.parameters)) for estimator in estimators]
            recorded = [stack.enter_context(record) for record in records]
            outputs, losses = self(
                lesson.parameters, lesson.buffers, images, lesson.labels, lesson.seed, lesson.args, lesson.kwargs
            )
        with seeded(lesson.seed, images.device), self.autocast():
            self.loss.compare(losses, outputs, lesson.labels)
        if self.recomputes is None:
            self.recomputes = self._notice_recomputation(lesson, losses)
        heads = [e.choose(seen, outputs, losses) for e, seen in zip(estimators, recorded, strict=True)]
        head = next((one for one in heads if one is not None), None)
        passing = " or ".join(type(estimator).__name__ for estimator in estimators if estimator.own_passes)
        return LessonGraph(generated, images, outputs, losses, head, partial(self._again, passing))

    def _again(self, estimators: str, *inputs: Any) -> Tensor:
        """Return the losses of a pass that an estimator makes of its own."""
        if self.recomputes and torch.is_grad_enabled():
            raise ConfigurationError(
                f"{estimators} passes images through the student with other parameters, which activation "
                "checkpointing does not support. Use HeadHypergradient or ExactHypergradient, or a student without "
                "activation checkpointing."
            )
        return self(*inputs)[1]

    def at_lesson_weights(self, lesson: Lesson, action: Callable[[], Result]) -> Result:
        """Do what goes back through a lesson's pass, with the student as it was in it.

        Activation checkpointing computes parts of a pass again, with the parameters that the modules have by then:
        after the student's step those are others, and gradients would be wrong without any error.
        """
        return self._as_in(lesson.parameters, lesson.buffers, action) if self.recomputes else action()

    def gradient(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], loss: Tensor
    ) -> dict[str, Tensor]:
        """Return a loss's gradient by those parameters of its pass on which it depends."""

        def by_parameters() -> tuple[Tensor | None, ...]:
            return torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)

        found = self._as_in(parameters, buffers, by_parameters)
        return {name: g for name, g in zip(parameters, found, strict=True) if g is not None}

    def _as_in(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], action: Callable[[], Result]
    ) -> Result:
        state = {**parameters, **{name: buffer.clone() for name, buffer in buffers.items()}}
        result: Result = torch.func.functional_call(
            _Holder(self.network), {f"network.{name}": tensor for name, tensor in state.items()}, (action,)
        )
        return result

    def _notice_recomputation(self, lesson: Lesson, losses: Tensor) -> bool:
        """Go back through the first lesson once more than is needed, and see whether a module is called."""
        calls: list[nn.Module] = []
        hooks = [m.register_forward_pre_hook(lambda module, _: calls.append(module)) for m in self.network.modules()]
        parameters = list(lesson.parameters.values())
        loss = losses.sum()
        try:
            self._as_in(
                lesson.parameters,
                lesson.buffers,
                lambda: torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True),
            )
        finally:
            for hook in hooks:
                hook.remove()
        return bool(calls)


class _Holder(nn.Module):
    """Lets ``torch.func.functional_call`` replace the student's tensors while something else than its pass is done."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, action: Callable[[], Any]) -> Any:
        return action()


def unwrapped(network: nn.Module) -> nn.Module:
    """Return the module inside ``torch.compile`` and ``DistributedDataParallel``."""
    while True:
        inner = getattr(network, "_orig_mod", None)
        if inner is None and isinstance(network, nn.parallel.DistributedDataParallel | nn.DataParallel):
            inner = network.module
        if not isinstance(inner, nn.Module):
            return network
        network = inner


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators inside the context and leave them as they were after it."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


class StudentLoss:
    """The student's loss: of a batch of real images, of each image of a lesson, and what it takes labels to mean.

    Args:
        function: the user's, ``(outputs, labels) -> loss``; another one may be set at any time.
        task: the user's; None: chosen by the first batch.

    Attributes:
        without_channel: whether ``prepare_batch`` gave masks ``(B, *spatial)``, which the function takes like that.
    """

    def __init__(self, function: Callable[[Any, Any], Tensor], task: Task | None = None) -> None:
        self._given = task
        self.without_channel = False
        self.function = function

    @property
    def function(self) -> Callable[[Any, Any], Tensor]:
        """The user's loss function."""
        return self._function

    @function.setter
    def function(self, function: Callable[[Any, Any], Tensor]) -> None:
        self._function = function
        self._compared = _is_stock(function)
        self.task = self._given

    @property
    def task(self) -> Task | None:
        """What labels mean; None before the first batch, unless it was given."""
        return self._task

    @task.setter
    def task(self, task: Task | None) -> None:
        self._given = self._task = task
        if task is not None:
            task.follow(self.function)

    def task_of(self, labels: object, outputs: Tensor | None = None) -> Task:
        """Return what labels mean: the task that was given, or is chosen by the first batch with outputs.

        Args:
            labels: of a batch.
            outputs: of the student; without them, before the first batch, the task is good for checks alone.
        """
        if self._task is not None:
            self._task.without_channel = self.without_channel
            return self._task
        task = choose_task(self.function, labels, outputs)
        task.without_channel = self.without_channel
        if outputs is not None:
            self._task = task
        return task

    def checked_task(self, outputs: Any, real: RealBatch, num_classes: int | None) -> Task:
        """Return what labels mean, once they and the student's outputs are known to fit."""
        self.task_of(real.labels).check_outputs(outputs, real.labels_on_host, num_classes)
        return self.task_of(real.labels, outputs)

    def of_batch(self, outputs: Any, labels: Tensor) -> Tensor:
        """Return the mean loss."""
        return self.task_of(labels, outputs).loss(outputs, labels)

    def of_each(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each image ``(n,)``."""
        return self.task_of(labels, outputs).losses(outputs, labels)

    @torch.no_grad()
    def compare(self, losses: Tensor, outputs: Tensor, labels: Tensor) -> None:
        """Say once where the mean over single images is not the loss of them all together, as of weighted losses.

        Looked at on the first lesson of more than one class: of one class all weights are the same.
        """
        if self._compared or len(torch.unique(labels, dim=0)) < 2:
            return
        self._compared = True
        alone, together = float(losses.mean()), float(self.of_batch(outputs.detach(), labels))
        if abs(alone - together) <= max(1e-3, 8 * torch.finfo(outputs.dtype).eps) * max(abs(together), 1e-3):
            return
        name = type(self.function).__name__
        logger.warning(
            "The mean of %s over single images of a lesson is %.4g, and its value for all of them together is %.4g. "
            "Images therefore have other weights in lessons than in real batches. Class weights and batch=True have no "
            "effect on a single image. If this matters, use a loss of torch or MONAI, such as "
            "CrossEntropyLoss(weight=...) or DiceLoss(batch=False), or give your loss an attribute reduction: with "
            "reduction='none' it returns the loss of each image (B,), normalized such that the mean is the loss of the "
            "batch.",
            name,
            alone,
            together,
        )


def _is_stock(function: Any) -> bool:
    """Whether it is a loss of torch itself that takes each image for itself: there is nothing to compare."""
    return type(function).__module__ == "torch.nn.modules.loss"
