# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch

from monai_gmcl.teachers import ImageTeacher, LatentTeacher, PolicyTeacher, StainTeacher, Teacher
from monai_gmcl.teachers.noise_bank import DRAWS, bank_noise
from monai_gmcl.teachers.operations.texture import Noise


def draws_of(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, DRAWS, generator=torch.Generator().manual_seed(seed))


def noise_of(n: int, count: int, seed: int = 0) -> torch.Tensor:
    return bank_noise(draws_of(n, seed).double(), count)


def made(name: str, spatial_dims: int, in_channels: int) -> Teacher:
    if name == "LatentTeacher":
        return LatentTeacher(spatial_dims, in_channels, 2, image_size=8)
    classes = {"PolicyTeacher": PolicyTeacher, "ImageTeacher": ImageTeacher, "StainTeacher": StainTeacher}
    return classes[name](spatial_dims, in_channels, 2)


@pytest.mark.parametrize(
    ("name", "spatial_dims", "in_channels"),
    [
        *[(name, d, c) for name in ("PolicyTeacher", "ImageTeacher") for d in (2, 3) for c in (1, 3, 4)],
        *[("LatentTeacher", d, 1) for d in (2, 3)],
        ("StainTeacher", 2, 3),
    ],
)
def test_latents_are_at_most_64_numbers_an_image_of_any_size(name, spatial_dims, in_channels):
    teacher = made(name, spatial_dims, in_channels)
    sides = (8,) if name == "LatentTeacher" else (8, 96, 1024)
    sizes = {teacher.draw_latents(2, (in_channels, *[side] * spatial_dims)).shape for side in sides}
    assert len(sizes) == 1
    (shape,) = sizes
    assert shape[0] == 2 and shape[1] <= 64


@pytest.mark.gate
def test_the_same_draws_give_the_same_bits_in_another_process():
    code = (
        "import torch; from monai_gmcl.teachers.noise_bank import bank_noise;"
        "draws = torch.rand(3, 4, generator=torch.Generator().manual_seed(0));"
        "print(bank_noise(draws, 1000).view(torch.int32).sum().item())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(there) == bank_noise(draws_of(3), 1000).view(torch.int32).sum().item()


def test_an_image_s_noise_does_not_depend_on_the_batch_and_goes_on_where_a_shorter_one_ends():
    together = bank_noise(draws_of(5), 3000)
    assert torch.equal(bank_noise(draws_of(5)[2:3], 3000), together[2:3])
    assert torch.equal(bank_noise(draws_of(5), 100), together[:, :100])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_walk_is_the_same_in_every_precision(dtype):
    # Numbers that every precision holds exactly.
    draws = (16 * draws_of(4)).floor() / 16
    found = bank_noise(draws.to(dtype), 500)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), bank_noise(draws, 500), rtol=1e-2, atol=0)


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_the_ends_of_the_draws_are_walks_as_well(end):
    noise = bank_noise(torch.full((1, DRAWS), end, dtype=torch.float64), 2**16)
    assert noise.var().item() == pytest.approx(1, abs=0.02) and noise.mean().abs() < 0.02


@pytest.mark.gate
def test_noise_taken_under_inference_mode_first_serves_training_later():
    code = (
        "import torch; from monai_gmcl.teachers.noise_bank import bank_noise\n"
        "draws = torch.rand(3, 4)\n"
        "with torch.inference_mode(): bank_noise(draws, 10)\n"
        "scale = torch.ones(3, 1, requires_grad=True)\n"
        "(scale * bank_noise(draws, 10)).sum().backward()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("count", [3 * 32 * 32, 3 * 96 * 96, 2**20])
def test_values_of_an_image_are_distributed_normally(count):
    # Kolmogorov-Smirnov; 1.95 / sqrt(n) is exceeded once in 1000
    levels = torch.special.ndtr(noise_of(1, count)[0].sort().values)
    wanted = torch.arange(count, dtype=torch.float64) / count
    assert torch.maximum(levels - wanted, wanted + 1 / count - levels).max() < 1.95 / math.sqrt(count)


@pytest.mark.parametrize("side", [32, 96])
def test_pixels_of_an_image_do_not_know_each_other(side):
    z = noise_of(1, 3 * side * side, seed=4)[0].view(3, side, side)
    spectrum = torch.fft.rfftn(z, s=(8, 2 * side, 2 * side)).abs() ** 2
    correlation = torch.fft.irfftn(spectrum, s=(8, 2 * side, 2 * side)).flatten() / z.square().sum()
    assert correlation[0].item() == pytest.approx(1)
    # the largest of so many correlations, of standard deviation 1/sqrt(n) at most
    assert correlation[1:].abs().max() < 6 / math.sqrt(z.numel())


def test_rows_of_an_image_do_not_know_each_other_however_far_apart():
    z = noise_of(1, 2**22, seed=5)[0]
    for lag in (1, 2, 63, 64, 65, 128, 2**12, 2**20, 2**20 + 64, 2**21):
        n = len(z) - lag
        # Above a walk of the rows the numbers come again, in rows of 64 with other signs.
        spread = math.sqrt(64 / n) if lag % 2**20 == 0 else math.sqrt(1 / n)
        assert (z[:-lag] * z[lag:]).mean().abs() < 5 * spread


@pytest.mark.parametrize("side", [32, 96])
def test_images_of_a_lesson_do_not_know_each_other(side):
    z = noise_of(256, 3 * side * side, seed=6)
    z = (z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True)
    correlation = (z @ z.T / z.shape[1]).fill_diagonal_(0) * math.sqrt(z.shape[1])
    assert correlation.abs().max() < 6
    assert correlation.square().sum().item() / (256 * 255) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 12, 12), (1, 6, 6, 6)])
def test_noise_is_differentiable_in_its_strength(shape):
    images = torch.rand(2, *shape, dtype=torch.float64)
    draws = Noise().draw(2, shape, torch.Generator().manual_seed(0), torch.device("cpu")).double()
    strength = torch.full((2,), 0.1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: Noise().apply(images, draws, s), strength)
