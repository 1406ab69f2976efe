# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from monai_gmcl.exceptions import CheckpointError, ConfigurationError
from monai_gmcl.teachers.base import Teacher
from monai_gmcl.teachers.image import ImageTeacher
from monai_gmcl.teachers.latent import LatentTeacher
from monai_gmcl.teachers.policy import PolicyTeacher
from monai_gmcl.teachers.teacher_file import describe_teacher, load_teacher, save_teacher


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


def sha256(description, tensors):
    """As the file's format says: of the description without its hash, then of each tensor, by name."""
    told = {key: value for key, value in description.items() if key != "sha256"}
    content = json.dumps(told, sort_keys=True).encode()
    for name, tensor in sorted(tensors.items()):
        content += json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode() + tensor.numpy().tobytes()
    return hashlib.sha256(content).hexdigest()


def rewrite(path, teacher, changes):
    """Write a teacher's file with another description, and the hash that belongs to it."""
    description = {**describe(save_teacher(teacher, path)), **changes}
    description["sha256"] = sha256(description, teacher.state_dict())
    save_file(teacher.state_dict(), path, {"monai_gmcl.teacher": json.dumps(description)})


def test_a_loaded_teacher_can_be_saved_again(teacher, tmp_path):
    first = save_teacher(teacher, tmp_path / "first.safetensors")
    second = save_teacher(load_teacher(first), tmp_path / "second.safetensors")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_weights_come_back_bit_for_bit_in_their_own_type(dtype, teacher, tmp_path):
    with torch.no_grad():
        teacher.log_share[:4] = torch.tensor([-0.0, 1e-40, float("nan"), float("inf")])
    teacher.to(dtype)
    loaded = load_teacher(save_teacher(teacher, tmp_path / "teacher.safetensors"))
    assert loaded.log_share.dtype is loaded.mean.dtype is dtype
    before, after = (t.log_share.detach().view(torch.uint8) for t in (teacher, loaded))
    assert torch.equal(before, after)
    assert loaded.log_share.requires_grad


def test_a_loaded_teacher_does_not_hang_on_its_file(teacher, tmp_path):
    path = save_teacher(teacher, tmp_path / "teacher.safetensors")
    loaded = load_teacher(path)
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(loaded.log_share, teacher.log_share)


def test_the_file_says_what_it_holds(teacher, tmp_path):
    training = {"epochs": 40, "difficulty": 0.7, "auc": np.float64(0.85)}
    path = save_teacher(teacher, tmp_path / "teacher.safetensors", ["normal", "tumor"], training)
    found = describe_teacher(path)
    assert found.architecture == "monai_gmcl.teachers.policy.PolicyTeacher"
    assert found.config["bounds"] == {"zoom": 0.2}
    assert found.label_names == ["normal", "tumor"]
    assert found.training == {"epochs": 40, "difficulty": 0.7, "auc": 0.85}
    assert found.versions["torch"] == torch.__version__ and set(found.versions) == {"monai_gmcl", "monai", "torch"}
    assert found.sha256 == sha256(describe(path), teacher.state_dict())
    assert describe(path)["format_version"] == 3


def test_names_and_training_may_be_left_out(teacher, tmp_path):
    found = describe_teacher(save_teacher(teacher, tmp_path / "teacher.safetensors"))
    assert found.label_names is None and found.training == {}


def test_names_are_one_for_each_class(teacher, tmp_path):
    with pytest.raises(ConfigurationError, match="each of the teacher's 2 classes, got 3: a, b, c"):
        save_teacher(teacher, tmp_path / "teacher.safetensors", ["a", "b", "c"])


def test_a_summary_that_is_no_json_is_refused(teacher, tmp_path):
    with pytest.raises(ConfigurationError, match="the training summary must be .*got a Linear"):
        save_teacher(teacher, tmp_path / "teacher.safetensors", training={"head": nn.Linear(2, 2)})


@pytest.mark.parametrize(
    "changes", [{"label_names": ["tumor", "normal"]}, {"training": {"auc": 1.0}}, {"sha256": None}]
)
def test_a_description_that_was_changed_without_its_hash_is_refused(changes, teacher, tmp_path):
    path = save_teacher(teacher, tmp_path / "teacher.safetensors", ["normal", "tumor"], {"auc": 0.5})
    description = {**describe(path), **changes}
    save_file(teacher.state_dict(), path, {"monai_gmcl.teacher": json.dumps(description)})
    for read in (load_teacher, describe_teacher):
        with pytest.raises(CheckpointError, match="was changed: the SHA-256"):
            read(path)


def test_sets_and_arrays_among_the_arguments_are_written_as_lists(tmp_path):
    teacher = PolicyTeacher(2, 1, 2, mean=torch.tensor([0.5]), std=np.array([0.25]), exclude={"zoom", "shift"})
    loaded = load_teacher(save_teacher(teacher, tmp_path / "teacher.safetensors"))
    assert loaded.config["exclude"] == ["shift", "zoom"]
    assert loaded.policy() == teacher.policy()
    assert torch.equal(loaded.std, teacher.std)


def test_only_teachers_are_saved(tmp_path):
    with pytest.raises(ConfigurationError, match="needs a monai_gmcl.Teacher, got Linear"):
        save_teacher(nn.Linear(2, 2), tmp_path / "teacher.safetensors")


def test_arguments_that_are_no_json_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="numbers, strings, lists .*got a Linear"):
        save_teacher(WithNetwork(nn.Linear(2, 2)), tmp_path / "teacher.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_class_within_a_function_is_found_again_where_the_caller_gives_it(tmp_path):
    class Local(PolicyTeacher):
        pass

    path = save_teacher(Local(2, 1, 2), tmp_path / "teacher.safetensors")
    assert type(load_teacher(path, {"Local": Local})) is Local


def test_a_missing_file_raises(tmp_path):
    with pytest.raises(CheckpointError, match=r"no teacher file .*nothing\.safetensors"):
        load_teacher(tmp_path / "nothing.safetensors")


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
        ({"format_version": 1}, "format version 1; accepted"),
        ({"format_version": 4}, "newer format version 4; this monai_gmcl reads versions 2 and 3. Update"),
        ({"class": "monai_gmcl.teachers.policy.nn"}, r"class 'monai_gmcl\.teachers\.policy\.nn'; accepted are"),
        ({"class": "monai_gmcl.teachers.nowhere.PolicyTeacher"}, "accepted are"),
        ({"class": "PolicyTeacher"}, "accepted are"),
        ({"class": "monai_gmcl.teachers.base.Teacher"}, "does not fit Teacher"),
        ({"class": None}, "the class None; expected a str"),
        ({"class": "monai_gmcl.teachersque.PolicyTeacher"}, "accepted are"),
        ({"config": [1, 2]}, r"the config \[1, 2\]; expected a dict"),
        ({"training": "long"}, "the training 'long'; expected a dict"),
        ({"label_names": "abc"}, "the label_names 'abc'; expected a list"),
        ({"label_names": [1, 2]}, r"the label_names \[1, 2\]; expected a list"),
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


def test_teachers_of_other_classes_of_version_2_are_read_as_they_are(tmp_path):
    teacher = Unchanging(2, 1, 2)
    path = tmp_path / "image.safetensors"
    rewrite(path, teacher, {"format_version": 2})
    assert load_teacher(path, {"Unchanging": Unchanging}).config == teacher.config


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"spatial_dims": 2, "in_channels": 1, "num_classes": 2}, "does not fit PolicyTeacher"),
        ({"spatial_dims": 2, "num_classes": 2}, "does not fit PolicyTeacher of this version: 'in_channels'"),
    ],
)
def test_a_policy_of_version_2_that_does_not_fit_raises_and_names_the_file(config, message, tmp_path):
    teacher = PolicyTeacher(2, 3, 2, exclude=["flip", "quarter_turn"])
    nn.init.normal_(teacher.log_share, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "teacher.safetensors"
    rewrite(path, teacher, {"format_version": 2, "config": config})
    with pytest.raises(CheckpointError, match=message) as raised:
        load_teacher(path)
    assert str(path) in str(raised.value)


FITTING = {
    PolicyTeacher: {"spatial_dims": 2, "in_channels": 3, "num_classes": 2},
    LatentTeacher: {"spatial_dims": 2, "in_channels": 1, "num_classes": 2, "image_size": [8, 8]},
    ImageTeacher: {"spatial_dims": 2, "in_channels": 1, "num_classes": 2, "condition_on_label": True},
}
NO_COUNTS = (1e30, 10**30, float("nan"), float("inf"), -1, 2.5, 3.0, "3", True, None, [2])


@pytest.mark.parametrize("number", NO_COUNTS)
@pytest.mark.parametrize("name", ["num_classes", "in_channels", "image_size", "channels", "latent_size"])
def test_a_signed_file_with_a_count_that_is_none_is_refused_and_names_the_file(name, number, tmp_path):
    fitting = LatentTeacher(**FITTING[LatentTeacher])
    path = tmp_path / "teacher.safetensors"
    rewrite(path, fitting, {"config": {**fitting.config, name: number}})
    with pytest.raises(CheckpointError, match="teacher.safetensors does not fit LatentTeacher"):
        load_teacher(path)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (PolicyTeacher, {"num_classes": 1e30}),
        (PolicyTeacher, {"num_classes": float("nan")}),
        (PolicyTeacher, {"value_range": [0, float("inf")]}),
        (PolicyTeacher, {"mean": [float("nan")], "std": [1.0]}),
        (PolicyTeacher, {"bounds": {"zoom": float("inf")}}),
        (PolicyTeacher, {"probability": float("nan")}),
        (ImageTeacher, {"residual": float("inf")}),
        (ImageTeacher, {"num_classes": 10**6}),
        (ImageTeacher, {"channels": 4 * 10**5}),
        (LatentTeacher, {"image_size": [10**6, 10**6]}),
        (LatentTeacher, {"latent_size": 10**6}),
        (LatentTeacher, {"spatial_dims": 3}),
    ],
)
def test_a_signed_file_that_claims_what_cannot_be_is_refused_without_memory_for_it(kind, changes, tmp_path):
    fitting = kind(**FITTING[kind])
    path = tmp_path / "teacher.safetensors"
    rewrite(path, fitting, {"config": {**fitting.config, **changes}})
    with pytest.raises(CheckpointError, match=f"teacher.safetensors does not fit {kind.__name__}"):
        load_teacher(path)


def test_as_many_label_names_as_classes_are_read(teacher, tmp_path):
    path = tmp_path / "teacher.safetensors"
    rewrite(path, teacher, {"label_names": ["a", "b", "c"]})
    with pytest.raises(CheckpointError, match="3 label_names for a teacher of 2 classes"):
        load_teacher(path)


def test_no_module_is_imported_for_a_file(teacher, tmp_path, monkeypatch):
    (tmp_path / "foreign_teacher.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "teacher.safetensors"
    rewrite(path, teacher, {"class": "foreign_teacher.Anything"})
    with pytest.raises(CheckpointError, match=r"classes of monai_gmcl\.teachers; give other classes"):
        load_teacher(path)


@pytest.mark.parametrize("name", ["Unchanging", f"{__name__}.Unchanging"])
def test_a_user_s_own_teacher_is_loaded_where_the_caller_gives_its_class(name, tmp_path):
    path = save_teacher(Unchanging(3, 1, num_classes=5), tmp_path / "teacher.safetensors")
    loaded = load_teacher(path, {name: Unchanging})
    assert isinstance(loaded, Unchanging) and loaded.num_classes == 5
    with pytest.raises(CheckpointError, match="Unchanging.*the given classes Other"):
        load_teacher(path, {"Other": Unchanging})
    with pytest.raises(CheckpointError, match="give other classes with the argument `classes`"):
        load_teacher(path)
