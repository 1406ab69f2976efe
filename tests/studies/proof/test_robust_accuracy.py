# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from scipy import ndimage
from torch import nn

from monai_gmcl.optical_density import combine_stains, separate_stains
from studies.proof.image_shifts import SHIFTS, appearance_shift, blur
from studies.proof.robust_accuracy import RADII, attack_accuracy


def linear(scale: float = 1.0, classes: int = 2) -> nn.Sequential:
    """A network whose worst case is known: the margin shrinks by the radius times the 1-norm of the weights."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, classes))
    generator = torch.Generator().manual_seed(0)
    network[1].weight.data = scale * torch.randn(network[1].weight.shape, generator=generator)
    network[1].bias.data = torch.zeros(classes)
    return network


def examples(count: int = 120) -> tuple[torch.Tensor, torch.Tensor]:
    """Images away from black and white, and labels that the linear network mostly finds."""
    generator = torch.Generator().manual_seed(1)
    images = 0.2 + 0.6 * torch.rand(count, 3, 8, 8, generator=generator)
    labels = linear()(images).argmax(1)
    return images, torch.where(torch.rand(count, generator=generator) < 0.1, 1 - labels, labels)


def worst_case(radius: float) -> float:
    network, (images, labels) = linear(), examples()
    logits = network(images)
    margin = logits.gather(1, labels[:, None]) - logits.gather(1, 1 - labels[:, None])
    reach = radius * (network[1].weight[0] - network[1].weight[1]).abs().sum()
    return float((margin > reach).float().mean())


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
@pytest.mark.parametrize("radius", RADII.values())
def test_a_linear_network_is_attacked_as_well_as_can_be(attack: str, radius: float) -> None:
    assert attack_accuracy(linear(), *examples(), attack, radius) == pytest.approx(worst_case(radius))


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
@pytest.mark.parametrize("scale", [1e-8, 1e4])
def test_a_network_is_no_more_robust_for_being_sure_or_unsure(attack: str, scale: float) -> None:
    # Cross-entropy's gradient vanishes at a scale of 1e4; captum ignores gradients below 1e-6.
    assert attack_accuracy(linear(scale), *examples(), attack, 2 / 255) == pytest.approx(worst_case(2 / 255))


class Recorder(nn.Module):
    """Keeps what it is shown."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.shown = network, []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.shown.append((images.detach(), self.training))
        return self.network(images)


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_changed_images_stay_within_the_radius_and_within_images(attack: str) -> None:
    recorder = Recorder(linear())
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(2)).round()
    before = images.clone()
    attack_accuracy(recorder, images, torch.tensor([0, 1] * 3), attack, 4 / 255)
    assert torch.equal(images, before) and not images.requires_grad
    for shown, training in recorder.shown:
        assert (shown - images).abs().max() <= 4 / 255 + 1e-6
        assert shown.min() >= 0 and shown.max() <= 1 and not training
    assert len(recorder.shown) == (2 if attack == "fgsm" else 11)
    assert recorder.training


def stained(count: int = 4) -> torch.Tensor:
    """Images that hold hematoxylin and eosin and nothing else."""
    amounts = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    return combine_stains(amounts * torch.tensor([1.0, 1.0, 0.0]).reshape(3, 1, 1))


def grey(count: int = 4, side: int = 16) -> torch.Tensor:
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(0))


def test_stains_of_an_image_change_by_one_factor_each() -> None:
    images = stained()
    ratio = separate_stains(appearance_shift(images)) / separate_stains(images)
    for stain in (0, 1):
        factors = ratio[:, stain].flatten(1)
        assert torch.allclose(factors, factors[:, :1].expand_as(factors), atol=1e-3)
        assert ((factors > 0.7) & (factors < 1.3)).all()
    assert factors[:, 0].std() > 0.02
    assert not torch.allclose(ratio[:, 0], ratio[:, 1], atol=0.01)


def test_blur_is_scipys_gaussian_of_one_pixel() -> None:
    images = torch.cat([grey(), grey().flip(2), grey().flip(3)], 1)
    found = blur(images)
    wanted = ndimage.gaussian_filter(images.numpy(), (0, 0, 1, 1), mode="nearest", radius=(0, 0, 4, 4))
    # MONAI integrates the Gaussian over pixels, scipy samples it
    assert torch.allclose(found, torch.from_numpy(wanted), atol=0.02)
    assert torch.allclose(blur(torch.full((1, 1, 9, 9), 0.7)), torch.tensor(0.7))


@pytest.mark.parametrize("name", SHIFTS)
def test_shifted_images_stay_images(name: str) -> None:
    for images in (grey().round(), stained()):
        found = SHIFTS[name](images, 0)
        assert found.shape == images.shape and found.min() >= 0 and found.max() <= 1 + 1e-6
