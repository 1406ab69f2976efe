# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The student's pass as a function of parameters, buffers, images and a seed; the student's loss."""

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
    """The student as a function of parameters, buffers and images, without side effects on the student.

    Batch normalization updates clones of the running statistics; dropout uses the seed of the pass. ``recomputes`` is
    whether the backward pass recomputes parts of the forward pass (activation checkpointing); known after the first
    lesson.
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
        """Return outputs ``(n, ...)`` and the loss of each image ``(n,)``; the seed determines dropout masks."""
        state = {**parameters, **{name: buffer.clone() for name, buffer in buffers.items()}}

        def functional(*args: Any, **kwargs: Any) -> Any:
            return torch.func.functional_call(self.network, state, args, kwargs)

        with seeded(seed, images.device), self.autocast():
            outputs = self.inferer(images, functional, *args, **(kwargs or {}))
            losses = self.loss.of_each(outputs, labels)
        return outputs, losses.float() if losses.dtype in (torch.float16, torch.bfloat16) else losses

    def copy_parameters(self, names: Mapping[Tensor, str]) -> dict[str, Tensor]:
        """Return clones of the named parameters as leaves: the optimizer's in-place step would break their graph."""
        return {name: p.detach().clone().requires_grad_() for p, name in names.items() if p.requires_grad}

    def copy_buffers(self) -> dict[str, Tensor]:
        """Return clones of the student's buffers."""
        return {name: buffer.detach().clone() for name, buffer in self.network.named_buffers()}

    def forward_lesson(self, lesson: Lesson, generated: Tensor, estimators: Sequence[Hypergradient]) -> LessonGraph:
        """Run the student on the teacher's images ``(n, C, ...)``, with the lesson's parameters.

        The estimators that will use the lesson may record the student's head in the pass.
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
        """Return the losses of an additional pass, for an estimator."""
        if self.recomputes and torch.is_grad_enabled():
            raise ConfigurationError(
                f"{estimators} passes images through the student with other parameters, which activation "
                "checkpointing does not support. Use HeadHypergradient or ExactHypergradient, or a student without "
                "activation checkpointing."
            )
        return self(*inputs)[1]

    def at_lesson_weights(self, lesson: Lesson, action: Callable[[], Result]) -> Result:
        """Call a function that backpropagates through a lesson's pass, with the student's parameters of that pass.

        Activation checkpointing recomputes parts of a pass with the current parameters of the modules. After the
        student's step, these have changed, and gradients would be wrong without any error.
        """
        return self._as_in(lesson.parameters, lesson.buffers, action) if self.recomputes else action()

    def gradient(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], loss: Tensor
    ) -> dict[str, Tensor]:
        """Return the gradient of a loss with respect to the parameters on which it depends."""

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
        """Backpropagate through the first lesson once more, and detect whether this calls a module."""
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
    """Lets ``torch.func.functional_call`` replace the student's tensors while another function runs."""

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
    """Seed torch's generators inside the context, and restore their state after it."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


class StudentLoss:
    """The student's loss on a batch of real images and on each image of a lesson, with the task.

    Without a task of the user, the first batch determines the task. The loss function can be replaced at any time.
    ``without_channel``: ``prepare_batch`` returned masks ``(B, *spatial)``, and the loss function gets this shape.
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
        """The task; None before the first batch, unless the user passed one."""
        return self._task

    @task.setter
    def task(self, task: Task | None) -> None:
        self._given = self._task = task
        if task is not None:
            task.follow(self.function)

    def task_of(self, labels: object, outputs: Tensor | None = None) -> Task:
        """Return the task: the one that the user passed, or the one that the first batch with outputs determines.

        Before the first batch, a task without outputs is only used for checks.
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
        """Return the task after checking that labels and the student's outputs are compatible."""
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
        """Warn once if the mean of the single losses differs from the loss of the batch, as for weighted losses.

        The first lesson with more than one class is checked. With one class, all weights are equal.
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
    """Whether the loss is one of torch's losses that are means over images, so that no comparison is needed."""
    return type(function).__module__ == "torch.nn.modules.loss"
