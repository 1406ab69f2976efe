# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import monai_gmcl
from monai_gmcl.__main__ import main
from monai_gmcl.commands.validate import validate
from monai_gmcl.exceptions import ConfigurationError, DataError

REPOSITORY = Path(monai_gmcl.__file__).parents[1]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for index in range(5):
            pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{index}.png")
    return tmp_path / "data"


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "monai_gmcl", "validate", *arguments]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)


@pytest.mark.gate
def test_errors_end_the_command_with_1_a_table_and_a_progress_bar(data: Path) -> None:
    (data / "cat" / "empty.png").touch()
    Image.new("RGB", (8, 8)).save(data / "cat" / "black.png")
    ran = _command(str(data))
    assert ran.returncode == 1
    header, error, warning, summary = ran.stdout.splitlines()
    assert header.split("  ")[-1].strip() == "what to do"
    assert (
        error.startswith("error") and "cat/empty.png" in error and error.endswith("copy the file again, or remove it")
    )
    assert warning.startswith("warning") and "cat/black.png" in warning
    assert summary == f"12 images in {str(data)!r}: 1 error, 1 warning"
    assert "12/12" in ran.stderr
    assert ran.stderr.splitlines()[-1].startswith("monai_gmcl: 1 of the problems above")
    assert "Traceback" not in ran.stderr


def test_warnings_do_not(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (8, 8)).save(data / "cat" / "black.png")
    monkeypatch.setattr(sys, "argv", ["monai_gmcl", "validate", str(data), "--json"])
    main()
    found = json.loads(capsys.readouterr().out)
    assert (found["source"], found["images"], found["errors"], found["warnings"]) == (str(data), 11, 0, 1)
    assert found["faults"] == [
        {
            "severity": "warning",
            "kind": "constant",
            "file": str(data / "cat" / "black.png"),
            "row": None,
            "expected": "different pixel values",
            "found": "the same value in every pixel",
            "remedy": "check the image; remove it if it shows nothing",
        }
    ]


def test_json_tells_every_file_and_the_row(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{path.parent.name}/{path.name},{path.parent.name}" for path in sorted(data.rglob("*.png"))]
    (data / "list.csv").write_text("\n".join(["image,label", *rows, "gone.png,cat", "lost.png,dog"]))
    with pytest.raises(DataError, match="^2 of the problems above are errors"):
        validate(str(data / "list.csv"), json=True)
    found = json.loads(capsys.readouterr().out)
    assert [(fault["kind"], fault["row"]) for fault in found["faults"]] == [("missing", 12), ("missing", 13)]


def test_a_single_class_name_is_a_list_of_one(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError):
        validate(str(data), class_names="cat")
    assert "found cat, dog; expected the class folders cat " in capsys.readouterr().out


def test_a_limit_is_taken_and_a_senseless_one_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="10 of the problems"):
        validate(str(data), pixel_limit=63)
    assert "cat/0.png and 9 more" in capsys.readouterr().out
    with pytest.raises(ConfigurationError, match="pixel_limit must be a whole number of at least 1, got 'all'"):
        validate(str(data), pixel_limit="all")  # type: ignore[arg-type]


def test_a_group_column_is_asked_for_in_every_row(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "list.csv").write_text("image,label\ncat/0.png,cat\n")
    with pytest.raises(DataError):
        validate(str(data / "list.csv"), group_column="patient")
    assert "found image, label; expected a column 'patient'" in capsys.readouterr().out


def test_the_range_of_intensities_is_compared_with_the_values(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    validate(str(data), intensity_range=(0, 255))
    assert "0 warnings" in capsys.readouterr().out
    validate(str(data), intensity_range=[0, 65535])
    assert "intensity_range" in capsys.readouterr().out
    with pytest.raises(ConfigurationError, match="the lowest and the highest value"):
        validate(str(data), intensity_range=(5,))
