# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""Teacher files with headers made to harm."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from monai_gmcl.benchmark.student_run import peak_resident_bytes
from monai_gmcl.content_hash import content_hash
from monai_gmcl.exceptions import CheckpointError
from monai_gmcl.teachers import LatentTeacher, load_teacher, save_teacher
from monai_gmcl.teachers.teacher_file import FORMAT


def _file(path: Path, header: bytes, data: bytes = b"", length: int | None = None) -> Path:
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)
    return path


def _tensor(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> bytes:
    return json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}).encode()


HEADERS: dict[str, tuple[bytes, bytes, int | None]] = {
    "longer_than_the_file": (_tensor(), b"\0" * 8, 2**40),
    "longer_than_any_file": (_tensor(), b"\0" * 8, 2**64 - 1),
    "of_no_length": (b"", b"", 0),
    "no_json": (b"{'a': __import__('os').system('id')}", b"", None),
    "a_pickle": (b"cposix\nsystem\n(S'id'\ntR.", b"", None),
    "deep": (b'{"a":' * 50000 + b"1" + b"}" * 50000, b"", None),
    "data_that_is_not_there": (_tensor(shape=(2**20,), offsets=(0, 2**22)), b"\0" * 8, None),
    "a_shape_beyond_counting": (_tensor(shape=(2**62, 2**62), offsets=(0, 8)), b"\0" * 8, None),
    "a_negative_shape": (_tensor(shape=(-1,)), b"\0" * 8, None),
    "an_unknown_type": (_tensor(dtype="OBJECT"), b"\0" * 8, None),
    "offsets_backwards": (_tensor(offsets=(8, 0)), b"\0" * 8, None),
    "offsets_before_the_data": (_tensor(offsets=(-8, 0)), b"\0" * 8, None),
    "overlapping_tensors": (
        json.dumps({k: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for k in "ab"}).encode(),
        b"\0" * 8,
        None,
    ),
    "a_tensor_twice": (_tensor()[:-1] + b"," + _tensor()[1:], b"\0" * 8, None),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_hostile_header_is_refused_and_takes_no_memory(tmp_path: Path, name: str) -> None:
    header, data, length = HEADERS[name]
    path = _file(tmp_path / "t.safetensors", header, data, length)
    before = peak_resident_bytes()
    with pytest.raises(CheckpointError, match=r"t.safetensors"):
        load_teacher(path)
    assert peak_resident_bytes() - before < 2**26
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.safetensors"]


@pytest.fixture
def described(tmp_path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What a good teacher's file says, and its tensors."""
    teacher = LatentTeacher(2, 1, 2, image_size=8, channels=2)
    content = save_teacher(teacher, tmp_path / "good.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])
    tensors = {name: tensor.detach().clone() for name, tensor in teacher.state_dict().items()}
    return json.loads(header["__metadata__"][FORMAT]), tensors


def _forged(path: Path, told: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Path:
    """A file whose SHA-256 is right: whoever writes it can compute that, too."""
    told = {**told, "sha256": content_hash(told, tensors)}
    path.write_bytes(save(tensors, {FORMAT: json.dumps(told)}))
    return path


@pytest.mark.parametrize(
    "dotted",
    [
        "os.system",
        "builtins.eval",
        "subprocess.Popen",
        "torch.hub.load",
        "torch.nn.Linear",
        "monai_gmcl.teachers.teacher_file.os.system",
        "monai_gmcl.teachers.teacher_file.importlib",
        "monai_gmcl.teachers.teacher_file.load_teacher",
        "monai_gmcl.teachers...evil",
        "monai_gmcl.teachers.base.__loader__",
        "evil",
        "",
    ],
)
def test_a_forged_file_runs_nothing_but_a_teachers_class(
    tmp_path: Path, described: tuple[dict[str, Any], dict[str, torch.Tensor]], dotted: str
) -> None:
    told, tensors = described
    assert isinstance(load_teacher(_forged(tmp_path / "a.safetensors", told, tensors)), LatentTeacher)
    path = _forged(tmp_path / "t.safetensors", {**told, "class": dotted, "config": {"command": "id"}}, tensors)
    with pytest.raises(CheckpointError, match="t.safetensors"):
        load_teacher(path)
