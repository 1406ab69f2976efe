# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Train a class-conditional GAN on a few labeled images, with MONAI's ``GanTrainer``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from ignite.engine import Events
from ignite.handlers import EMAHandler
from monai.engines.trainer import GanTrainer
from monai.inferers.inferer import Inferer
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from monai_gmcl.benchmark.data_sets import Images
from monai_gmcl.benchmark.flops import FlopCounter
from studies.proof.gan_augmentation import augment
from studies.proof.gan_networks import ConditionalGenerator, ProjectionDiscriminator

__all__ = ["GanOptions", "TrainedGenerator", "draw", "gan_trainer", "train_gan"]


BETAS = (0.5, 0.99)
"""Of both Adam optimizers: with little momentum, as generator and discriminator chase each other."""


@dataclass(frozen=True)
class GanOptions:
    """What can be tuned of the GAN.

    The learning rate is the better of two on PCam (500 labeled images), by kernel distance to held-out images.

    Attributes:
        channels: width of generator and discriminator.
        batch: real images in a step; as many are generated.
        learning_rate: of generator and discriminator.
        average: share of each step in the running average of the generator's weights.
        orientations: whether flips and quarter turns are among the discriminator's augmentations.
    """

    channels: int = 16
    batch: int = 32
    learning_rate: float = 1e-3
    average: float = 0.005
    orientations: bool = True


@dataclass(frozen=True)
class TrainedGenerator:
    """A generator, and what its training took.

    Attributes:
        network: in evaluation mode, its weights averaged over the last steps.
        steps: of generator and discriminator, each.
        flops: of all steps, counted at one.
    """

    network: ConditionalGenerator
    steps: int
    flops: float


def train_gan(
    images: Tensor,
    labels: Tensor,
    num_classes: int,
    steps: int,
    seed: int,
    options: GanOptions | None = None,
    device: torch.device | str = "cpu",
) -> TrainedGenerator:
    """Train generator and discriminator by turns, a step each, with the hinge loss.

    The generator that comes out is the running average of the one that was trained (Yazici et al. 2019, arXiv
    1806.04498), which is steadier.

    Args:
        images: ``(N, C, *spatial)`` from 0 to 1.
        labels: int64 ``(N,)``.
        num_classes: number of classes.
        steps: of both.
        seed: of everything random; the global random numbers stay as they were.
        options: what can be tuned.
        device: where to train.
    """
    options = options or GanOptions()
    images, labels = images.to(device), labels.to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shape = tuple(images.shape[1:])
        network = ConditionalGenerator(shape, num_classes, options.channels).to(device)
        discriminator = ProjectionDiscriminator(shape, num_classes, options.channels).to(device)
        order = torch.Generator().manual_seed(2 * seed)
        dataset = TensorDataset(images, labels)
        sampler = RandomSampler(dataset, num_samples=steps * options.batch, generator=order)
        loader = DataLoader(dataset, batch_size=options.batch, sampler=sampler, generator=order)
        trainer = gan_trainer(network, discriminator, loader, labels, seed, options, device)
        average = EMAHandler(network, momentum=options.average, handle_buffers="copy")
        average.attach(trainer, event=Events.ITERATION_COMPLETED)
        counter = _count_one_step(trainer, steps)
        trainer.run()
    averaged = average.ema_model
    assert isinstance(averaged, ConditionalGenerator)
    _settle_statistics(averaged, labels, seed)
    return TrainedGenerator(averaged.requires_grad_(False), steps, float(counter.total) * steps)


def _count_one_step(trainer: GanTrainer, steps: int) -> FlopCounter:
    counter = FlopCounter()
    # The third step is one like those that follow.
    counted = min(3, steps)

    def start() -> None:
        counter.__enter__()  # type: ignore[no-untyped-call]

    def stop() -> None:
        counter.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    trainer.add_event_handler(Events.ITERATION_STARTED(once=counted), start)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=counted), stop)
    return counter


@torch.no_grad()
def draw(network: ConditionalGenerator, labels: Tensor, seed: int) -> Tensor:
    """Return an image ``(N, C, *spatial)`` of each label ``(N,)``."""
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(len(labels), network.latent_size, generator=generator)
    device = next(network.parameters()).device
    parts = zip(torch.split(latents.to(device), 256), torch.split(labels.to(device), 256), strict=True)
    return torch.cat([network(*part) for part in parts]).cpu()


class _LabeledInferer(Inferer):
    """Generates from latents and labels, and hands the labels on to the losses."""

    def __init__(self, autocast: Callable[[], AbstractContextManager[Any]]) -> None:
        self.autocast = autocast

    def __call__(self, inputs: Any, network: Any, *args: Any, **kwargs: Any) -> Any:
        latents, labels = inputs
        with self.autocast():
            return network(latents, labels), labels


def gan_trainer(
    network: ConditionalGenerator,
    discriminator: ProjectionDiscriminator,
    loader: DataLoader[Any],
    labels: Tensor,
    seed: int,
    options: GanOptions,
    device: str | torch.device = "cpu",
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> GanTrainer:
    """Return the trainer of both networks, which takes one step of each for every batch.

    Args:
        network: the generator, on the device.
        discriminator: on the device.
        loader: batches of images ``(B, C, *spatial)`` from 0 to 1 and labels int64 ``(B,)``.
        labels: int64 ``(N,)``, from which those to generate are drawn.
        seed: of latents, labels to generate and the discriminator's augmentations.
        options: what can be tuned; as many images as its batch are generated.
        device: of the training.
        autocast: makes the context of the networks' passes.
    """
    randomness = torch.Generator().manual_seed(2 * seed + 1)

    def prepare_latents(latent_size: int, **_: Any) -> Images:
        index = torch.randint(len(labels), (options.batch,), generator=randomness)
        latents = torch.randn(options.batch, latent_size, generator=randomness)
        return latents.to(device), labels[index].to(device)

    def judged(images: Tensor, labels: Tensor) -> Tensor:
        with autocast():
            scores: Tensor = discriminator(augment(images, randomness, options.orientations), labels)
        return scores

    def discriminator_loss(fakes: Images, reals: Images) -> Tensor:
        scores = judged(torch.cat([reals[0], fakes[0].detach()]), torch.cat([reals[1], fakes[1]]))
        real, fake = torch.split(scores, [len(reals[0]), len(fakes[0])])
        return torch.relu(1 - real).mean() + torch.relu(1 + fake).mean()

    def generator_loss(fakes: Images) -> Tensor:
        # Else its weights' gradients would be computed, too, for nothing.
        discriminator.requires_grad_(False)
        scores = judged(*fakes)
        discriminator.requires_grad_(True)
        return -scores.mean()

    return GanTrainer(
        device=device,
        max_epochs=1,
        train_data_loader=loader,
        g_network=network,
        g_optimizer=torch.optim.Adam(network.parameters(), options.learning_rate, BETAS),
        g_loss_function=generator_loss,
        g_inferer=_LabeledInferer(autocast),
        g_prepare_batch=prepare_latents,
        d_network=discriminator,
        d_optimizer=torch.optim.Adam(discriminator.parameters(), options.learning_rate, BETAS),
        d_loss_function=discriminator_loss,
        latent_shape=network.latent_size,
        decollate=False,
    )


@torch.no_grad()
def _settle_statistics(network: ConditionalGenerator, labels: Tensor, seed: int, batches: int = 20) -> None:
    """Take the batch statistics anew: those kept in training belong to weights that were not averaged."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            # A plain mean over the batches.
            module.momentum = None
    network.train()
    for _ in range(batches):
        index = torch.randint(len(labels), (64,), generator=generator)
        latents = torch.randn(64, network.latent_size, generator=generator)
        network(latents.to(labels.device), labels[index])
    network.eval()
