# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from monai_gmcl.data_check import check_source

GENERATOR = np.random.default_rng(0)


def _write(folder: Path, make: Callable[[int], np.ndarray], suffix: str = "png", count: int = 6) -> Path:
    for index in range(count):
        path = folder / "ab"[index % 2] / f"{index}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == "nii.gz":
            nibabel.save(nibabel.Nifti1Image(make(index), np.eye(4)), path)
        else:
            Image.fromarray(make(index)).save(path)
    return folder


def _tissue(metal: float) -> Callable[[int], np.ndarray]:
    def make(index: int) -> np.ndarray:
        values = GENERATOR.integers(-1000, 400, (12, 12, 12))
        return np.where(GENERATOR.random(values.shape) < metal, 30000, values).astype(np.int16)

    return make


@pytest.mark.parametrize(
    ("make", "suffix", "told"),
    [
        (lambda index: GENERATOR.integers(0, 4096, (24, 24)).astype(np.uint16), "png", "the range from 0 to 65,535"),
        (lambda index: GENERATOR.integers(0, 16384, (24, 24)).astype(np.uint16), "tif", "the range from 0 to 65,535"),
        (lambda index: GENERATOR.integers(0, 16, (24, 24, 3)).astype(np.uint8), "png", "the range from 0 to 255"),
        (_tissue(0.004), "nii.gz", "the range from -1,000 to 30,000"),
    ],
    ids=["12 bits in 16", "14 bits in 16", "4 bits in 8", "CT with metal"],
)
def test_a_range_that_is_hardly_used_is_one_warning_with_the_remedy(
    tmp_path: Path, make: Callable[[int], np.ndarray], suffix: str, told: str
) -> None:
    (fault,) = check_source(_write(tmp_path, make, suffix)).faults
    assert fault.kind == "intensities" and not fault.is_error
    assert told in fault.expected and "5 more" in fault.found and "intensity_range" in fault.remedy


@pytest.mark.parametrize(
    ("make", "suffix"),
    [
        (lambda index: GENERATOR.integers(0, 65536, (24, 24)).astype(np.uint16), "png"),
        (lambda index: GENERATOR.integers(0, 256, (24, 24)).astype(np.uint8), "png"),
        (lambda index: GENERATOR.integers(0, 20 if index == 0 else 256, (24, 24)).astype(np.uint8), "png"),
        (_tissue(0.0), "nii.gz"),
    ],
    ids=["16 bits", "8 bits", "one dark picture", "CT"],
)
def test_a_range_that_is_used_is_none(tmp_path: Path, make: Callable[[int], np.ndarray], suffix: str) -> None:
    assert check_source(_write(tmp_path, make, suffix)).faults == ()


def test_a_single_volume_with_metal_is_told_of(tmp_path: Path) -> None:
    folder = _write(tmp_path, lambda index: _tissue(0.004 if index == 2 else 0.0)(index), "nii.gz")
    (fault,) = check_source(folder).faults
    assert (fault.kind, Path(fault.file).name) == ("intensities", "2.nii.gz")


def test_with_the_range_that_matters_there_is_no_warning_and_with_a_wrong_one_there_is(tmp_path: Path) -> None:
    folder = _write(tmp_path, _tissue(0.004), "nii.gz")
    assert check_source(folder, intensity_range=(-1000, 400)).faults == ()
    for wrong in ((0.001, 0.002), (-1e5, 1e5), (5000, 6000)):
        assert [fault.kind for fault in check_source(folder, intensity_range=wrong).faults] == ["intensities"]


def test_constant_images_are_told_of_as_such(tmp_path: Path) -> None:
    folder = _write(tmp_path, lambda index: np.full((8, 8), 7, dtype=np.uint8))
    assert {fault.kind for fault in check_source(folder).faults} == {"constant"}
