# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The hypergradient through the classification head alone, in closed form."""

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


class HeadHypergradient(Hypergradient):
    """Hypergradient through the classification head alone.

    The head is the last linear layer (or 1 x 1 convolution) that the student runs and the optimizer trains. With h
    its input and ``δᵢ = ∂ℓᵢ/∂(head output)``, an image's gradient by the head's weight is ``δᵢ hᵢᵀ``, by its bias
    ``δᵢ``, so::

        sᵢ = δᵢᵀ (Ṽ hᵢ + b̃),   Ṽ = A·V,   b̃ = A·v_b

    with V and v_b the look-ahead gradient of weight and bias. For softmax cross-entropy ``δ = p - y``; autograd finds
    it for any loss that can be differentiated twice. One backward pass through the graph that stands already takes it
    to the images: no second derivative of the network's body is needed.

    Args:
        head: dotted name of the student's head. Default: found as above while the student takes the lesson.

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
        """Record what enters and leaves the candidates for the head, in the order in which they run."""
        seen: list[HeadActivation] = []
        handles = [
            module.register_forward_hook(_note(name, seen))
            for name, module in network.named_modules()
            if self._may_be_head(name, module, trained)
        ]
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()
        if not seen:
            wanted = (
                "a trained linear layer or 1 x 1 convolution" if self.head is None else f"a trained layer {self.head!r}"
            )
            raise HeadNotFoundError(
                f"HeadHypergradient needs {wanted}, but {type(network).__name__} ran none. "
                "Name the head (HeadHypergradient(head=...)) or use ExactHypergradient()."
            )
        runs = sum(activation.name == seen[-1].name for activation in seen)
        if runs > 1:
            raise HeadNotFoundError(
                f"HeadHypergradient needs a head that runs once on a batch, but {type(network).__name__} ran "
                f"{seen[-1].name!r} {runs} times. Use ExactHypergradient()."
            )

    def _may_be_head(self, name: str, module: nn.Module, trained: Sequence[str]) -> bool:
        if not _is_linear(module) or f"{name}.weight" not in trained:
            return False
        return self.head is None or name == self.head

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
        """Return sᵢ ``(n,)`` in closed form: no pass of its own."""
        return _scores(lesson, look_ahead, create_graph=False).detach()


def _scores(lesson: Lesson, look_ahead: Mapping[str, Tensor], create_graph: bool) -> Tensor:
    head = lesson.head
    (delta,) = torch.autograd.grad(lesson.losses.sum(), head.outputs, create_graph=create_graph, retain_graph=True)
    return (delta * _apply(head, lesson.update_direction(look_ahead))).flatten(1).sum(1)


def _is_linear(module: nn.Module) -> bool:
    if isinstance(module, nn.Linear):
        return True
    return (
        isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        and set(module.kernel_size) == set(module.stride) == {1}
        and (isinstance(module.padding, str) or not any(module.padding))
        and module.groups == 1
    )


def _note(name: str, seen: list[HeadActivation]) -> Any:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> None:
        assert isinstance(module.weight, Tensor)
        seen.append(HeadActivation(name, module.weight, inputs[0], outputs))

    return hook


def _apply(head: HeadActivation, direction: Mapping[str, Tensor]) -> Tensor:
    """Return Ṽ h + b̃; a weight or bias without look-ahead gradient counts as 0."""
    weight = direction.get(f"{head.name}.weight", torch.zeros_like(head.weight))
    bias = direction.get(f"{head.name}.bias")
    inputs = head.inputs.to(weight.dtype)
    if weight.ndim == 2:
        return nn.functional.linear(inputs, weight, bias)
    convolution = (nn.functional.conv1d, nn.functional.conv2d, nn.functional.conv3d)[weight.ndim - 3]
    outputs: Tensor = convolution(inputs, weight, bias)
    return outputs
