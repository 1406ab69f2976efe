# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What ``validate`` passes, ``open_data`` opens and training reads, and nothing else: data sets with faults, drawn."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from monai_gmcl.data import LabeledData, image_transforms, open_data
from monai_gmcl.data_check import check_parts, check_source
from monai_gmcl.exceptions import DataError

Rows = list[dict[str, Any]]
Draw = np.random.Generator


def _picture(path: Path, draw: Draw, shape: tuple[int, ...] = (12, 12, 3)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8)).save(path)
    return path


def _volume(path: Path, draw: Draw, shape: tuple[int, ...] = (4, 5, 6)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(draw.normal(size=shape).astype(np.float32), np.eye(4)), path)
    return path


# Each spoils a file, or puts one beside it.
FILES: dict[str, Callable[[Path, Draw], object]] = {
    "empty": lambda path, draw: path.write_bytes(b""),
    "text": lambda path, draw: path.write_text("no image"),
    "cut": lambda path, draw: path.write_bytes(path.read_bytes()[:-25]),
    "cut in the header": lambda path, draw: path.write_bytes(path.read_bytes()[:20]),
    "gone": lambda path, draw: path.unlink(),
    "grey": lambda path, draw: path.suffix == ".png" and _picture(path, draw, (12, 12)),
    "white": lambda path, draw: path.suffix == ".png" and Image.new("RGB", (12, 12), "white").save(path),
    "larger": lambda path, draw: path.suffix == ".png" and _picture(path, draw, (30, 12, 3)),
    "channels": lambda path, draw: path.suffix == ".gz" and _volume(path, draw, (4, 5, 6, 2)),
    "trailing ones": lambda path, draw: path.suffix == ".gz" and _volume(path, draw, (4, 5, 6, 1, 1)),
    "flat": lambda path, draw: path.suffix == ".gz" and _volume(path, draw, (4, 5)),
    "four axes": lambda path, draw: path.suffix == ".gz" and _volume(path, draw, (4, 5, 6, 2, 2)),
    "litter": lambda path, draw: (path.parent / "Thumbs.db").write_bytes(b"x"),
    "resource fork": lambda path, draw: (path.parent / f"._{path.name}").write_bytes(b"x"),
    "notes": lambda path, draw: (path.parent / "notes.txt").write_text("x"),
    "dicom": lambda path, draw: (path.parent / "1.dcm").write_bytes(b"\0" * 128 + b"DICM"),
    "empty folder": lambda path, draw: (path.parent / "new").mkdir(exist_ok=True),
    "a folder of images": lambda path, draw: _picture(path.parent / "inner" / "a.png", draw),
    "another folder": lambda path, draw: _picture(path.parents[1] / "masks" / "a.png", draw),
    "an image among others": lambda path, draw: _picture(path.parent / "other.png", draw),
    "a volume among others": lambda path, draw: _volume(path.parent / "other.nii.gz", draw),
    "a copy": lambda path, draw: path.exists() and shutil.copy(path, path.parent / f"copy_{path.name}"),
    "a part in capitals": lambda path, draw: _picture(path.parents[2] / "Val" / path.parent.name / "a.png", draw),
}
# Each spoils the rows of a table or list, of which it gets one.
ROWS: dict[str, Callable[[Rows, dict[str, Any]], object]] = {
    "again": lambda rows, row: rows.append(dict(row)),
    "two labels": lambda rows, row: rows.append({**row, "label": "b" if row["label"] == "a" else "a"}),
    "another way": lambda rows, row: row.update(label="1.0"),
    "another class": lambda rows, row: row.update(label="c"),
    "no label": lambda rows, row: row.update(label=""),
    "negative": lambda rows, row: row.update(label="-1"),
    "mask": lambda rows, row: row.update(label=row["image"]),
    "no image": lambda rows, row: row.update(image=""),
    "missing": lambda rows, row: row.update(image="none.png"),
    "blank": lambda rows, row: row.update(image=f" {row['image']} "),
    "backslash": lambda rows, row: row.update(image=row["image"].replace("/", "\\")),
    "no group": lambda rows, row: row.update(group=""),
    "one group": lambda rows, row: [each.update(group="p") for each in rows],
    "other part": lambda rows, row: row.update(split="test"),
    "unknown part": lambda rows, row: row.update(split="?"),
    "few": lambda rows, row: rows.__delitem__(slice(2, None)),
    "none": lambda rows, row: rows.clear(),
}


@st.composite
def data_sets(draw: st.DrawFn) -> dict[str, Any]:
    """Which data set, and what is wrong with it."""
    form = draw(st.sampled_from(["parts", "two parts", "classes", "patients", "table", "list"]))
    listed = form in ("table", "list")
    return {
        "form": form,
        "volumes": draw(st.booleans()),
        "group": listed and draw(st.booleans()),
        "split": listed and draw(st.booleans()),
        "files": draw(st.lists(st.sampled_from(sorted(FILES)), max_size=2)),
        "rows": draw(st.lists(st.sampled_from(sorted(ROWS)), max_size=2)) if listed else [],
        "seed": draw(st.integers(0, 1000)),
    }


def _write(folder: Path, wanted: dict[str, Any]) -> Path:
    """Write a data set, and return what is given to ``open_data``."""
    draw = np.random.default_rng(wanted["seed"])
    write, suffix = (_volume, ".nii.gz") if wanted["volumes"] else (_picture, ".png")
    places = {
        "parts": [f"{part}/{name}" for part in ("train", "valid", "test") for name in "ab"],
        "two parts": [f"{part}/{name}" for part in ("Training", "Testing") for name in "ab"],
        "patients": [f"{name}/p{patient}" for name in "ab" for patient in range(3)],
    }.get(wanted["form"], ["a", "b"])
    data = folder / "data"
    files = [write(data / place / f"{index}{suffix}", draw) for place in places for index in range(5)]
    rows = [
        {"image": str(path.relative_to(folder)), "label": path.parent.name, "group": f"p{index % 4}", "split": "train"}
        for index, path in enumerate(files)
    ]
    for name in wanted["files"]:
        spoiled = files[draw.integers(len(files))]
        if spoiled.exists():
            FILES[name](spoiled, draw)
    for name in wanted["rows"]:
        if rows:
            ROWS[name](rows, rows[draw.integers(len(rows))])
    if wanted["form"] not in ("table", "list"):
        return data
    columns = ["image", "label", *(["group"] if wanted["group"] else []), *(["split"] if wanted["split"] else [])]
    if wanted["form"] == "table":
        with open(folder / "list.csv", "w", newline="") as file:
            table = csv.DictWriter(file, columns, extrasaction="ignore", delimiter=";")
            table.writeheader()
            table.writerows(rows)
        return folder / "list.csv"
    lists: dict[str, Rows] = {"training": []}
    for row in rows:
        part = {"train": "training"}.get(row["split"], row["split"]) if wanted["split"] else "training"
        lists.setdefault(part, []).append({key: row[key] for key in columns if key != "split"})
    (folder / "list.json").write_text(json.dumps(lists))
    return folder / "list.json"


def _agree(source: Path, seed: int) -> None:
    report = check_source(source)
    try:
        data = open_data(source, seed=seed)
    except DataError as error:
        assert report.errors, f"open_data refuses what validate passes: {error}"
        assert "\n" not in str(error)
        return
    assert not report.errors, f"open_data takes what validate refuses: {report.table()}"
    read = image_transforms(data.spatial_dims, data.channels)
    for item in (*data.training, *data.validation, *data.test):
        image = read(item)["image"]
        assert image.shape[0] == data.channels and 0 <= image.min() <= image.max() <= 1
    assert data.training and data.validation and data.test
    for opened in (data, open_data(source, seed=seed, check=False)):
        # of a few images, all of a class can be in one patient
        few = [fault for fault in _errors_before_training(opened, source) if fault != "empty_class"]
        assert not few, "What was opened passes the check before a training."


def _errors_before_training(data: LabeledData, source: Path) -> list[str]:
    parts = {"training": data.training, "validation": data.validation, "test": data.test}
    return [fault.kind for fault in check_parts(parts, data.class_names, source).errors]


@given(wanted=data_sets())
@settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_validate_and_open_data_agree(wanted: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _agree(_write(Path(folder), wanted), wanted["seed"])


@pytest.mark.slow
@given(wanted=data_sets())
@settings(max_examples=1000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_validate_and_open_data_agree_on_many(wanted: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _agree(_write(Path(folder), wanted), wanted["seed"])


@pytest.mark.parametrize("form", ["parts", "two parts", "classes", "patients", "table", "list"])
@pytest.mark.parametrize("volumes", [False, True])
def test_every_form_without_a_fault_is_opened(tmp_path: Path, form: str, volumes: bool) -> None:
    wanted = {"form": form, "volumes": volumes, "group": False, "split": False, "files": [], "rows": [], "seed": 0}
    source = _write(tmp_path, wanted)
    assert check_source(source).faults == ()
    _agree(source, 0)
