# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from monai_gmcl.data import image_transforms
from monai_gmcl.data.intensities import check_intensity_range, deep_range
from monai_gmcl.exceptions import ConfigurationError

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 4096), (0, 1024), (0, 16384), (32768 - 1024, 32768 + 3072), (500, 900)],
    ids=["12 bits", "10 bits", "14 bits", "CT with an offset", "dark"],
)
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_an_image_that_uses_little_of_its_16_bits_is_read_by_its_own_range(
    tmp_path: Path, low: int, high: int, suffix: str
) -> None:
    values = GENERATOR.integers(low, high, (48, 48)).astype(np.uint16)
    read = image_transforms(2, 1)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    image = np.asarray(read({"image": str(tmp_path / f"a.{suffix}")})["image"])[0]
    assert image.min() == 0 and image.max() == 1 and image.std() > 0.25
    spoiled = values.copy()
    spoiled[3, 4], spoiled[20, 20] = 65535, 0
    Image.fromarray(spoiled).save(tmp_path / f"b.{suffix}")
    again = np.asarray(read({"image": str(tmp_path / f"b.{suffix}")})["image"])[0]
    same = spoiled == values
    np.testing.assert_allclose(again[same], image[same], atol=0.01)


def test_an_image_that_uses_16_bits_keeps_its_scale() -> None:
    assert deep_range(GENERATOR.integers(0, 65536, (20, 20))) == (0, 65535)
    assert deep_range(GENERATOR.integers(9000, 40000, (20, 20))) == (0, 65535)


def test_an_image_that_is_almost_constant_has_the_whole_range() -> None:
    values = np.full((40, 40), 700)
    values[3, 3] = 4000
    assert deep_range(values) == (0, 65535)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_given_range_becomes_0_and_1_in_the_files_own_numbers(tmp_path: Path, channels: int, dtype: Any) -> None:
    top = 200 if dtype == np.uint8 else 4095
    values = GENERATOR.integers(0, top + 50, (12, 12)).astype(dtype)
    Image.fromarray(values).save(tmp_path / "a.png")
    image = image_transforms(2, channels, intensity_range=(50, top))({"image": str(tmp_path / "a.png")})["image"]
    assert image.shape == (channels, 12, 12)
    np.testing.assert_allclose(image[0], ((values.astype(float) - 50) / (top - 50)).clip(0, 1), atol=1e-5)


@pytest.mark.parametrize(
    "given", [(1, 0), (0, 0), (0,), (0, float("nan")), "01", 5, (0, "x"), (0, 1, 2), (0, float("inf"))]
)
def test_a_range_that_is_none_is_refused(given: Any) -> None:
    for dims in (2, 3):
        with pytest.raises(ConfigurationError, match="the lowest and the highest value of the images"):
            image_transforms(dims, 1, intensity_range=given)


def test_a_range_is_two_numbers_or_none() -> None:
    assert check_intensity_range(None) is None
    assert check_intensity_range([-1000, 400]) == (-1000.0, 400.0)
