# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from monai.transforms.intensity.array import RandScaleIntensity

from monai_gmcl.benchmark.data_sets import AugmentedImages, BenchmarkData, DataOptions, part_folder
from monai_gmcl.exceptions import DataError


@pytest.fixture
def data(folder: Path) -> BenchmarkData:
    return BenchmarkData(DataOptions(str(folder), channels=1, size=8))


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def test_labeled_images_are_balanced_and_apart_from_those_to_measure_on(data: BenchmarkData) -> None:
    (images, labels), (others, other_labels) = data.draw(5, seed=1)
    assert images.shape == (10, 1, 8, 8) and labels.bincount().tolist() == [5, 5]
    assert others.shape[0] == 70 and other_labels.bincount().tolist() == [35, 35]
    assert rows(images) and not rows(images) & rows(others)
    assert images.min() >= 0 and images.max() <= 1


def test_the_seed_draws(data: BenchmarkData) -> None:
    first, again, other = (data.draw(5, seed)[0][0] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_labels_belong_to_their_images(data: BenchmarkData) -> None:
    (images, labels), _ = data.draw(20, seed=0)
    brightness = images.mean((1, 2, 3))
    assert brightness[labels == 0].max() < brightness[labels == 1].min()


def test_choosing_images_are_the_same_for_every_run_and_no_training_images(data: BenchmarkData, folder: Path) -> None:
    again = BenchmarkData(data.options)
    assert torch.equal(data.choosing[0], again.choosing[0]) and len(data.choosing[1]) == 24
    assert not rows(data.choosing[0]) & rows(data.draw(20, 0)[0][0])


def test_what_is_usual_does_not_stand_in_the_settings_of_a_run() -> None:
    usual = DataOptions("shades", 1)
    assert not {"spatial_dims", "classes"} & set(usual.as_dict())
    assert replace(usual, spatial_dims=3, classes=4).as_dict() == {**usual.as_dict(), "spatial_dims": 3, "classes": 4}


def test_another_number_of_classes_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match="Expected 3 class folders in .*train', found 2: dark, light"):
        BenchmarkData(DataOptions(str(folder), channels=1, classes=3))


def test_another_part_is_read_by_name_and_named_where_it_is_missing(data: BenchmarkData) -> None:
    assert data.split("test")[1].bincount().tolist() == [10, 10]
    with pytest.raises(DataError, match="one folder 'test_shifted' .* found test, train, valid"):
        data.split("test_shifted")


def test_parts_may_have_any_of_their_usual_names(folder: Path, tmp_path: Path) -> None:
    renamed = tmp_path / folder.name
    renamed.mkdir()
    for name, other in (("train", "Training"), ("valid", "val"), ("test", "Testing")):
        (renamed / other).symlink_to(folder / name)
    usual, other = (BenchmarkData(DataOptions(str(place), channels=1, size=8)) for place in (folder, renamed))
    for first, second in ((usual.choosing, other.choosing), (usual.split("test"), other.split("test"))):
        assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert torch.equal(usual.draw(5, 0)[0][0], other.draw(5, 0)[0][0])


def test_a_part_that_is_missing_or_there_twice_is_an_error(tmp_path: Path) -> None:
    for name in ("val", "train", "dev"):
        (tmp_path / name).mkdir()
    assert part_folder(tmp_path, "train") == tmp_path / "train"
    with pytest.raises(DataError, match="one folder 'valid' .*found dev, val"):
        part_folder(tmp_path, "valid")
    with pytest.raises(DataError, match="one folder 'test' .*'testing'.*found dev, train, val"):
        part_folder(tmp_path, "test")
    with pytest.raises(DataError, match="found no folder"):
        part_folder(tmp_path / "nowhere", "train")


def test_where_the_folder_lies_does_not_change_results(folder: Path) -> None:
    near, far = DataOptions(str(folder), 1), DataOptions(f"/elsewhere/{folder.name}", 1)
    assert near.as_dict() == far.as_dict() and near.name == "shades"


def test_a_part_is_read_once(folder: Path) -> None:
    data = BenchmarkData(DataOptions(str(folder), channels=1, size=8))
    data.read(["test"])
    assert data.split("test") is data.split("test")
    assert len(data.split("test")[1]) > 0


IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def images_of(seed: int) -> AugmentedImages:
    return AugmentedImages(IMAGES, RandScaleIntensity(factors=0.5, prob=1.0), seed, torch.arange(6), torch.ones(6))


def test_an_image_comes_changed_and_with_what_is_known_of_it() -> None:
    image, label, mark = images_of(0)[4]
    assert len(images_of(0)) == 6
    assert image.shape == (3, 8, 8) and not torch.equal(image, IMAGES[4])
    assert (label, mark) == (4, 1)


def test_an_image_is_changed_anew_whenever_it_is_read() -> None:
    images = images_of(0)
    assert not torch.equal(images[4][0], images[4][0])


def test_the_seed_decides_the_changes() -> None:
    assert torch.equal(images_of(1)[2][0], images_of(1)[2][0])
    assert not torch.equal(images_of(1)[2][0], images_of(2)[2][0])
