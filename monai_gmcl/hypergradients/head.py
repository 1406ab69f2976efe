# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The hypergradient through the student's last linear layer, in closed form."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from monai_gmcl.exceptions import HeadNotFoundError
from monai_gmcl.hypergradients.base import Hypergradient
from monai_gmcl.lesson import HeadActivation, Lesson

__all__ = ["HeadHypergradient"]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
REMEDY = "Name the head (HeadHypergradient(head=...)), or use ExactHypergradient() or FiniteDifferenceHypergradient()."


class HeadHypergradient(Hypergradient):
    """Hypergradient through the student's last layer (the *head*) only. The default of ``GMCLTrainer``.

    The head is the last linear layer (or 1 x 1 convolution) that the student runs and the optimizer trains. h is the
    head's input and ``δᵢ = ∂ℓᵢ/∂(head output)``. The gradient of image i is ``δᵢ hᵢᵀ`` by the head's weight and ``δᵢ``
    by its bias, so that::

        sᵢ = δᵢᵀ (Ṽ hᵢ + b̃),   Ṽ = A·V,   b̃ = A·v_b

    V and v_b are the look-ahead gradients of weight and bias, and A is the derivative of the optimizer's step. For
    softmax cross-entropy ``δ = p - y``; for any other loss that is twice differentiable, autograd computes δ. One
    backward pass through the existing graph of the lesson gives the gradient of the images. No second derivative of the
    network's body is needed.

    In a student for segmentation, 1 x 1 convolutions may be anywhere. Its head is the convolution of any size,
    transposed or not, that gives the student's output, possibly followed by an affine map.

    Args:
        head: dotted name of the student's head, a linear layer or a convolution. Default: found as above in the
            student's pass on the lesson.

    Raises:
        HeadNotFoundError: the student runs no such layer, or runs it more than once on a batch.
    """

    own_passes = False
    works_with_sync_batchnorm = True
    weighs_with_sync_batchnorm = True

    def __init__(self, head: str | None = None) -> None:
        self.head = head

    @contextmanager
    def record_head(self, network: nn.Module, trained: Sequence[str]) -> Iterator[list[HeadActivation]]:
        """Record inputs and outputs of the layers that may be the head, in the order in which they run."""
        seen: list[HeadActivation] = []
        handles = [
            module.register_forward_hook(_note(name, seen))
            for name, module in network.named_modules()
            if _is_layer(module) and f"{name}.weight" in trained and self.head in (None, name)
        ]
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()

    def choose(self, seen: Sequence[HeadActivation], outputs: Tensor, losses: Tensor) -> HeadActivation:
        """Return the input and output of the head.

        Raises:
            HeadNotFoundError: there is no head, or it ran more than once.
        """
        found: HeadActivation | None
        if self.head is not None or outputs.ndim <= 2:
            found = _last_that_counts([one for one in seen if self.head is not None or _is_linear(one.layer)], losses)
        else:
            found = next((one for one in reversed(seen) if _leads_to(one.outputs, outputs)), None)
        if found is None:
            raise HeadNotFoundError(
                f"HeadHypergradient needs {self._wanted(outputs)}, but the student has none. {REMEDY}"
            )
        runs = sum(activation.name == found.name for activation in seen)
        if runs > 1:
            raise HeadNotFoundError(
                "HeadHypergradient needs a head that is called once for a batch, but the student called "
                f"{found.name!r} {runs} times. {REMEDY}"
            )
        return found

    def _wanted(self, outputs: Tensor) -> str:
        if self.head is not None:
            return f"a trained layer {self.head!r}, linear or a convolution"
        if outputs.ndim <= 2:
            return "a trained linear layer or 1 x 1 convolution"
        return "a trained convolution whose output is the student's output, or has that as an affine map"

    def required_parameters(self, lesson: Lesson) -> Collection[str]:
        """Return the head's weight and bias."""
        return (f"{lesson.head.name}.weight", f"{lesson.head.name}.bias")

    def __call__(self, lessons: Sequence[Lesson], look_ahead: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        (lesson,) = lessons
        scores = _scores(lesson, look_ahead, create_graph=True)
        total = (lesson.weights * scores).sum() / -len(lesson)
        (hypergradient,) = torch.autograd.grad(total, lesson.images, retain_graph=True, materialize_grads=True)
        return hypergradient, scores.detach()

    def image_scores(self, lesson: Lesson, look_ahead: Mapping[str, Tensor]) -> Tensor:
        """Return sᵢ ``(n,)`` in closed form, without an additional pass."""
        return _scores(lesson, look_ahead, create_graph=False).detach()


def _scores(lesson: Lesson, look_ahead: Mapping[str, Tensor], create_graph: bool) -> Tensor:
    head = lesson.head
    (delta,) = torch.autograd.grad(lesson.losses.sum(), head.outputs, create_graph=create_graph, retain_graph=True)
    return (delta * _apply(head, lesson.update_direction(look_ahead))).flatten(1).sum(1)


def _last_that_counts(seen: Sequence[HeadActivation], losses: Tensor) -> HeadActivation | None:
    """Return the last layer on which the losses depend, because an inferer may select one of several heads."""
    for activation in reversed(seen) if len(seen) > 1 else ():
        if activation.outputs.requires_grad:
            (way,) = torch.autograd.grad(losses.sum(), activation.outputs, retain_graph=True, allow_unused=True)
            if way is not None:
                return activation
    return seen[-1] if seen else None


def _leads_to(inner: Tensor, outputs: Tensor) -> bool:
    """Whether ``outputs`` are an affine map of ``inner``: the derivative is then constant."""
    if inner is outputs or not inner.requires_grad:
        return inner is outputs
    (way,) = torch.autograd.grad(outputs.sum(), inner, create_graph=True, allow_unused=True)
    return way is not None and not way.requires_grad


def _is_layer(module: nn.Module) -> bool:
    if isinstance(module, CONVOLUTIONS + TRANSPOSED):
        return module.padding_mode == "zeros"
    return isinstance(module, nn.Linear)


def _is_linear(module: nn.Module) -> bool:
    if isinstance(module, nn.Linear):
        return True
    return (
        isinstance(module, CONVOLUTIONS)
        and set(module.kernel_size) == set(module.stride) == {1}
        and (isinstance(module.padding, str) or not any(module.padding))
        and module.groups == 1
    )


def _note(name: str, seen: list[HeadActivation]) -> Any:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> None:
        assert isinstance(module.weight, Tensor)
        seen.append(HeadActivation(name, module, module.weight, inputs[0], outputs))

    return hook


def _apply(head: HeadActivation, direction: Mapping[str, Tensor]) -> Tensor:
    """Return Ṽ h + b̃; a weight or bias without look-ahead gradient counts as 0."""
    weight = direction.get(f"{head.name}.weight", torch.zeros_like(head.weight))
    bias = direction.get(f"{head.name}.bias")
    layer, inputs = head.layer, head.inputs.to(weight.dtype)
    if isinstance(layer, nn.Linear):
        return nn.functional.linear(inputs, weight, bias)
    places: dict[str, Any] = {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups")}
    if isinstance(layer, TRANSPOSED):
        places["output_padding"] = layer.output_padding
    name = f"conv{'_transpose' if isinstance(layer, TRANSPOSED) else ''}{weight.ndim - 2}d"
    outputs: Tensor = getattr(nn.functional, name)(inputs, weight, bias, **places)
    return outputs
