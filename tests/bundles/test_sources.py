# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The check before a training; inference on any source that a training takes, and an error where there is none."""

from __future__ import annotations

import csv
import traceback
from pathlib import Path

import pytest
from monai.bundle import ConfigWorkflow, run
from PIL import Image

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


@pytest.mark.parametrize("kind", ["parts", "table", "class", "image"])
def test_each_image_of_a_source_is_predicted_once(kind: str, images: Path, tmp_path: Path) -> None:
    one = images / "valid" / "2_cin2"
    sources = {"parts": images, "table": tmp_path / "list.csv", "class": one, "image": Path(paths(one)[0])}
    wanted = paths(images if kind in ("parts", "table") else one)
    sources["table"].write_text("\n".join(["image", *wanted]))
    assert sorted(predicted(sources[kind], tmp_path / "out")) == wanted


def test_where_there_is_nothing_to_predict_is_an_error_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(RuntimeError) as caught:
        predicted(tmp_path / "data", tmp_path / "out")
    assert "DataError: Expected images to predict in" in "".join(traceback.format_exception(caught.value))
    assert not (tmp_path / "out" / "predictions.csv").exists()


CONFIGS = Path(__file__).parents[2] / "bundles" / "gmcl_classification" / "configs"


def _start(data: Path, output: Path, **options: object) -> None:
    """All that comes before the first step of a training."""
    workflow = ConfigWorkflow(
        str(CONFIGS / "train.yaml"),
        meta_file=str(CONFIGS / "metadata.json"),
        logging_file=False,
        workflow_type="train",
        dataset_dir=str(data),
        output_dir=str(output),
        device="cpu",
        **options,
    )
    workflow.initialize()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_phantom(tmp_path / "phantom", {"train": 2, "valid": 2, "test": 2}, size=16)


def test_a_bad_file_stops_the_training_before_it_begins(data: Path, tmp_path: Path) -> None:
    (data / "test" / "1_cin1" / "0001.png").write_bytes(b"")
    with pytest.raises(Exception, match="data_check") as caught:
        _start(data, tmp_path)
    assert "test/1_cin1/0001.png', found an empty file" in str(caught.value.__cause__)


def test_the_check_can_be_turned_off_and_the_pixel_limit_set(data: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="data_check") as caught:
        _start(data, tmp_path, pixel_limit=255)
    assert "Expected at most 255 pixels" in str(caught.value.__cause__)
    _start(data, tmp_path, pixel_limit=256)
    Image.new("RGB", (17, 16)).save(data / "test" / "1_cin1" / "0001.png")
    _start(data, tmp_path, pixel_limit=256, data_check=False)
