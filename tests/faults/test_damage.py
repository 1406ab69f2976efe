# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from monai_gmcl import (
    PolicyTeacher,
    StudentDescription,
    describe_student,
    load_student,
    load_teacher,
    save_student,
    save_teacher,
)
from monai_gmcl.exceptions import CheckpointError
from monai_gmcl.handlers import CheckpointFolder

KINDS = ("truncated", "flipped")


def damages(path: Path, kind: str) -> Iterator[int]:
    """Damage a file a hundred times, each time afresh; whole again at the end."""
    content = path.read_bytes()
    try:
        for seed in range(100):
            numbers = random.Random(seed)
            at = numbers.randrange(len(content))
            flipped = bytes([content[at] ^ (1 << numbers.randrange(8))]) + content[at + 1 :]
            path.write_bytes(content[:at] + (flipped if kind == "flipped" else b""))
            yield at
    finally:
        path.write_bytes(content)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> CheckpointFolder:
    """Two checkpoints."""
    folder = CheckpointFolder(tmp_path_factory.mktemp("checkpoints"))
    entries: list[Any] = []
    for iteration in (1, 2):
        state = {"model": {"weight": torch.full((50, 20), float(iteration))}, "trainer": {"iteration": iteration}}
        entries = folder.save(state, iteration, 1, entries)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_checkpoint_is_not_loaded_but_the_one_before(
    kind: str, folder: CheckpointFolder, caplog: pytest.LogCaptureFixture
) -> None:
    newest = folder.folder / "checkpoint_00000002.pt"
    for at in damages(newest, kind):
        caplog.clear()
        found = folder.load()
        assert found is not None and found[0].name == "checkpoint_00000001.pt", at
        assert torch.equal(found[1]["model"]["weight"], torch.full((50, 20), 1.0))
        assert f"{newest} is damaged" in caplog.text
        assert [entry.iteration for entry in found[2]] == [1]
    found = folder.load()
    assert found is not None and found[0] == newest


def test_where_all_checkpoints_are_damaged_the_run_does_not_silently_begin_anew(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save({"model": torch.ones(3)}, 4, 1, [])
    (tmp_path / "checkpoint_00000004.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"All checkpoints in .* are damaged: .*04.pt is damaged: .*, found 0"):
        folder.load()


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_manifest_never_lets_a_wrong_checkpoint_pass(kind: str, folder: CheckpointFolder) -> None:
    refused = 0
    for _ in damages(folder.folder / CheckpointFolder.MANIFEST, kind):
        try:
            found = folder.load()
        except CheckpointError:
            refused += 1
        else:
            assert found is not None
            iteration = found[1]["trainer"]["iteration"]
            assert torch.equal(found[1]["model"]["weight"], torch.full((50, 20), float(iteration)))
    assert refused > 0


@pytest.mark.parametrize("name", ["../checkpoint_00000001.pt", "/etc/passwd", "checkpoint_00000001.pt/..", "x.pt"])
def test_a_manifest_names_files_of_its_own_folder_only(name: str, tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save({"model": torch.ones(3)}, 1, 1, [])
    manifest = tmp_path / CheckpointFolder.MANIFEST
    manifest.write_text(manifest.read_text().replace("checkpoint_00000001.pt", name))
    with pytest.raises(CheckpointError, match="manifest.json is damaged .*the file name"):
        folder.load()


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    teacher = PolicyTeacher(spatial_dims=2, in_channels=3, num_classes=2)
    return save_teacher(teacher, tmp_path_factory.mktemp("teacher") / "teacher.safetensors")


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_teacher_file_is_refused_or_its_weights_are_unchanged(kind: str, teacher_file: Path) -> None:
    whole = load_teacher(teacher_file)
    refused = 0
    for _ in damages(teacher_file, kind):
        try:
            found = load_teacher(teacher_file)
        except CheckpointError:
            refused += 1
        else:
            assert found.config == whole.config
            for name, tensor in whole.state_dict().items():
                assert torch.equal(found.state_dict()[name], tensor)
    assert refused > 90


@pytest.fixture(scope="module")
def student_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    description = StudentDescription(["benign", "malignant"], 2, 3, image_size=64)
    return save_student(torch.nn.Linear(40, 2), tmp_path_factory.mktemp("student") / "model.pt", description)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_students_file_is_refused_or_loads_what_was_saved(kind: str, student_file: Path) -> None:
    whole, description = load_student(torch.nn.Linear(40, 2), student_file).state_dict(), describe_student(student_file)
    refused = 0
    for at in damages(student_file, kind):
        try:
            found, told = load_student(torch.nn.Linear(40, 2), student_file), describe_student(student_file)
        except CheckpointError as error:
            assert str(student_file) in str(error)
            refused += 1
        else:
            assert told == description, at
            assert all(torch.equal(tensor, whole[name]) for name, tensor in found.state_dict().items()), at
    # the rest of the flips hit what no reader looks at
    assert refused >= (100 if kind == "truncated" else 40)


def test_every_flipped_bit_of_the_weights_is_seen(student_file: Path) -> None:
    content = student_file.read_bytes()
    weights = load_student(torch.nn.Linear(40, 2), student_file).weight.detach().numpy().tobytes()
    start = content.index(weights)
    try:
        for at in range(start, start + len(weights)):
            student_file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            with pytest.raises(CheckpointError, match="is damaged"):
                describe_student(student_file)
    finally:
        student_file.write_bytes(content)
