# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The student's step on real images and lessons, optionally with mixed precision."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from ignite.engine import State
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from monai_gmcl.engines.batches import RealBatch
from monai_gmcl.exceptions import NonFiniteLossError
from monai_gmcl.hypergradients.update_rules import update_derivative
from monai_gmcl.late_reading import Read, at_once
from monai_gmcl.lesson import Lesson, RealStep
from monai_gmcl.ranks import Ranks

__all__ = ["FiniteWeights", "Precision", "StudentStep", "not_finite"]


class StudentStep:
    """The student's step on ``r · g_real + w · g_lesson``, accumulated over the micro-batches of a window.

    ``p.grad`` holds the real gradient of the window. The gradient of the lessons is stored separately until both are
    combined. The last window of an epoch may be shorter than ``accumulation_steps``.

    Attributes:
        names: name of each parameter that the optimizer trains.
        update: A of the last step, by parameter name.
        taken: how many steps the optimizer has taken.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Optimizer,
        precision: Precision,
        accumulation_steps: int,
        set_to_none: bool,
        ranks: Ranks,
        read: Read = at_once,
    ) -> None:
        self.names: dict[Tensor, str] = {}
        self.network = network
        self.optimizer = optimizer
        self.precision = precision
        self.accumulation_steps = accumulation_steps
        self.set_to_none = set_to_none
        self.ranks = ranks
        self.read = read
        self.update: dict[str, Tensor] = {}
        self.taken = 0
        self._lesson_gradient: dict[str, Tensor] = {}
        self.read_names()

    def read_names(self) -> None:
        """Find the parameters that the optimizer trains; groups may be added and the optimizer replaced at any time."""
        trained = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        self.names = {p: name for name, p in self.network.named_parameters() if id(p) in trained}

    def changed(self) -> set[str]:
        """Return the names of the parameters that the next step changes."""
        self.read_names()
        return {name for p, name in self.names.items() if p.grad is not None}

    def forget(self) -> None:
        """Delete A of the last step and the gradient of lessons, which belong to another network."""
        self.update, self._lesson_gradient = {}, {}

    def window_begins(self, state: State) -> bool:
        """Whether this iteration's micro-batch is the first of its window."""
        return self._place(state) % self.accumulation_steps == 0

    def window_ends(self, state: State) -> bool:
        """Whether the optimizer steps in this iteration."""
        place = self._place(state) + 1
        return place % self.accumulation_steps == 0 or place == state.epoch_length

    def _place(self, state: State) -> int:
        before = int(state.iteration) - 1
        return before % int(state.epoch_length) if state.epoch_length else before

    def begin_window(self) -> None:
        """Clear both gradients."""
        self.optimizer.zero_grad(set_to_none=self.set_to_none)
        self._lesson_gradient = {}

    def add_real(self, loss: Tensor, rank_weight: float) -> None:
        """Add the gradient of a real micro-batch's mean loss.

        ``rank_weight`` is the number of this rank's images, as a multiple of the mean over all ranks.
        """
        torch.autograd.backward(self.precision.scaler.scale(loss * rank_weight / self.accumulation_steps))

    def share_look_ahead(self) -> None:
        """Average the real gradient over the images of all ranks, for the parameters that estimators use."""
        self.ranks.average([p.grad for p, name in self.names.items() if name in self.update and p.grad is not None])

    def real_gradient(self) -> dict[str, Tensor]:
        """Return the window's real gradient, unscaled, by parameter name; valid until :meth:`combine`."""
        gradients = {name: p.grad for p, name in self.names.items() if p.grad is not None}
        return self.precision.unscaled(gradients)

    def add_lesson(self, lesson: Lesson, keep_graph: bool, hard: bool) -> None:
        """Add the gradient of a lesson's weighted loss; with ``hard``, also keep the gradient of the images."""
        inputs = [*lesson.parameters.values(), *([lesson.images] if keep_graph and hard else [])]
        loss = self.precision.scaler.scale(
            (lesson.weights * lesson.losses).mean() * lesson.rank_weight / self.accumulation_steps
        )
        gradients = torch.autograd.grad(loss, inputs, retain_graph=keep_graph, allow_unused=True)
        for name, gradient in zip(lesson.parameters, gradients, strict=False):
            if gradient is not None:
                before = self._lesson_gradient.get(name)
                self._lesson_gradient[name] = gradient if before is None else before + gradient
        if len(inputs) > len(lesson.parameters):
            lesson.image_gradient = gradients[-1]

    def lesson_gradient(self) -> dict[str, Tensor]:
        """Return the gradient of the window's lessons so far, by parameter name, multiplied by the loss scale."""
        return dict(self._lesson_gradient)

    def combine(self, real_weight: float, lesson_weight: float) -> None:
        """Write ``r · g_real + w · g_lesson`` of all ranks to ``p.grad``, without the loss scale.

        Running statistics are averaged over all ranks.
        """
        self.read_names()
        own = {name: p.grad for p, name in self.names.items() if p.grad is not None}
        taught = {name: self._lesson_gradient[name] for name in self.names.values() if name in self._lesson_gradient}
        self._lesson_gradient = {}
        if own:
            torch._foreach_mul_(list(own.values()), real_weight)
        if taught and lesson_weight != 1:
            taught = dict(zip(taught, torch._foreach_mul(list(taught.values()), lesson_weight), strict=True))
        both = [name for name in own if name in taught]
        if both:
            torch._foreach_add_([own[name] for name in both], [taught[name] for name in both])
        for parameter, name in self.names.items():
            if parameter.grad is None and name in taught:
                parameter.grad = taught[name].clone()
        statistics = [buffer for buffer in self.network.buffers() if buffer.is_floating_point()]
        self.ranks.average([*(p.grad for p in self.names if p.grad is not None), *statistics])
        self.precision.scaler.unscale_(self.optimizer)

    def derive_update(self, read: Collection[str]) -> None:
        """Compute A of the next step for the parameters that will be needed."""
        self.update = update_derivative(self.optimizer, {p: name for p, name in self.names.items() if name in read})

    def optimizer_step(self, hear_skipped: Callable[[Tensor], None]) -> bool:
        """Step; return False if the step is skipped because of an overflow of the loss scale.

        An optimizer with ``fused=True`` skips such a step on the device, and the host does not wait for the result. A
        is then 0, so that the lesson does not update the teacher. ``hear_skipped`` is called later with whether the
        step was skipped. NonFiniteLossError if the gradient is not finite, and no loss scale is used.
        """
        if not self.precision.scaler.is_enabled():
            self._check_gradient()
        stepped = self.precision.step(self.optimizer)
        if isinstance(stepped, Tensor):
            self.update = {name: torch.where(stepped, a, 0) for name, a in self.update.items()}
            self.read(~stepped, hear_skipped)
            stepped = True
        self.taken += stepped
        return stepped

    def _check_gradient(self) -> None:
        gradients = {name: p.grad for p, name in self.names.items() if p.grad is not None}
        if gradients:
            norms = torch._foreach_norm(list(gradients.values()))
            together = torch.stack([norm.to(norms[0].device, non_blocking=True) for norm in norms])
            self.read(together, partial(_refuse_gradient, names=list(gradients)))

    def remember(self, real: RealBatch, real_weight: float) -> RealStep:
        """Return what is needed to repeat the next step; call this before :meth:`combine`."""
        groups = {p: group for group in self.optimizer.param_groups for p in group["params"]}
        state = self.optimizer.state
        return RealStep(
            images=real.images,
            labels=real.labels,
            real_weight=real_weight,
            gradient=_copied(self.real_gradient()),
            optimizer_state={name: _copied(state.get(p, {})) for p, name in self.names.items()},
            optimizer_options={
                name: {key: value for key, value in groups[p].items() if key != "params"}
                for p, name in self.names.items()
            },
            optimizer=type(self.optimizer).__name__,
            seed=real.seed,
            args=real.args,
            kwargs=real.kwargs,
        )

    def state_dict(self, engine_state: State) -> dict[str, Any]:
        """Return A of the last step and, in the middle of a window, both gradients."""
        unfinished = engine_state.iteration > 0 and not self.window_ends(engine_state)
        return {
            "taken": self.taken,
            "update": _copied(self.update),
            "lesson_gradient": _copied(self._lesson_gradient),
            "real_gradient": {n: p.grad.clone() for p, n in self.names.items() if unfinished and p.grad is not None},
            "scaler": self.precision.scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Restore a saved state."""
        self.taken = state["taken"]
        self.update = {name: value.to(device) for name, value in state["update"].items()}
        self._lesson_gradient = {name: value.to(device) for name, value in state["lesson_gradient"].items()}
        for parameter, name in self.names.items():
            saved = state["real_gradient"].get(name)
            parameter.grad = None if saved is None else saved.to(parameter)
        if state["scaler"]:
            self.precision.scaler.load_state_dict(state["scaler"])


def _refuse_gradient(norms: Tensor, names: Sequence[str]) -> None:
    if torch.isfinite(norms.norm()):
        return
    name = next((n for n, norm in zip(names, norms, strict=True) if not torch.isfinite(norm)), "its total norm")
    raise NonFiniteLossError(
        f"The student's gradient is not finite ({name}), although its loss is. The step was not taken. Lower the "
        "learning rate, or clip the gradient in a handler of IterationEvents.BACKWARD_COMPLETED."
    )


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.clone() if isinstance(value, Tensor) else value for key, value in values.items()}


class Precision:
    """Mixed precision with ``torch.amp``; by default bfloat16 on the CPU, and float16 with a loss scale on CUDA."""

    def __init__(self, enabled: bool, device: torch.device, options: dict[str, Any]) -> None:
        self.device_type = device.type
        self._enabled, self._options = enabled, options
        self._begin()

    @property
    def enabled(self) -> bool:
        """Whether the student is trained with mixed precision; a change resets the loss scale."""
        return self._enabled

    @enabled.setter
    def enabled(self, enabled: bool) -> None:
        if enabled != self._enabled:
            self._enabled = enabled
            self._begin()

    @property
    def options(self) -> dict[str, Any]:
        """Options of ``torch.autocast``; a change resets the loss scale."""
        return self._options

    @options.setter
    def options(self, options: dict[str, Any] | None) -> None:
        if (options or {}) != self._options:
            self._options = options or {}
            self._begin()

    def _begin(self) -> None:
        dtype = torch.float32
        if self._enabled:
            dtype = self._options.get("dtype", torch.get_autocast_dtype(self.device_type))
        self.scaler = torch.amp.GradScaler(self.device_type, enabled=dtype == torch.float16)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context for a pass of the student."""
        return torch.autocast(self.device_type, **self.options) if self.enabled else nullcontext()

    def step(self, optimizer: Optimizer) -> bool | Tensor:
        """Call the optimizer's step unless scaled gradients have overflowed; return whether it stepped.

        For this, torch's ``GradScaler`` waits for the device, unless the optimizer itself reads ``found_inf`` on the
        device (``fused=True``).
        """
        if not self.scaler.is_enabled():
            optimizer.step()
            return True
        seen: list[Tensor | None] = []
        hook = optimizer.register_step_post_hook(lambda *_: seen.append(getattr(optimizer, "found_inf", None)))
        self.scaler.step(optimizer)
        self.scaler.update()
        hook.remove()
        if not seen or seen[0] is None:
            return bool(seen)
        stepped = seen[0] == 0
        return bool(stepped) if stepped.device.type == "cpu" else stepped

    def unscaled(self, gradients: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return gradients of a scaled loss without the scale; the host does not wait."""
        if not self.scaler.is_enabled():
            return gradients
        scale = self._scale_on_device()
        return {name: gradient / scale.to(gradient.device) for name, gradient in gradients.items()}

    def _scale_on_device(self) -> Tensor:
        scale: Tensor = self.scaler.scale(torch.ones((), device=self.device_type))
        return scale


class FiniteWeights:
    """Finds weights and running statistics that have become NaN or infinite. The loss may not show them.

    Training does not use running statistics, and after the last step no loss is computed.
    """

    def __init__(self, **networks: nn.Module) -> None:
        self.networks = networks
        self._as_built: dict[str, set[str]] = {}

    def begin(self) -> None:
        """Record values that are not finite at the start, such as a mask, and are accepted."""
        self._as_built = {name: set(not_finite(network)) for name, network in self.networks.items()}

    def check(self, iteration: int) -> None:
        """Raise a NonFiniteLossError with the name of the first weight or statistic that is not finite."""
        for name, network in self.networks.items():
            found = next((key for key in not_finite(network) if key not in self._as_built.get(name, set())), None)
            if found is not None:
                raise NonFiniteLossError(
                    f"The {name}'s {found} has NaN or infinite values after iteration {iteration}, although all losses "
                    "were finite. Lower the learning rate, check the images for extreme values, or continue from the "
                    "last checkpoint."
                )


def not_finite(network: nn.Module) -> Iterator[str]:
    """Yield the names of weights and buffers that hold NaN or infinite values."""
    named = [*network.named_parameters(), *network.named_buffers()]
    floats = {key: tensor for key, tensor in named if not is_lazy(tensor) and tensor.is_floating_point()}
    if floats:
        device = next(iter(floats.values())).device
        # Read together, because the host would wait for the device once for each value.
        finite = torch.stack([torch.isfinite(tensor).all().to(device) for tensor in floats.values()]).tolist()
        yield from (key for key, is_finite in zip(floats, finite, strict=True) if not is_finite)
