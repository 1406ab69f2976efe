# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_gmcl.data import image_transforms, opening
from monai_gmcl.data.opening import open_data
from monai_gmcl.data.part_lists import part_name
from monai_gmcl.data.phantom import make_phantom
from monai_gmcl.exceptions import DataError


def test_no_folder_means_the_phantom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"train": 3, "valid": 2, "test": 1}
    monkeypatch.setattr(opening, "make_phantom", lambda folder: make_phantom(folder, images_per_class=few, size=16))
    data = open_data("", tmp_path / "phantom")
    assert (len(data.training), len(data.validation), len(data.test)) == (12, 8, 4)
    assert data.class_names == ["0_normal", "1_cin1", "2_cin2", "3_cin3"]
    assert (data.num_classes, data.spatial_dims, data.channels) == (4, 2, 3)
    assert all(Path(item["image"]).is_relative_to(tmp_path / "phantom" / "train") for item in data.training)


@pytest.mark.parametrize(
    ("given", "each", "counts"),
    [
        (("train", "test"), 4, {"training": 6, "validation": 2, "test": 8}),
        (("Train", "Val"), 4, {"training": 6, "validation": 8, "test": 2}),
        (("TRAINING",), 5, {"training": 6, "validation": 2, "test": 2}),
        (("train_set", "dev", "Testing"), 2, {"training": 4, "validation": 4, "test": 4}),
    ],
)
def test_parts_that_are_given_are_kept_and_only_missing_ones_are_split_off_training(
    tmp_path: Path, write_image: Callable[..., Path], given: tuple[str, ...], each: int, counts: dict[str, int]
) -> None:
    for part in given:
        for name in ("cat", "dog"):
            for i in range(each):
                write_image(tmp_path / part / name / f"{i}.png")
    data = open_data(tmp_path)
    parts = {"training": data.training, "validation": data.validation, "test": data.test}
    assert {part: len(items) for part, items in parts.items()} == counts
    for part, items in parts.items():
        places = {Path(item["image"]).parts[-3] for item in items}
        own = next((name for name in given if part_name(name) == part), given[0])
        assert places == {own}


def test_class_folders_alone_are_split_by_seed(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    for name in ("cat", "dog"):
        for i in range(10):
            write_image(tmp_path / name / f"{i}.png")
    data = open_data(tmp_path, seed=1)
    parts = (data.training, data.validation, data.test)
    assert [Counter(item["label"] for item in part) for part in parts] == [{0: 6, 1: 6}, {0: 2, 1: 2}, {0: 2, 1: 2}]
    assert open_data(tmp_path, seed=1) == data
    assert open_data(tmp_path, seed=2).training != data.training
    assert len(open_data(tmp_path, fractions=(0.2, 0.4, 0.4)).training) == 4


def test_a_table_is_split_by_patient(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    rows = [(write_image(tmp_path / f"{i}.png").name, i % 2, f"p{i // 4}") for i in range(40)]
    path = tmp_path / "list.csv"
    path.write_text("image,label,slide\n" + "".join(f"{image},{label},{slide}\n" for image, label, slide in rows))
    data = open_data(path, group_column="slide")
    groups = [{item["group"] for item in part} for part in (data.training, data.validation, data.test)]
    assert [len(group) for group in groups] == [6, 2, 2]
    assert len(set.union(*groups)) == 10


def test_a_json_datalist_of_volumes_is_three_dimensional(tmp_path: Path) -> None:
    entries = []
    for i in range(6):
        nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2)), np.eye(4)), tmp_path / f"{i}.nii.gz")
        entries.append({"image": f"{i}.nii.gz", "label": i % 2})
    (tmp_path / "list.json").write_text(json.dumps({"training": entries}))
    data = open_data(tmp_path / "list.json")
    assert (data.spatial_dims, data.channels, data.num_classes) == (3, 1, 2)


def test_what_is_no_data_set_is_named_with_what_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "data.xlsx").touch()
    for path in (tmp_path / "data.xlsx", tmp_path / "nowhere"):
        with pytest.raises(DataError, match=f"class folders, a .csv table or a .json datalist, found .*{path.name}"):
            open_data(path)


@pytest.mark.gate
def test_real_patches_and_radiographs_open(real_data: Callable[[str], Path]) -> None:
    patches = open_data(real_data("pcam"))
    assert [len(part) for part in (patches.training, patches.validation, patches.test)] == [3000, 1000, 2000]
    assert (patches.class_names, patches.channels) == (["normal", "tumor"], 3)
    radiographs = open_data(real_data("pneumonia"))
    assert (radiographs.class_names, radiographs.channels) == (["normal", "pneumonia"], 1)


@pytest.mark.parametrize(("colors", "channels"), [([0], 3), ([19], 3), ([], 1), (list(range(1, 20)), 3)])
def test_channels_are_decided_by_all_images(
    tmp_path: Path, write_image: Callable[..., Path], colors: list[int], channels: int
) -> None:
    for i in range(20):
        color = (10 * i, 2, 3) if i in colors else 10 * i
        write_image(tmp_path / "ab"[i % 2] / f"{i:02}.png", color)
    assert open_data(tmp_path).channels == channels
    assert open_data(tmp_path, check=False).channels == channels


@pytest.mark.parametrize(
    ("shapes", "found"),
    [([(4, 5, 6)] * 6, 1), ([(4, 5, 6, 2)] * 6, 2), ([(4, 5, 6, 1, 1)] * 6, 1), ([(4, 5, 6, 1, 3)] * 6, 3)],
)
def test_volumes_have_their_own_channels(tmp_path: Path, shapes: list[tuple[int, ...]], found: int) -> None:
    generator = np.random.default_rng(0)
    for i, shape in enumerate(shapes):
        path = tmp_path / "ab"[i % 2] / f"{i}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(generator.random(shape, dtype=np.float32), np.eye(4)), path)
    data = open_data(tmp_path)
    assert (data.spatial_dims, data.channels) == (3, found)
    assert image_transforms(3, found)(data.training[0])["image"].shape == (found, 4, 5, 6)


@pytest.mark.parametrize("check", [True, False])
def test_images_and_volumes_together_are_refused(tmp_path: Path, write_image: Callable[..., Path], check: bool) -> None:
    for i in range(6):
        write_image(tmp_path / "ab"[i % 2] / f"{i}.png", 30 * i)
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 3, 4)), np.eye(4)), tmp_path / "b" / "9.nii.gz")
    with pytest.raises(DataError, match=r"9.nii.gz', found a volume"):
        open_data(tmp_path, check=check)


def test_folders_tables_and_lists_give_classes_one_order(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    names = ["10", "2", "0", "1"]
    files = [write_image(tmp_path / "set" / name / f"{i}.png", 9 * i) for name in names for i in range(6)]
    rows = [{"image": str(path), "label": path.parent.name} for path in files]
    (tmp_path / "t.csv").write_text("image,label\n" + "".join(f"{row['image']},{row['label']}.0\n" for row in rows))
    (tmp_path / "t.json").write_text(json.dumps({"training": [{**row, "label": int(row["label"])} for row in rows]}))
    for source in ("set", "t.csv", "t.json"):
        assert open_data(tmp_path / source).class_names == ["0", "1", "2", "10"]


def test_warnings_are_logged_and_missing_files_take_one_line(
    tmp_path: Path, write_image: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    rows = [f"{write_image(tmp_path / f'{i}.png', 9 * i).name},{'01' if i % 4 else 1}" for i in range(12)]
    (tmp_path / "t.csv").write_text("\n".join(["image,label", *rows]))
    open_data(tmp_path / "t.csv")
    assert "found '1' and '01'. They are read as the same name" in caplog.text
    (tmp_path / "t.csv").write_text("\n".join(["image,label", *(f"none{row}" for row in rows)]))
    with pytest.raises(
        DataError, match=r"row 2 of .*found no file .*Correct the path.* 11 more with the same problem\.$"
    ):
        open_data(tmp_path / "t.csv")
