# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from studies.proof.gan_networks import ConditionalGenerator, ProjectionDiscriminator

SHAPES = [(3, 32, 32), (1, 28, 28), (1, 20, 30), (3, 5, 5), (1, 16, 16, 8)]


@pytest.mark.parametrize("shape", SHAPES)
def test_images_of_any_shape_are_generated_and_judged(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    labels = torch.tensor([0, 1, 2, 1])
    images = ConditionalGenerator(shape, 3, channels=4)(torch.randn(4, 64), labels)
    assert images.shape == (4, *shape) and images.min() >= 0 and images.max() <= 1
    assert ProjectionDiscriminator(shape, 3, channels=4)(images, labels).shape == (4,)


def test_generator_and_discriminator_heed_the_label() -> None:
    torch.manual_seed(0)
    generator, discriminator = ConditionalGenerator((1, 8, 8), 2, 4), ProjectionDiscriminator((1, 8, 8), 2, 4)
    zeros, ones = torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.int64)
    images = torch.rand(4, 1, 8, 8)
    assert not torch.allclose(discriminator(images, zeros), discriminator(images, ones))
    with torch.no_grad():
        generator.norms[0].offset.weight[1] += 1.0
    latents = torch.randn(4, 64)
    assert not torch.allclose(generator(latents, zeros), generator(latents, ones))


def test_every_layer_of_the_discriminator_has_spectral_norm_one() -> None:
    torch.manual_seed(0)
    discriminator = ProjectionDiscriminator((1, 8, 8), 2, channels=4)
    for _ in range(60):
        discriminator(torch.rand(2, 1, 8, 8), torch.tensor([0, 1]))
    weights = [module.weight for module in discriminator.modules() if hasattr(module, "parametrizations")]
    assert len(weights) == 4
    norms = torch.stack([torch.linalg.matrix_norm(weight.flatten(1), 2) for weight in weights])
    assert torch.allclose(norms, torch.ones(4), atol=0.01)
