# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The peer that GMCL replaces: train a GAN, select from its images, then train the classifier on both.

Stage one is a small class-conditional GAN, trained with MONAI's ``GanTrainer`` on the labeled images alone. Of the
images that it draws, those are selected whose class a classifier of the real images is sure of and whose features lie
near the class's center: the two criteria of selective synthetic augmentation (Xue et al. 2021, Medical Image Analysis
67, 10.1016/j.media.2020.101816), in our own reconstruction. Stage two, the classifier on real and selected images, is
that of every other arm of the benchmark.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ignite.engine import Events
from ignite.handlers import EMAHandler
from monai.engines.trainer import GanTrainer
from monai.inferers.inferer import Inferer
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from monai_gmcl.benchmark.gan_networks import ConditionalGenerator, ProjectionDiscriminator, augment

__all__ = ["GanOptions", "TrainedGenerator", "draw", "kernel_inception_distance", "select", "train_gan"]

Images = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class GanOptions:
    """What can be tuned of the GAN; the defaults are what tuning on PCam found.

    Attributes:
        channels: width of generator and discriminator.
        latent_size: length of a latent.
        batch: real images in a step; as many are generated.
        learning_rate: of the generator.
        discriminator_rate: learning rate of the discriminator.
        betas: of both Adam optimizers.
        average: share of each step in the running average of the generator's weights.
        orientations: whether flips and quarter turns are among the discriminator's augmentations.
    """

    channels: int = 32
    latent_size: int = 64
    batch: int = 32
    learning_rate: float = 5e-4
    discriminator_rate: float = 5e-4
    betas: tuple[float, float] = (0.5, 0.99)
    average: float = 0.005
    orientations: bool = True


@dataclass(frozen=True)
class TrainedGenerator:
    """A generator after so many steps, and what it took to get there.

    Attributes:
        steps: of both networks, each.
        network: in evaluation mode, its weights averaged over the last steps.
        wall_seconds: since training began.
        cpu_seconds: likewise.
    """

    steps: int
    network: ConditionalGenerator
    wall_seconds: float
    cpu_seconds: float


def train_gan(
    images: Tensor,
    labels: Tensor,
    num_classes: int,
    lengths: Sequence[int] = (1000, 2000, 4000),
    seed: int = 0,
    options: GanOptions | None = None,
) -> list[TrainedGenerator]:
    options = options or GanOptions()
    start = time.perf_counter(), time.process_time()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shape = tuple(images.shape[1:])
        network = ConditionalGenerator(shape, num_classes, options.latent_size, options.channels)
        discriminator = ProjectionDiscriminator(shape, num_classes, options.channels)
    trainer = _trainer(network, discriminator, (images, labels), max(lengths), seed, options)
    ema = EMAHandler(network, momentum=options.average, handle_buffers="copy")
    ema.attach(trainer)
    trained: list[TrainedGenerator] = []

    def keep() -> None:
        if trainer.state.iteration in lengths:
            averaged = copy.deepcopy(ema.ema_model)
            _settle_statistics(averaged, labels, seed)
            spent = time.perf_counter() - start[0], time.process_time() - start[1]
            trained.append(TrainedGenerator(trainer.state.iteration, averaged, *spent))

    trainer.add_event_handler(Events.ITERATION_COMPLETED, keep)
    trainer.run()
    return trained


class _LabeledInferer(Inferer):
    def __call__(self, inputs: Images, network: Any, *args: Any, **kwargs: Any) -> Images:
        latents, labels = inputs
        return network(latents, labels), labels


def _trainer(
    network: ConditionalGenerator,
    discriminator: ProjectionDiscriminator,
    data: Images,
    steps: int,
    seed: int,
    options: GanOptions,
) -> GanTrainer:
    order, randomness = (torch.Generator().manual_seed(2 * seed + i) for i in range(2))

    def prepare_latents(num_latents: int, latent_size: int, **_: Any) -> Images:
        index = torch.randint(len(data[1]), (num_latents,), generator=randomness)
        return torch.randn(num_latents, latent_size, generator=randomness), data[1][index]

    def discriminator_loss(fakes: Images, reals: Images) -> Tensor:
        images = torch.cat([reals[0], fakes[0].detach()])
        labels = torch.cat([reals[1], fakes[1]])
        scores = discriminator(augment(images, randomness, options.orientations), labels)
        real, fake = scores.split([len(reals[0]), len(fakes[0])])
        return torch.relu(1 - real).mean() + torch.relu(1 + fake).mean()

    def generator_loss(fakes: Images) -> Tensor:
        discriminator.requires_grad_(False)
        scores = discriminator(augment(fakes[0], randomness, options.orientations), fakes[1])
        discriminator.requires_grad_(True)
        loss: Tensor = -scores.mean()
        return loss

    dataset = TensorDataset(*data)
    sampler = RandomSampler(dataset, num_samples=steps * options.batch, generator=order)
    return GanTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=DataLoader(dataset, batch_size=options.batch, sampler=sampler, generator=order),
        g_network=network,
        g_optimizer=torch.optim.Adam(network.parameters(), options.learning_rate, options.betas),
        g_loss_function=generator_loss,
        g_inferer=_LabeledInferer(),
        d_network=discriminator,
        d_optimizer=torch.optim.Adam(discriminator.parameters(), options.discriminator_rate, options.betas),
        d_loss_function=discriminator_loss,
        latent_shape=options.latent_size,
        g_prepare_batch=prepare_latents,
    )


@torch.no_grad()
def _settle_statistics(network: ConditionalGenerator, labels: Tensor, seed: int, batches: int = 20) -> None:
    """Take the batch statistics anew: those kept in training belong to weights that were not averaged."""
    generator = torch.Generator().manual_seed(seed)
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    for _ in range(batches):
        index = torch.randint(len(labels), (64,), generator=generator)
        network(torch.randn(64, network.latent_size, generator=generator), labels[index])
    network.eval()


@torch.no_grad()
def draw(network: ConditionalGenerator, per_class: int, seed: int) -> Images:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(network.num_classes).repeat_interleave(per_class)
    latents = torch.randn(len(labels), network.latent_size, generator=generator)
    parts = zip(latents.split(256), labels.split(256), strict=True)
    return torch.cat([network(*part) for part in parts]), labels


@torch.no_grad()
def _confidence_and_features(classifier: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return class probabilities ``(N, K)`` and what enters the last linear layer, ``(N, F)``."""
    seen: list[Tensor] = []
    linear = [module for module in classifier.modules() if isinstance(module, nn.Linear)][-1]
    handle = linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(1)))
    training = classifier.training
    classifier.eval()
    try:
        logits = torch.cat([classifier(part) for part in images.split(256)])
    finally:
        handle.remove()
        classifier.train(training)
    return logits.softmax(1), torch.cat(seen)


def select(
    images: Tensor, labels: Tensor, classifier: nn.Module, real_images: Tensor, real_labels: Tensor, keep: float = 0.5
) -> Images:
    confidence, features = _confidence_and_features(classifier, images)
    real_features = _confidence_and_features(classifier, real_images)[1]
    chosen = []
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        center = real_features[real_labels == label].mean(0)
        # each criterion keeps the same share
        sure = max(1, math.ceil(len(members) * math.sqrt(keep)))
        order = confidence[members, label].argsort(descending=True, stable=True)
        members = members[order[:sure]]
        distance = (features[members] - center).norm(dim=1)
        chosen.append(members[distance.argsort(stable=True)[: max(1, round(len(members) * math.sqrt(keep)))]])
    index = torch.cat(chosen).sort().values
    return images[index], labels[index]


def kernel_inception_distance(features: Tensor, real_features: Tensor) -> float:
    x, y = features.double(), real_features.double()

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def unbiased(a: Tensor) -> Tensor:
        gram = kernel(a, a)
        return (gram.sum() - gram.diagonal().sum()) / (len(a) * (len(a) - 1))

    return float(unbiased(x) + unbiased(y) - 2 * kernel(x, y).mean())
