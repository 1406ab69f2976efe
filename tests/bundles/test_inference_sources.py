# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""Inference on any source that a training takes, and an error where there is nothing to predict."""

from __future__ import annotations

import csv
import json
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from monai.bundle import run

from monai_gmcl.data import make_phantom

BUNDLE = Path(__file__).parents[2] / "bundles" / "gmcl_classification"
INFERENCE = str(BUNDLE / "configs" / "inference.yaml")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training's folder of three parts, four classes and 12 images, with what operating systems leave in it."""
    folder = make_phantom(tmp_path_factory.mktemp("data") / "phantom", {"train": 1, "valid": 1, "test": 1}, size=32)
    for name in ("Thumbs.db", ".DS_Store", "._0000.png", "desktop.ini"):
        (folder / "test" / "0_normal" / name).write_bytes(b"x")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "0000.png").write_bytes(b"x")
    return folder


def paths(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("0*.png") if "__MACOSX" not in path.parts)


def predicted(source: Path | str, out: Path) -> list[str]:
    run(config_file=INFERENCE, bundle_root=str(BUNDLE), device="cpu", dataset_dir=str(source), output_dir=str(out))
    with open(out / "predictions.csv", newline="", encoding="utf-8") as file:
        return [row["image"] for row in csv.DictReader(file)]


def table(images: Path, file: Path, headings: str = "image,label", labels: bool = True) -> Path:
    mark = ";" if ";" in headings else ","
    rows = [mark.join([str(path), Path(path).parent.name] if labels else [str(path)]) for path in paths(images)]
    file.write_text("\n".join([headings, *rows]) + "\n")
    return file


def datalist(images: Path, file: Path, strings: bool = False) -> Path:
    rows = [path if strings else {"image": path, "label": Path(path).parent.name} for path in paths(images)]
    file.write_text(json.dumps({"training": rows[:6], "validation": rows[6:8], "testing": rows[8:], "name": "phantom"}))
    return file


SOURCES: dict[str, Callable[[Path, Path], Path]] = {
    "parts": lambda images, tmp: images,
    "table": lambda images, tmp: table(images, tmp / "list.csv"),
    "semicolons": lambda images, tmp: table(images, tmp / "list.csv", "image;label"),
    "unlabeled_table": lambda images, tmp: table(images, tmp / "list.csv", "image", labels=False),
    "datalist": lambda images, tmp: datalist(images, tmp / "list.json"),
    "unlabeled_datalist": lambda images, tmp: datalist(images, tmp / "list.json", strings=True),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_each_image_of_a_source_is_predicted_once(kind: str, images: Path, tmp_path: Path) -> None:
    assert sorted(predicted(SOURCES[kind](images, tmp_path), tmp_path / "out")) == paths(images)


def test_paths_in_a_table_start_at_its_folder(images: Path, tmp_path: Path) -> None:
    (images / "relative.csv").write_text("image\ntest/0_normal/0000.png\n")
    assert predicted(images / "relative.csv", tmp_path) == [str(images / "test" / "0_normal" / "0000.png")]
    (images / "relative.csv").unlink()


def test_one_class_and_one_image_are_sources_too(images: Path, tmp_path: Path) -> None:
    one = images / "valid" / "2_cin2"
    assert predicted(one, tmp_path / "class") == paths(one)
    assert predicted(paths(one)[0], tmp_path / "image") == paths(one)[:1]


def _empty_folder(folder: Path) -> Path:
    (folder / "data" / "class").mkdir(parents=True)
    return folder / "data"


def _litter(folder: Path) -> Path:
    (_empty_folder(folder) / "class" / "Thumbs.db").write_bytes(b"x")
    return folder / "data"


def _text(name: str, content: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_text(content)
        return folder / name

    return write


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_empty_folder, "Expected images to predict in"),
        (_litter, "Expected images to predict in"),
        (_text("list.csv", "image,label\n"), "Expected images to predict in"),
        (_text("list.csv", "file,label\na.png,0\n"), "column 'image'"),
        (_text("list.csv", "image,label\nnot_there.png,0\n"), "not_there.png"),
        (_text("list.json", '{"training": []}'), "Expected images to predict in"),
        (_text("list.json", '{"training": [{"image": "not_there.png"}]}'), "not_there.png"),
        (_text("notes.txt", "none"), "another file"),
        (lambda folder: folder / "nowhere", "nowhere"),
    ],
)
def test_where_there_is_nothing_to_predict_is_an_error_and_no_file(
    make: Callable[[Path], Path], message: str, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError) as caught:
        predicted(make(tmp_path), tmp_path / "out")
    told = "".join(traceback.format_exception(caught.value))
    assert "DataError" in told and message in told
    assert not (tmp_path / "out" / "predictions.csv").exists()
