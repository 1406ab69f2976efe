# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""The bundle for images with masks: trained, evaluated and asked for masks, on images and on volumes."""

from __future__ import annotations

import csv
import traceback
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from monai.bundle import run as run_bundle
from PIL import Image

from monai_gmcl import describe_student, load_teacher
from monai_gmcl.data import make_mask_phantom, make_volume_mask_phantom, open_segmentation_data
from monai_gmcl.handlers import newest_checkpoint

BUNDLE = Path(__file__).parents[2] / "bundles" / "gmcl_segmentation"
TRAIN, EVALUATE, INFER = (str(BUNDLE / "configs" / f"{name}.yaml") for name in ("train", "evaluate", "inference"))
METADATA = str(BUNDLE / "configs" / "metadata.json")
SMALL: dict[str, Any] = {"bundle_root": str(BUNDLE), "device": "cpu", "logging_file": False, "meta_file": METADATA}
QUICK: dict[str, Any] = {"max_epochs": 8, "batch_size": 1, "val_interval": 4, "patch_size": 16, "learning_rate": 0.01}
PARTS = {"train": 4, "valid": 2, "test": 3}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mask_phantom(tmp_path_factory.mktemp("pictures") / "phantom", PARTS, size=40)


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a short training on them."""
    output = tmp_path_factory.mktemp("run")
    run_bundle(config_file=TRAIN, dataset_dir=str(pictures), output_dir=str(output), **SMALL, **QUICK)
    return output


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Volumes, and the output of a short training on them, resampled."""
    folder = make_volume_mask_phantom(tmp_path_factory.mktemp("volumes") / "phantom", PARTS)
    output = tmp_path_factory.mktemp("volume_run")
    options = {**QUICK, "spacing": 3, "network_def#channels": [4, 8, 8]}
    run_bundle(config_file=TRAIN, dataset_dir=str(folder), output_dir=str(output), **SMALL, **options)
    return folder, output


def _rows(table: Path) -> list[dict[str, str]]:
    with open(table, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _dice(one: Any, other: Any) -> float:
    return float(2 * (one * other).sum() / (one.sum() + other.sum()))


@pytest.mark.parametrize(("file", "kind"), [(TRAIN, "train"), (INFER, "infer")])
def test_the_configuration_has_the_properties_that_monai_asks_for(
    file: str, kind: str, pictures: Path, trained: Path, tmp_path: Path
) -> None:
    places = {"dataset_dir": str(pictures), "output_dir": str(tmp_path)}
    places |= {"model_file": str(trained / "model.pt")} if kind == "infer" else {}
    options = {name: value for name, value in SMALL.items() if name != "logging_file"}
    workflow = ConfigWorkflow(file, logging_file=False, workflow_type=kind, **options, **places)
    workflow.initialize()
    assert workflow.check_properties() == []


def test_training_writes_the_student_and_what_it_was_trained_for(trained: Path) -> None:
    student = describe_student(trained / "model.pt")
    assert (student.task, student.class_names) == ("segmentation", ["background", "nucleus"])
    assert (student.spatial_dims, student.channels, student.patch_size) == (2, 3, [16, 16])
    assert student.split["mask_values"] == [0, 1]
    assert all(isinstance(value, torch.Tensor) for value in torch.load(trained / "model.pt").values())
    assert load_teacher(trained / "teacher.safetensors").num_classes == 2
    last = torch.load(newest_checkpoint(trained / "checkpoints"), weights_only=True)
    assert set(last) >= {"model", "teacher", "optimizer", "teacher_optimizer", "lr_scheduler", "best_model", "trainer"}
    rows = _rows(trained / "curriculum.csv")
    assert len(rows) == 8 and all(0 <= float(rows[-1][name]) <= 1 for name in ("lesson_accuracy", "val_dice"))
    assert any(float(row["effect"]) != 0 for row in _rows(trained / "policy.csv") if row["effect"] != "nan")
    assert all((trained / name).stat().st_size > 1000 for name in ("curves.png", "report.html"))


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(trained: Path, pictures: Path, tmp_path: Path) -> None:
    options = {"dataset_dir": str(pictures), "output_dir": str(tmp_path), **SMALL, **QUICK}
    parser = {"train#trainer#max_epochs": 4}
    run_bundle(config_file=TRAIN, **options, **parser)
    run_bundle(config_file=TRAIN, resume=True, **options)
    one, other = (
        torch.load(newest_checkpoint(place / "checkpoints"), weights_only=True) for place in (trained, tmp_path)
    )
    assert one["trainer"]["iteration"] == other["trainer"]["iteration"] == 32
    assert all(torch.equal(value, other["model"][name]) for name, value in one["model"].items())


def test_images_without_masks_and_trusted_ones_take_part(trained: Path, pictures: Path, tmp_path: Path) -> None:
    sure = make_mask_phantom(tmp_path / "sure", PARTS, size=32, seed=5) / "train"
    more = {"unlabeled_dir": "phantom", "trusted_dir": str(sure), "first_student": str(trained / "model.pt")}
    options = {**SMALL, **QUICK, "max_epochs": 2, "val_interval": 1}
    run_bundle(config_file=TRAIN, dataset_dir=str(pictures), output_dir=str(tmp_path / "run"), **more, **options)
    rows = _rows(tmp_path / "run" / "lesson_weights.csv")
    assert len(rows) == 2 and all(float(row["mean_images"]) == pytest.approx(1) for row in rows)
    assert all(float(row["mean_given"]) != float(row["mean_proposed"]) for row in rows)


def test_the_masks_of_inference_have_the_dice_that_evaluation_tells(
    trained: Path, pictures: Path, tmp_path: Path
) -> None:
    places = {"dataset_dir": str(pictures), "output_dir": str(trained)}
    run_bundle(config_file=[TRAIN, EVALUATE], evaluation_dir=str(tmp_path / "told"), **places, **SMALL)
    metrics = dict(line.split(",") for line in (tmp_path / "told" / "metrics.csv").read_text().split())
    by_image = _rows(tmp_path / "told" / "test_dice_with_background_raw.csv")
    assert [Path(row["filename"]).name for row in by_image] == ["0000.png", "0001.png", "0002.png"]
    run_bundle(config_file=INFER, masks_dir=str(tmp_path / "masks"), **places, **SMALL)
    found = []
    for row in by_image:
        truth = np.asarray(Image.open(row["filename"].replace("images", "labels")))
        mask = np.asarray(Image.open(tmp_path / "masks" / "test" / "images" / f"{Path(row['filename']).stem}_mask.png"))
        assert mask.shape == truth.shape and mask.dtype == np.uint8
        found.append(_dice(mask, truth))
        assert found[-1] == pytest.approx(float(row["class1"]), abs=1e-5)
    assert np.mean(found) == pytest.approx(float(metrics["test_dice"]), abs=1e-5)
    assert np.mean(found) > 0.3
    assert len(list((tmp_path / "masks").rglob("*.png"))) == sum(PARTS.values()), "Images alone are predicted."


def test_crop_and_size_are_undone_in_the_masks(pictures: Path, tmp_path: Path) -> None:
    places = {"dataset_dir": str(pictures), "output_dir": str(tmp_path)}
    reading = {"image_crop": 36, "image_size": [20, 24]}
    run_bundle(config_file=TRAIN, **places, **SMALL, **QUICK, **reading)
    run_bundle(config_file=INFER, **places, **SMALL)
    for path in (tmp_path / "masks").rglob("*.png"):
        assert np.asarray(Image.open(path)).shape == (40, 40)


def test_the_masks_of_volumes_have_the_geometry_of_their_files(volumes: tuple[Path, Path], tmp_path: Path) -> None:
    folder, output = volumes
    network = {"network_def#channels": [4, 8, 8]}
    places = {"dataset_dir": str(folder / "test" / "images"), "output_dir": str(output), "masks_dir": str(tmp_path)}
    run_bundle(config_file=INFER, **places, **SMALL, **network)
    found = []
    for path in sorted((folder / "test" / "labels").glob("*")):
        truth: Any = nibabel.load(path)
        mask: Any = nibabel.load(tmp_path / path.name.replace(".nii.gz", "_mask.nii.gz"))
        assert mask.shape == truth.shape and mask.get_data_dtype() == np.uint8
        assert np.allclose(mask.affine, truth.affine, atol=1e-4)
        assert set(np.unique(mask.dataobj)) <= {0, 1}
        found.append(_dice(np.asarray(mask.dataobj), np.asarray(truth.dataobj)))
    evaluated = {"dataset_dir": str(folder), "output_dir": str(output), "evaluation_dir": str(tmp_path / "told")}
    run_bundle(config_file=[TRAIN, EVALUATE], **evaluated, **SMALL, **network)
    metrics = dict(line.split(",") for line in (tmp_path / "told" / "metrics.csv").read_text().split())
    # evaluated at the spacing of the training
    assert np.mean(found) == pytest.approx(float(metrics["test_dice"]), abs=0.1)
    assert np.mean(found) > 0.1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"patch_size": 32}, "patch_size is 32, in the training it was [16, 16]"),
        ({"class_names": ["background", "foreground"]}, "class_names is [background, foreground]"),
        ({"image_size": 64}, "image_size is 64, in the training it was not given"),
    ],
)
@pytest.mark.parametrize("files", [[INFER], [TRAIN, EVALUATE]], ids=["inference", "evaluation"])
def test_what_differs_from_the_training_is_an_error(
    files: list[str], given: dict[str, Any], message: str, trained: Path, pictures: Path
) -> None:
    with pytest.raises(RuntimeError) as caught:
        run_bundle(config_file=files, dataset_dir=str(pictures), output_dir=str(trained), **SMALL, **given)
    assert message in "".join(traceback.format_exception(caught.value))


def test_a_bad_mask_stops_the_training_before_it_begins(tmp_path: Path) -> None:
    folder = make_mask_phantom(tmp_path / "data", PARTS, size=16)
    (folder / "valid" / "labels" / "0001.png").unlink()
    with pytest.raises(RuntimeError) as caught:
        run_bundle(config_file=TRAIN, dataset_dir=str(folder), output_dir=str(tmp_path / "output"), **SMALL, **QUICK)
    assert "valid/images/0001.png', found no file named '0001' in 'labels'" in "".join(
        traceback.format_exception(caught.value)
    )
    assert not (tmp_path / "output" / "model.pt").exists()


def test_synthesize_writes_images_with_masks_of_the_trained_teacher(
    trained: Path, pictures: Path, tmp_path: Path
) -> None:
    places = {
        "output_dir": str(trained),
        "synthetic_dir": str(tmp_path / "set"),
        "review_dir": str(tmp_path / "review"),
    }
    settings = {"bundle_root": str(BUNDLE), "logging_file": False}
    run_bundle(
        config_file=str(BUNDLE / "configs" / "synthesize.yaml"),
        source_dir=str(pictures),
        per_class=5,
        **places,
        **settings,
    )
    data = open_segmentation_data(tmp_path / "set" / "datalist.json")
    assert data.class_names == ["background", "nucleus"]
    assert sum(map(len, (data.training, data.validation, data.test))) == 5
    assert load_teacher(BUNDLE / "models" / "teacher.safetensors").num_classes == 2
