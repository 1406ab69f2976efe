# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from monai_gmcl.exceptions import CheckpointError, ConfigurationError
from monai_gmcl.teachers.base import Teacher
from monai_gmcl.teachers.policy import PolicyTeacher
from monai_gmcl.teachers.teacher_file import load_teacher, save_teacher


class Unchanging(Teacher):
    def draw_latents(self, n, image_shape, generator=None):
        return torch.rand(n, 1, generator=generator)

    def change(self, images, labels, latents, difficulty):
        return images


class WithNetwork(Unchanging):
    def __init__(self, network):
        super().__init__(2, 1, 2)
        self.network = network


@pytest.fixture
def teacher():
    teacher = PolicyTeacher(2, 3, 2, mean=[0.5], std=[0.25], exclude=("shift",), bounds={"zoom": 0.2}, probability=0.7)
    nn.init.normal_(teacher.log_share, generator=torch.Generator().manual_seed(0))
    return teacher


def describe(path):
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["monai_gmcl.teacher"])


def rewrite(path, teacher, changes):
    """Write a teacher's file with another description."""
    description = {**describe(save_teacher(teacher, path)), **changes}
    save_file(teacher.state_dict(), path, {"monai_gmcl.teacher": json.dumps(description)})


def test_a_loaded_teacher_gives_the_same_bits(teacher, tmp_path):
    path = save_teacher(teacher, tmp_path / "teacher.safetensors")
    loaded = load_teacher(path)
    assert type(loaded) is PolicyTeacher
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    latents = teacher.draw_latents(4, (3, 8, 8), torch.Generator().manual_seed(2))
    assert torch.equal(loaded(images, torch.zeros(4), latents), teacher(images, torch.zeros(4), latents))
    assert loaded.policy() == teacher.policy()


def test_a_loaded_teacher_can_be_saved_again(teacher, tmp_path):
    first = save_teacher(teacher, tmp_path / "first.safetensors")
    second = save_teacher(load_teacher(first), tmp_path / "second.safetensors")
    assert first.read_bytes() == second.read_bytes()


def test_the_file_says_what_it_holds(teacher, tmp_path):
    description = describe(save_teacher(teacher, tmp_path / "teacher.safetensors"))
    assert description["class"] == "monai_gmcl.teachers.policy.PolicyTeacher"
    assert description["format_version"] == 1
    assert description["config"]["bounds"] == {"zoom": 0.2}
    assert description["package_version"]


def test_sets_and_arrays_among_the_arguments_are_written_as_lists(tmp_path):
    teacher = PolicyTeacher(2, 1, 2, mean=torch.tensor([0.5]), std=np.array([0.25]), exclude={"zoom", "shift"})
    loaded = load_teacher(save_teacher(teacher, tmp_path / "teacher.safetensors"))
    assert loaded.config["exclude"] == ["shift", "zoom"]
    assert loaded.policy() == teacher.policy()
    assert torch.equal(loaded.std, teacher.std)


def test_a_failed_save_keeps_the_old_file_and_leaves_no_other(teacher, tmp_path, monkeypatch):
    path = save_teacher(teacher, tmp_path / "teacher.safetensors")
    before = path.read_bytes()

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with torch.no_grad():
        teacher.log_share.add_(torch.arange(12.0))
    with pytest.raises(OSError, match="disk full"):
        save_teacher(teacher, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_only_teachers_are_saved(tmp_path):
    with pytest.raises(ConfigurationError, match="takes a Teacher, got Linear"):
        save_teacher(nn.Linear(2, 2), tmp_path / "teacher.safetensors")


def test_arguments_that_are_no_json_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="numbers, strings, lists .*got a Linear"):
        save_teacher(WithNetwork(nn.Linear(2, 2)), tmp_path / "teacher.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_class_that_could_not_be_found_again_is_refused(tmp_path):
    class Local(PolicyTeacher):
        pass

    with pytest.raises(ConfigurationError, match="at the top of its module"):
        save_teacher(Local(2, 1, 2), tmp_path / "teacher.safetensors")


def test_a_missing_file_raises(tmp_path):
    with pytest.raises(CheckpointError, match=r"no file .*nothing\.safetensors"):
        load_teacher(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("content", [b"", b"not a safetensors file", b"\x80\x04K\x01."])
def test_a_damaged_file_raises(content, tmp_path):
    path = tmp_path / "teacher.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"teacher\.safetensors is damaged or no safetensors file"):
        load_teacher(path)


def test_a_truncated_file_raises(teacher, tmp_path):
    path = save_teacher(teacher, tmp_path / "teacher.safetensors")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CheckpointError, match="damaged"):
        load_teacher(path)


def test_a_foreign_safetensors_file_raises(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(
        CheckpointError, match=r"metadata \[\] and format version None; accepted are 'monai_gmcl\.teacher'"
    ):
        load_teacher(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "format version 2; accepted"),
        ({"class": "monai_gmcl.teachers.policy.nn"}, r"class 'monai_gmcl\.teachers\.policy\.nn'; accepted are"),
        ({"class": "os.system"}, r"class 'os\.system'; accepted are"),
        ({"class": "torch.nn.Linear"}, r"class 'torch\.nn\.Linear'; accepted are"),
        ({"class": "monai_gmcl.teachers.nowhere.PolicyTeacher"}, "accepted are"),
        ({"class": "PolicyTeacher"}, "accepted are"),
        ({"class": "monai_gmcl.teachers.base.Teacher"}, "does not fit Teacher"),
        ({"class": None}, "accepted are"),
        ({"config": [1, 2]}, "does not fit PolicyTeacher"),
        ({"config": {"spatial_dims": 4, "in_channels": 3, "num_classes": 2}}, "spatial_dims must be 2 or 3"),
        ({"config": {"spatial_dims": 2, "in_channels": 3, "num_classes": 2}}, "size mismatch for log_share"),
        ({"config": {"no_such": 4}}, "no_such"),
    ],
)
def test_a_description_that_does_not_fit_raises_and_names_the_file(changes, message, teacher, tmp_path):
    path = tmp_path / "teacher.safetensors"
    rewrite(path, teacher, changes)
    with pytest.raises(CheckpointError, match=message) as raised:
        load_teacher(path)
    assert str(path) in str(raised.value)


def test_a_module_that_was_not_imported_is_not_imported(teacher, tmp_path, monkeypatch):
    (tmp_path / "foreign_teacher.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "teacher.safetensors"
    rewrite(path, teacher, {"class": "foreign_teacher.Anything"})
    with pytest.raises(CheckpointError, match="whose module has been imported"):
        load_teacher(path)


def test_a_user_s_own_teacher_is_loaded_once_its_module_is_imported(tmp_path):
    path = save_teacher(Unchanging(3, 1, num_classes=5), tmp_path / "teacher.safetensors")
    loaded = load_teacher(path)
    assert isinstance(loaded, Unchanging) and loaded.num_classes == 5
