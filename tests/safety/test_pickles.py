# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""Files that would run a program if they were unpickled, at every door through which a file comes in."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from monai_gmcl import describe_student, load_student
from monai_gmcl.data import ReadImaged, open_data, read_csv_datalist, read_json_datalist
from monai_gmcl.data_check import check_source
from monai_gmcl.exceptions import CheckpointError, GMCLError
from monai_gmcl.student_file import RECORD
from monai_gmcl.teachers import load_teacher


class _Payload:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.trace,)


def _text_protocol(payload: Any) -> bytes:
    return pickle.dumps(payload, protocol=0)


def _binary_protocol(payload: Any) -> bytes:
    return pickle.dumps(payload, protocol=5)


def _numpy_array(payload: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([payload], dtype=object), allow_pickle=True)
    return file.getvalue()


def _numpy_archive(payload: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, image=np.array([payload], dtype=object))
    return file.getvalue()


def _torch_archive(payload: Any) -> bytes:
    file = io.BytesIO()
    torch.save({"model": payload}, file)
    return file.getvalue()


def _torch_legacy(payload: Any) -> bytes:
    file = io.BytesIO()
    torch.save({"model": payload}, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


PICKLES = [_text_protocol, _binary_protocol, _numpy_array, _numpy_archive, _torch_archive, _torch_legacy]


def _unsafe(content: bytes) -> None:
    """What this package must not do."""
    file = io.BytesIO(content)
    if content.startswith(b"\x93NUMPY") or zipfile.is_zipfile(io.BytesIO(content)) and b"image.npy" in content:
        loaded = np.load(file, allow_pickle=True)
        loaded["image"] if isinstance(loaded, np.lib.npyio.NpzFile) else loaded
    elif zipfile.is_zipfile(io.BytesIO(content)) or content.startswith(b"\x80\x02\x8a"):
        torch.load(file, weights_only=False)
    else:
        pickle.loads(content)


DOORS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "image": ("a.png", lambda path: ReadImaged("image")({"image": path})),
    "numpy_image": ("a.npy", lambda path: ReadImaged("image")({"image": path})),
    "volume": ("a.nii", lambda path: ReadImaged("image", 3, 1)({"image": path})),
    "compressed_volume": ("a.nii.gz", lambda path: ReadImaged("image", 3, 1)({"image": path})),
    "table": ("a.csv", read_csv_datalist),
    "datalist": ("a.json", read_json_datalist),
    "dataset": ("a.json", open_data),
    "teacher": ("a.safetensors", load_teacher),
    "student": ("model.pt", describe_student),
}


@pytest.mark.parametrize("write", PICKLES, ids=lambda write: write.__name__[1:])
def test_a_payload_does_run_where_it_is_unpickled(tmp_path: Path, write: Callable[[Any], bytes]) -> None:
    _unsafe(write(_Payload(tmp_path / "trace")))
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("write", PICKLES, ids=lambda write: write.__name__[1:])
def test_a_malicious_pickle_is_refused_and_nothing_runs(
    tmp_path: Path, write: Callable[[Any], bytes], door: str
) -> None:
    name, read = DOORS[door]
    (tmp_path / name).write_bytes(write(_Payload(tmp_path / "trace")))
    with pytest.raises(GMCLError, match=name):
        read(tmp_path / name)
    assert not (tmp_path / "trace").exists()


def test_a_payload_beside_a_students_description_is_refused_and_does_not_run(tmp_path: Path) -> None:
    content = io.BytesIO(_torch_archive(_Payload(tmp_path / "trace")))
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr(RECORD, '{"format_version": 1}')
    (tmp_path / "model.pt").write_bytes(content.getvalue())
    with pytest.raises(CheckpointError, match="model.pt is damaged"):
        load_student(torch.nn.Linear(1, 1), tmp_path / "model.pt")
    assert not (tmp_path / "trace").exists()


def test_the_data_check_names_them_and_runs_none(tmp_path: Path) -> None:
    (tmp_path / "data" / "cat").mkdir(parents=True)
    for write in PICKLES:
        for suffix in (".png", ".jpg", ".tif", ".nii", ".nii.gz"):
            content = write(_Payload(tmp_path / "trace"))
            (tmp_path / "data" / "cat" / f"{write.__name__}{suffix}").write_bytes(content)
    report = check_source(tmp_path / "data")
    assert [fault.kind for fault in report.errors] == ["not_an_image"] * 30
    assert not (tmp_path / "trace").exists()
