# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest

from monai_gmcl.data import class_folder_datalist, prediction_datalist, unlabeled_datalist
from monai_gmcl.data.faults import Fault
from monai_gmcl.data.file_faults import is_litter
from monai_gmcl.data.listing import folder_files, foreign_fault
from monai_gmcl.exceptions import DataError

LITTER = [
    *("Thumbs.db", "THUMBS.DB", "desktop.ini", ".DS_Store", "._x.png", "ehthumbs.db", "~$notes.png", "Icon\r"),
    *("__MACOSX/._a.png", "__MACOSX/a.png", "@eaDir/a.png", "$RECYCLE.BIN/a.png", ".ipynb_checkpoints/a.png"),
]


@pytest.mark.parametrize("name", LITTER)
def test_what_operating_systems_leave_is_left_out_everywhere(tmp_path: Path, name: str) -> None:
    for place in ("cat", "cat/inner", "."):
        litter = tmp_path / place / name
        litter.parent.mkdir(parents=True, exist_ok=True)
        litter.write_bytes(b"x")
    image = tmp_path / "cat" / "inner" / "a.png"
    image.write_bytes(b"x")
    items, names = class_folder_datalist(tmp_path)
    assert ([item["image"] for item in items], names) == ([str(image)], ["cat"])
    assert unlabeled_datalist(tmp_path) == prediction_datalist(tmp_path) == [{"image": str(image)}]


def test_files_come_by_path_and_a_link_back_is_followed_once(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.png", "a/b/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    faults: list[Fault] = []
    files = [str(path.relative_to(tmp_path)) for path in folder_files(tmp_path, faults.append)]
    assert files == ["a/b/c.png", "a/z.png", "b.png"] and not faults


@pytest.mark.parametrize(
    ("name", "content"),
    [("1.dcm", b""), ("IM0001", b"\0" * 128 + b"DICM"), ("a.IMA", b"x"), ("x.png", b"y" * 128 + b"DICM")],
)
def test_dicom_is_called_by_its_name_with_what_converts_it(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    fault = foreign_fault(tmp_path / name, "here")
    assert fault.kind == "dicom" and "DICOM" in fault.found
    assert all(way in fault.remedy for way in ("monai_gmcl[dicom]", "dcm2niix", "dcmj2pnm"))
    if not name.endswith(".png"):
        for read in (unlabeled_datalist, prediction_datalist):
            with pytest.raises(DataError, match="found DICOM .* dcm2niix"):
                read(tmp_path)


def test_another_file_is_called_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.bmp").write_bytes(b"BM")
    assert foreign_fault(tmp_path / "a.bmp", "here").kind == "not_an_image"


@pytest.mark.parametrize("name", ["thumbs.png", "macosx", "a.db", "desktop", "~a.png"])
def test_other_names_are_no_litter(name: str) -> None:
    assert not is_litter(name)
