# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""``synthesize`` on images with masks: both come out, and lie on each other."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from monai_gmcl.commands.synthesize import synthesize
from monai_gmcl.data import make_volume_mask_phantom, open_segmentation_data
from monai_gmcl.exceptions import DataError, LabelError
from monai_gmcl.synthesis.image_files import encode_mask
from monai_gmcl.teachers import PolicyTeacher, save_teacher

NAMES = ["background", "wall", "core"]


def write_pairs(folder: Path) -> Path:
    """Six images that show their masks: a class is a gray value."""
    generator = np.random.default_rng(0)
    for index in range(6):
        mask = generator.integers(0, 3, (6, 7)).repeat(3, 0).repeat(3, 1).astype(np.uint8)
        for kind, values in (("images", mask * np.uint8(120)), ("labels", mask)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(folder / kind / f"patient_{index}.png")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine images of a teacher that flips, of six sources."""
    folder = tmp_path_factory.mktemp("made")
    teacher = save_teacher(PolicyTeacher(2, 1, 3, include=["flip"], probability=1.0), folder / "t.safetensors", NAMES)
    source = str(write_pairs(folder / "real"))
    synthesize(str(teacher), str(folder / "set"), source, 9, seed=3, review_dir=str(folder / "review"))
    return folder


def test_each_image_has_its_mask_moved_with_it(made: Path) -> None:
    files = sorted((made / "set" / "images").iterdir())
    assert [path.name for path in files] == [f"{number:05d}.png" for number in range(9)]
    for path in files:
        image, mask = (np.asarray(Image.open(made / "set" / kind / path.name)) for kind in ("images", "labels"))
        assert mask.dtype == np.uint8 and (image == mask * 120).all()
    sources = {path.read_bytes() for path in (made / "real" / "labels").iterdir()}
    assert any((made / "set" / "labels" / path.name).read_bytes() not in sources for path in files)


def test_the_datalist_trains_as_it_is_and_names_classes_and_sources(made: Path) -> None:
    data = open_segmentation_data(made / "set" / "datalist.json")
    assert data.class_names == NAMES and data.mask_values == [0, 1, 2]
    items = [*data.training, *data.validation, *data.test]
    assert len(items) == 9 and len({item["group"] for item in items}) == 6
    with open(made / "set" / "manifest.csv", newline="", encoding="utf-8") as file:
        assert [row["label"] for row in csv.DictReader(file)] == [f"labels/{number:05d}.png" for number in range(9)]


def test_the_card_names_the_masks_and_the_sheet_shows_their_contours(made: Path) -> None:
    card = (made / "set" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# 9 synthetic images with masks\n") and "0 background, 1 wall, 2 core" in card
    assert "patient_" not in card
    sheet = np.asarray(Image.open(made / "set" / "contact_sheet.png"))
    assert ((sheet == (255, 255, 0)).all(-1)).any(), "The first class has yellow contours."
    assert (made / "review" / "closest_pairs.png").is_file()


def test_a_run_that_was_cut_off_between_a_mask_and_its_image_ends_with_the_same_bytes(
    made: Path, tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"source": str(made / "real"), "per_class": 9, "seed": 3}
    synthesize(str(made / "t.safetensors"), str(tmp_path / "set"), **arguments)
    for name in ("README.md", "images/00004.png", "images/00008.png", "labels/00008.png"):
        (tmp_path / "set" / name).unlink()
    synthesize(str(made / "t.safetensors"), str(tmp_path / "set"), **arguments)
    files = [path.relative_to(made / "set") for path in (made / "set").rglob("*") if path.is_file()]
    assert len(files) == 9 + 9 + 5
    assert all((made / "set" / name).read_bytes() == (tmp_path / "set" / name).read_bytes() for name in files)


def test_volumes_and_masks_have_one_affine(tmp_path: Path) -> None:
    source = make_volume_mask_phantom(tmp_path / "real", {"train": 3})
    teacher = save_teacher(PolicyTeacher(3, 1, 2), tmp_path / "t.safetensors", ["background", "lesion"])
    synthesize(str(teacher), str(tmp_path / "set"), str(source), 3, spacing=3.0)
    for path in sorted((tmp_path / "set" / "images").iterdir()):
        image: Any = nibabel.load(path)
        mask: Any = nibabel.load(tmp_path / "set" / "labels" / path.name)
        assert image.shape == mask.shape and np.allclose(image.affine, mask.affine)
        assert np.allclose(image.header.get_zooms(), 3, atol=1e-4) and mask.get_data_dtype() == np.uint8
        inside = np.asarray(mask.dataobj) == 1
        assert inside.any() and image.get_fdata()[inside].mean() > image.get_fdata()[~inside].mean()


@pytest.mark.parametrize(
    ("names", "classes", "message"),
    [
        (None, 2, "built for 2 classes, found 3 in the masks"),
        (
            ["background", "core", "wall"],
            3,
            r"3 classes \(background, core, wall\), found 3 .*: background, wall, core",
        ),
    ],
)
def test_masks_of_other_classes_than_the_teachers_are_refused(
    names: list[str] | None, classes: int, message: str, tmp_path: Path
) -> None:
    source = write_pairs(tmp_path / "real")
    (source / "dataset.json").write_text('{"labels": {"0": "background", "1": "wall", "2": "core"}}')
    teacher = save_teacher(PolicyTeacher(2, 1, classes), tmp_path / "t.safetensors", names)
    with pytest.raises(LabelError, match=message):
        synthesize(str(teacher), str(tmp_path / "set"), str(source), 1)
    assert not (tmp_path / "set").exists()


def test_a_source_with_a_bad_mask_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "real")
    (source / "labels" / "patient_2.png").unlink()
    teacher = save_teacher(PolicyTeacher(2, 1, 3), tmp_path / "t.safetensors", NAMES)
    with pytest.raises(DataError, match=r"a mask in '.*patient_2.png'"):
        synthesize(str(teacher), str(tmp_path / "set"), str(source), 1)
    assert not (tmp_path / "set").exists()


def test_the_same_mask_gives_the_same_bytes() -> None:
    mask = torch.randint(0, 3, (1, 4, 5, 6), generator=torch.Generator().manual_seed(0))
    for one in (mask, mask[:, 0]):
        assert encode_mask(one, one.float()) == encode_mask(one.to(torch.uint8), one.float())
