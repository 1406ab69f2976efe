# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What others do about wrong labels: co-teaching, learning to reweight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines.trainer import SupervisedTrainer
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from monai_gmcl.benchmark.student_run import BATCH, Setup, small_resnet

__all__ = ["co_teaching", "learning_to_reweight"]

RAMP = 10
"""Epochs after which co-teaching leaves out its full share, as its authors have it."""
Losses = Callable[[Any, Tensor, Tensor], Tensor]
"""Trainer, images and labels to the loss of a step."""


def co_teaching(setup: Setup, arguments: dict[str, Any], share: float) -> SupervisedTrainer:
    """Return a trainer of two students, each of which picks the images of least loss for the other (Han et al. 2018).

    The first one is measured. The share that is left out rises to that of false labels over ten epochs.

    Args:
        setup: of the run; its optimizer takes the second student in.
        arguments: of the trainer.
        share: of false labels among the images, which the method must be told.
    """
    other = small_resnet(setup.options).to(setup.device).train()
    setup.optimizer.add_param_group({"params": other.parameters()})
    ramp = RAMP * len(arguments["train_data_loader"].dataset) / BATCH

    def losses(trainer: Any, images: Tensor, labels: Tensor) -> Tensor:
        first, second = (
            functional.cross_entropy(network(images), labels, reduction="none") for network in (trainer.network, other)
        )
        left_out = share * min(1.0, trainer.state.iteration / ramp)
        kept = round((1 - left_out) * len(images))
        picked = [own.detach().argsort(stable=True)[:kept] for own in (first, second)]
        return first[picked[1]].mean() + second[picked[0]].mean()

    return SupervisedTrainer(**arguments, iteration_update=_step(losses))


def learning_to_reweight(arguments: dict[str, Any], trusted: DataLoader[Any]) -> SupervisedTrainer:
    """Return a trainer that weighs each image by how much a step on it lowers the loss of trusted ones (Ren 2018).

    The derivative of the trusted images' loss by the weights, at weights of 0 and after a plain gradient step; negative
    ones are cut off, the others sum to 1.

    Args:
        arguments: of the trainer.
        trusted: loader of images and labels.
    """
    batches = _cycle(trusted)

    def losses(trainer: Any, images: Tensor, labels: Tensor) -> Tensor:
        parameters = list(trainer.network.parameters())
        device = images.device
        trusted_images, trusted_labels = (part.to(device) for part in next(batches))
        judge = torch.autograd.grad(
            functional.cross_entropy(trainer.network(trusted_images), trusted_labels), parameters
        )
        each = functional.cross_entropy(trainer.network(images), labels, reduction="none")
        weights = torch.zeros(len(images), device=device, requires_grad=True)
        steps = torch.autograd.grad((weights * each).sum(), parameters, create_graph=True)
        gained = sum((step * v).sum() for step, v in zip(steps, judge, strict=True))
        assert isinstance(gained, Tensor)
        (scores,) = torch.autograd.grad(gained, weights, retain_graph=True)
        helpful = scores.clamp(min=0)
        return (helpful / helpful.sum().clamp(min=1e-12) * each).sum()

    return SupervisedTrainer(**arguments, iteration_update=_step(losses))


def _step(losses: Losses) -> Callable[[Engine, Any], dict[str, Any]]:
    def update(trainer: Any, batch: Any) -> dict[str, Any]:
        images, labels = (part.to(trainer.state.device) for part in batch)
        trainer.network.train()
        trainer.optimizer.zero_grad()
        loss = losses(trainer, images, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        trainer.optimizer.step()
        return {"image": images, "label": labels, "loss": loss.detach()}

    return update


def _cycle(loader: DataLoader[Any]) -> Iterator[Any]:
    while True:
        yield from loader
