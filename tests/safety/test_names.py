# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""Names that climb out of a folder, at the places where names from files become names of files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from PIL import Image

from monai_gmcl.commands.synthesize import synthesize
from monai_gmcl.data import read_json_datalist
from monai_gmcl.data_check import check_source
from monai_gmcl.exceptions import DataError
from monai_gmcl.handlers import ClassReport
from monai_gmcl.teachers import LatentTeacher, save_teacher

NAMES = [
    "../evil",
    "../../evil",
    "a/../../evil",
    "/tmp/monai_gmcl_evil",
    "//tmp/monai_gmcl_evil",
    "~/monai_gmcl_evil",
    "..",
    ".",
    "..\\evil",
    "C:\\evil",
    "evil\n/../../x",
    "%2e%2e%2fevil",
]


def _everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_class_names_of_a_teachers_file_cannot_put_images_outside(tmp_path: Path) -> None:
    torch.manual_seed(0)
    teacher = LatentTeacher(2, 1, len(NAMES), image_size=8, channels=2)
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    file = save_teacher(teacher, tmp_path / "deep" / "t.safetensors", NAMES)
    before = _everything(tmp_path)
    out = tmp_path / "deep" / "deeper" / "out"
    synthesize(str(file), str(out), per_class=1)
    made = _everything(tmp_path) - before
    assert len([path for path in made if path.parent.parent == out / "images"]) == len(NAMES)
    assert all(path == out or path.is_relative_to(out) for path in made)
    for outside in ("/tmp/monai_gmcl_evil", "~/monai_gmcl_evil"):
        assert not Path(outside).expanduser().exists()
    for item in json.loads((out / "datalist.json").read_text())["training"]:
        assert (out / item["image"]).resolve().is_relative_to(out.resolve())


def test_class_names_in_a_report_are_words_in_a_table(tmp_path: Path) -> None:
    (tmp_path / "deep" / "out").mkdir(parents=True)
    engine = Engine(lambda engine, batch: [{"pred": torch.eye(12)[i], "label": torch.eye(12)[i]} for i in range(12)])
    ClassReport(str(tmp_path / "deep" / "out"), class_names=NAMES).attach(engine)
    engine.run([0], max_epochs=1)
    files = {path for path in _everything(tmp_path) if path.is_file()}
    assert files == {tmp_path / "deep" / "out" / "class_report.csv"}


@pytest.mark.parametrize("name", NAMES)
def test_an_image_path_that_climbs_out_is_read_as_told_and_told_of(tmp_path: Path, name: str) -> None:
    """Reading it writes nothing; where it exists, the data check says that it is outside."""
    folder = tmp_path / "deep" / "data"
    (folder / "a").mkdir(parents=True)
    for place in ("evil", "deep/evil"):
        Image.new("L", (4, 4)).save(tmp_path / place, format="PNG")
    (folder / "list.json").write_text(json.dumps({"training": [{"image": name, "label": 0}]}))
    before = _everything(tmp_path)
    report = check_source(folder / "list.json")
    kinds = {fault.kind for fault in report.faults}
    if (folder / name).is_file():
        assert "outside" in kinds
    else:
        assert "missing" in kinds
        with pytest.raises(DataError, match="no file"):
            read_json_datalist(folder / "list.json")
    assert _everything(tmp_path) == before
