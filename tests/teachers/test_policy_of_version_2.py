# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""Files in ``files`` and the numbers here were written by monai_gmcl of format version 2."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import pytest
import torch

from monai_gmcl.teachers import PolicyTeacher
from monai_gmcl.teachers.operations import geometry, texture
from monai_gmcl.teachers.policy_of_version_2 import policy_of_version_2
from monai_gmcl.teachers.teacher_file import describe_teacher, load_teacher, save_teacher

FILES = Path(__file__).parent / "files"
RGB, GRAY = FILES / "policy_rgb_version_2.safetensors", FILES / "policy_gray_version_2.safetensors"
SHARES = {
    RGB: {
        "rotation": 0.578859,
        "zoom": 0.62618,
        "shear": 0.681667,
        "shift": 0.746202,
        "elastic": 0.820518,
        "gamma": 0.905087,
        "contrast": 1.0,
        "brightness": 1.104867,
        "channel_gain": 1.218742,
        "saturation": 1.34012,
        "blur": 1.466992,
        "noise": 1.596984,
        "erasing": 1.727536,
    },
    GRAY: {"rotation": 2.661277, "gamma": 0.387006, "blur": 1.259741, "noise": 0.770746},
}


@pytest.mark.parametrize("path", [RGB, GRAY])
def test_a_policy_keeps_its_operations_and_its_shares_up_to_2(path):
    found = {name: row["share"] for name, row in load_teacher(path).policy().items()}
    assert list(found) == list(SHARES[path])
    assert found == pytest.approx({name: min(share, 2.0) for name, share in SHARES[path].items()}, rel=1e-3)
    within = {name: share for name, share in SHARES[path].items() if share < 2}
    assert {name: found[name] for name in within} == pytest.approx(within, rel=1e-5)


def _latents_of_version_2(teacher, monkeypatch):
    """Version 2 drew the elastic lattice, and the noise of each pixel, among the latents."""
    generator = torch.Generator().manual_seed(5)
    parts = [torch.rand(3, len(teacher.operations), generator=generator)]
    for operation in teacher.operations:
        if operation.name == "elastic":
            uniform = torch.rand(3, 32, generator=generator)
            lattice = math.sqrt(2) * torch.erfinv(2 * uniform - 1)
            monkeypatch.setattr(geometry, "bank_noise", lambda draws, count, lattice=lattice: lattice)
            parts.append(torch.zeros(3, 4))
        elif operation.name == "noise":
            parts += [torch.rand(3, 1, generator=generator), torch.zeros(3, 4)]
            noise = torch.randn(3, 3 * 8 * 8, generator=generator)
            monkeypatch.setattr(texture, "bank_noise", lambda draws, count, noise=noise: noise)
        else:
            parts.append(operation.draw(3, (3, 8, 8), generator, torch.device("cpu")))
    return torch.cat(parts, 1)


def test_it_makes_the_same_images_from_the_same_numbers(monkeypatch):
    teacher = load_teacher(RGB)
    images = torch.linspace(0.05, 0.95, 3 * 8 * 8).view(1, 3, 8, 8).expand(3, -1, -1, -1)
    latents = _latents_of_version_2(teacher, monkeypatch)
    with torch.no_grad():
        changed = teacher(images, torch.zeros(3), latents, 1.3)
    torch.testing.assert_close(changed.mean((1, 2, 3)), torch.tensor([0.49779, 0.52241, 0.69159]), rtol=0, atol=2e-5)
    torch.testing.assert_close(changed.std((1, 2, 3)), torch.tensor([0.28388, 0.27142, 0.23132]), rtol=0, atol=2e-5)


def test_shares_that_are_cut_are_named_in_a_warning_and_others_are_not(caplog):
    load_teacher(GRAY)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message.endswith("at most 2. These shares were higher and are reduced to it: rotation 2.66.")
    caplog.clear()
    load_teacher(RGB)
    assert caplog.text == ""


@pytest.mark.parametrize("path", [RGB, GRAY])
def test_it_learns_on_and_is_saved_as_the_new_version(path, tmp_path):
    teacher = load_teacher(path)
    teacher.shares.sum().backward()
    assert (teacher.log_share.grad > 0).all()
    new = save_teacher(teacher, tmp_path / "new.safetensors")
    assert load_teacher(new).policy() == teacher.policy()
    assert describe_teacher(path).training == {"difficulty": 1.3} and describe_teacher(path).label_names == ["a", "b"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_equal_shares_are_all_1_in_their_own_type(dtype):
    config = {"spatial_dims": 3, "in_channels": 1, "num_classes": 2, "exclude": ["zoom"]}
    arguments, tensors = policy_of_version_2(config, {"log_share": torch.full((10,), 3.0, dtype=dtype)})
    teacher = PolicyTeacher(**arguments).to(dtype)
    teacher.load_state_dict(tensors)
    assert tensors["log_share"].dtype is dtype and teacher.shares.eq(1).all()
    assert not {"flip", "quarter_turn", "zoom"} & set(teacher.policy()) and len(teacher.operations) == 10
