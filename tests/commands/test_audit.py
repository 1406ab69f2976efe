# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle.config_parser import ConfigParser
from monai.metrics.rocauc import compute_roc_auc
from PIL import Image

from monai_gmcl import StudentDescription, save_student
from monai_gmcl.__main__ import main
from monai_gmcl.commands.audit import audit
from monai_gmcl.commands.init import bundle_folder
from monai_gmcl.data import make_mask_phantom
from monai_gmcl.exceptions import CheckpointError, ConfigurationError, DataError

SMALL: dict[str, Any] = {"image_size": 16, "max_epochs": 4, "network_def#block_inplanes": [4, 4, 4, 4]}
FILES = ["label_audit.csv", "label_audit.json", "label_audit.png"]


def draw(folder: Path, count: int, classes: int = 2) -> list[dict[str, str]]:
    """Images whose class is their brightness; every fifth label is that of the next class."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    rows = []
    for index in range(count):
        true = index % classes
        pixels = generator.normal(60 + 60 * true, 15, (16, 16)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
        given = (true + (index // classes % 5 == 0)) % classes
        rows.append({"image": f"{folder.name}/{index}.png", "label": f"class {given}", "true": f"class {true}"})
    return rows


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    return write(tmp_path / "noisy.csv", draw(tmp_path / "images", 40))


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "label_audit.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.gate
def test_false_labels_come_first_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    noisy = write(tmp_path / "noisy.csv", draw(tmp_path / "images", 100))
    arguments = ["--folds", "3", "--image_size", "16"]
    monkeypatch.setattr(sys, "argv", ["monai_gmcl", "audit", str(noisy), str(tmp_path / "out"), *arguments])
    main()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    with noisy.open(newline="") as file:
        false = {str(tmp_path / row["image"]): int(row["label"] != row["true"]) for row in csv.DictReader(file)}
    rows = table(tmp_path / "out")
    assert {row["image"] for row in rows} == set(false)
    suspicion = torch.tensor([-float(row["score"]) for row in rows])
    assert torch.as_tensor(compute_roc_auc(suspicion, torch.tensor([false[row["image"]] for row in rows]))) > 0.9
    told = json.loads((tmp_path / "out" / "label_audit.json").read_text())
    assert told["students"].startswith("cross-fitting with 3 folds and 3 splits: no student predicts")
    assert "of the labels are probably wrong (95 % interval" in capsys.readouterr().out


def test_images_of_the_test_part_teach_no_student_and_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    rows = draw(tmp_path / "images", 36, 3)
    for index, row in enumerate(rows):
        row["split"] = ("train", "val", "test", "train")[index % 4]
    for out in ("one", "two"):
        audit(str(write(tmp_path / "noisy.csv", rows)), str(tmp_path / out), 2, **SMALL)
    assert [(tmp_path / "one" / name).read_bytes() for name in FILES] == [
        (tmp_path / "two" / name).read_bytes() for name in FILES
    ]
    parts = [row["part"] for row in table(tmp_path / "one")]
    assert {name: parts.count(name) for name in parts} == {"training": 18, "validation": 9, "test": 9}
    told = json.loads((tmp_path / "one" / "label_audit.json").read_text())
    assert "for images of the test part, the mean of all students, none of which trained on them" in told["students"]
    # Other labels of test images change what is said of those alone.
    others = [
        {**row, "label": f"class {(int(row['label'][-1]) + 1) % 3}"} if row["split"] == "test" else row for row in rows
    ]
    audit(str(write(tmp_path / "noisy.csv", others)), str(tmp_path / "three"), 2, **SMALL)
    first, third = (
        {row["image"]: row["self_confidence"] for row in table(tmp_path / out) if row["part"] != "test"}
        for out in ("one", "three")
    )
    assert first == third and len(first) == 27


def test_trusted_images_teach_every_student_and_are_not_listed(tmp_path: Path) -> None:
    rows = [{**row, "trusted": "yes" if index < 8 else ""} for index, row in enumerate(draw(tmp_path / "images", 30))]
    audit(str(write(tmp_path / "noisy.csv", rows)), str(tmp_path / "out"), 2, **SMALL)
    assert {row["part"] for row in table(tmp_path / "out")} == {"training"} and len(table(tmp_path / "out")) == 22
    told = json.loads((tmp_path / "out" / "label_audit.json").read_text())
    assert "; all students trained on 8 trusted images, which are not listed" in told["students"]


def student(path: Path, names: list[str], size: int = 16) -> Path:
    """The file of an untrained student of the bundle."""
    parser = ConfigParser()
    parser.read_config(bundle_folder() / "configs" / "train.yaml")
    parser.update({"spatial_dims": 2, "channels": 1, "num_classes": len(names)})
    torch.manual_seed(0)
    split = {"seed": 0, "group_column": None, "data_check": True}
    return save_student(
        parser.get_parsed_content("network_def"), path, StudentDescription(names, 2, 1, [size, size], split=split)
    )


def test_the_student_of_a_training_judges_all_images_and_the_output_says_so(noisy: Path, tmp_path: Path) -> None:
    file = student(tmp_path / "model.pt", ["class 0", "class 1"])
    audit(str(noisy), str(tmp_path / "out"), model_file=str(file))
    rows = table(tmp_path / "out")
    parts = [row["part"] for row in rows]
    assert {name: parts.count(name) for name in parts} == {"training": 24, "validation": 8, "test": 8}
    told = json.loads((tmp_path / "out" / "label_audit.json").read_text())
    assert told["students"].startswith(f"the student of {file}, which trained on the part 'training'")


def test_an_earlier_audit_gives_way_only_where_it_is_said(noisy: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    file = str(student(tmp_path / "model.pt", ["class 0", "class 1"]))
    audit(str(noisy), str(out), model_file=file)
    (out / "label_audit.csv").write_text("with a reader's notes")
    with pytest.raises(ConfigurationError, match="label_audit.csv' exists already. Use --overwrite"):
        audit(str(noisy), str(out), model_file=file)
    assert (out / "label_audit.csv").read_text() == "with a reader's notes"
    audit(str(noisy), str(out), model_file=file, overwrite=True)
    assert len(table(out)) == 40


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"folds": 1}, ConfigurationError, "folds: expected a whole number of at least 2, got 1"),
        ({"folds": 41}, DataError, "at least 41 patients"),
        ({"fold": 3}, ConfigurationError, "'fold', which audit does not use"),
        ({"val_interval": 3}, ConfigurationError, "'val_interval', which audit does not use"),
        ({"max_epochs": 0}, ConfigurationError, "max_epochs: expected a whole number of at least 1"),
        ({"config_file": "nowhere.yaml"}, ConfigurationError, "found no file 'nowhere.yaml'"),
        ({"model_file": "nowhere.pt"}, CheckpointError, "student's file nowhere.pt cannot be read"),
        ({"model_file": "nowhere.pt", "folds": 5}, ConfigurationError, "nothing is trained .* Remove folds"),
        ({"model_file": "m.pt", "max_epochs": 5}, ConfigurationError, "nothing is trained .* Remove max_epochs"),
        ({"class_names": ["class 0"]}, DataError, "class 1"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else "",
)
def test_bad_arguments_are_told_before_anything_is_written(
    options: dict[str, Any], error: type[Exception], message: str, noisy: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        audit(str(noisy), str(tmp_path / "out"), **options)
    assert not (tmp_path / "out").exists()


def test_a_student_of_other_classes_or_another_size_is_refused(noisy: Path, tmp_path: Path) -> None:
    other = student(tmp_path / "other.pt", ["ill", "healthy"])
    with pytest.raises((ConfigurationError, DataError), match="class"):
        audit(str(noisy), str(tmp_path / "out"), model_file=str(other))
    same = student(tmp_path / "same.pt", ["class 0", "class 1"])
    with pytest.raises(ConfigurationError, match="image_size is 32, in the training it was"):
        audit(str(noisy), str(tmp_path / "out"), model_file=str(same), image_size=32)


@pytest.mark.parametrize("kind", ["missing", "empty", "one class", "multi-label", "number", "masks"])
def test_data_that_cannot_be_audited_are_an_error(kind: str, noisy: Path, tmp_path: Path) -> None:
    source: Any = str(tmp_path / "nowhere.csv")
    error: type[Exception] = DataError
    if kind == "empty":
        source, error = "", ConfigurationError
    elif kind == "number":
        source, error = 2024, ConfigurationError
    elif kind == "one class":
        with noisy.open(newline="") as file:
            rows = [{**row, "label": "one"} for row in csv.DictReader(file)]
        source = str(write(tmp_path / "one.csv", rows))
    elif kind == "multi-label":
        listed = [{"image": f"images/{index}.png", "label": [index % 2, 1]} for index in range(40)]
        (tmp_path / "many.json").write_text(json.dumps({"training": listed}))
        source, error = str(tmp_path / "many.json"), ConfigurationError
    elif kind == "masks":
        source = str(make_mask_phantom(tmp_path / "masks", {"train": 4}, size=16) / "train")
    with pytest.raises(error):
        audit(source, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_listed_twice_is_judged_once(tmp_path: Path) -> None:
    rows = draw(tmp_path / "images", 20)
    source = write(tmp_path / "noisy.csv", [*rows, rows[3]])
    file = str(student(tmp_path / "model.pt", ["class 0", "class 1"]))
    audit(str(source), str(tmp_path / "out"), model_file=file)
    assert len(table(tmp_path / "out")) == 20
