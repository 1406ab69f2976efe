# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0


from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from monai.handlers import CheckpointLoader
from torch import nn

from monai_gmcl import StudentDescription, describe_student, load_student, save_student
from monai_gmcl.exceptions import CheckpointError, ConfigurationError
from monai_gmcl.student_file import RECORD, student_bytes

VOLUMES = StudentDescription(["0", "2", "10"], 3, 1, image_size=8, spacing=1.5, intensity_range=(-100, 300))


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2))


@pytest.fixture
def student() -> nn.Sequential:
    net = network()
    net(torch.rand(2, 1, 5, 5))
    return net


def same(one: nn.Module, other: nn.Module) -> bool:
    found = other.state_dict()
    return all(torch.equal(tensor, found[name]) for name, tensor in one.state_dict().items())


def test_weights_and_description_come_back(student: nn.Sequential, tmp_path: Path) -> None:
    file = save_student(student, tmp_path / "model.pt", VOLUMES)
    assert same(student, load_student(network(), file, VOLUMES))
    told = describe_student(file)
    assert told == VOLUMES and told.source == str(file)


def test_the_same_student_gives_the_same_bytes(student: nn.Sequential) -> None:
    assert student_bytes(student, VOLUMES) == student_bytes(student, VOLUMES)


def test_torch_and_monai_load_it_as_a_plain_state_dict(student: nn.Sequential, tmp_path: Path) -> None:
    file = save_student(student, tmp_path / "model.pt", VOLUMES)
    for mapped in (False, True):
        state = torch.load(file, weights_only=True, mmap=mapped)
        assert list(state) == list(student.state_dict())
    other = network()
    other(torch.rand(2, 1, 5, 5))
    engine = Engine(lambda engine, batch: None)
    CheckpointLoader(str(file), {"model": other}, map_location="cpu").attach(engine)
    engine.fire_event(Events.STARTED)
    assert same(student, other)


def test_another_network_is_an_error_that_says_what_to_do(student: nn.Sequential, tmp_path: Path) -> None:
    file = save_student(student, tmp_path / "model.pt", VOLUMES)
    with pytest.raises(CheckpointError, match=r"model.pt does not fit the network, a Linear: .*network_def"):
        load_student(nn.Linear(3, 2), file)


@pytest.mark.parametrize(
    "other",
    [
        StudentDescription(["0", "10", "2"], 3, 1, image_size=8, spacing=1.5, intensity_range=(-100, 300)),
        StudentDescription(["0", "2", "10"], 3, 1, image_size=8, spacing=1.0, intensity_range=(-100, 300)),
        StudentDescription(["0", "2", "10"], 3, 1, image_size=8, spacing=1.5),
    ],
)
def test_a_student_of_something_else_is_refused(
    other: StudentDescription, student: nn.Sequential, tmp_path: Path
) -> None:
    file = save_student(student, tmp_path / "model.pt", VOLUMES)
    with pytest.raises(ConfigurationError, match="in the training it was"):
        load_student(network(), file, other)


def test_files_of_others_are_refused(student: nn.Sequential, tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    with pytest.raises(CheckpointError, match="The student's file"):
        describe_student(file)
    for content in (student.state_dict(), {"model": student.state_dict(), "teacher": {}}):
        torch.save(content, file)
        with pytest.raises(CheckpointError, match="has no description of its images and outputs.*save_student"):
            describe_student(file)
    file.write_text("no archive")
    with pytest.raises(CheckpointError, match="is damaged or is not a file of torch.save"):
        describe_student(file)


@pytest.mark.parametrize("record", ['{"format_version": 2}', "[]", '"x"', '{"format_version": 1}', "{"])
def test_a_description_of_another_kind_is_refused(record: str, student: nn.Sequential, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(student.state_dict(), buffer)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(RECORD, record)
    (tmp_path / "model.pt").write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="model.pt"):
        describe_student(tmp_path / "model.pt")


def test_names_that_were_changed_in_the_file_are_seen(student: nn.Sequential, tmp_path: Path) -> None:
    named = StudentDescription(["benign", "malignant"], 2, 1)
    content = student_bytes(student, named)
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            read = old.read(name)
            swapped = read.replace(b'"benign", "malignant"', b'"malignant", "benign"') if name == RECORD else read
            assert name != RECORD or swapped != read
            new.writestr(name, swapped)
    (tmp_path / "model.pt").write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="SHA-256"):
        describe_student(tmp_path / "model.pt")


def test_a_state_that_is_more_than_tensors_is_refused(tmp_path: Path) -> None:
    class Counting(nn.Linear):
        def get_extra_state(self) -> dict[str, int]:
            return {"calls": 3}

        def set_extra_state(self, state: dict[str, int]) -> None:
            pass

    with pytest.raises(ConfigurationError, match="_extra_state"):
        save_student(Counting(2, 2), tmp_path / "model.pt", VOLUMES)
