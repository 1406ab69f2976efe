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

import pytest
import torch

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.teachers.policy import NAMES, PolicyTeacher

SHAPES = [(1, 16, 20), (3, 16, 16), (1, 10, 12, 14)]


def make(shape, **options):
    return PolicyTeacher(len(shape) - 1, shape[0], 2, **options)


def lesson(teacher, shape, n=6, difficulty=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(n, *shape, generator=generator)
    latents = teacher.draw_latents(n, shape, generator)
    return images, teacher(images, torch.zeros(n, dtype=torch.int64), latents, difficulty)


@pytest.mark.parametrize("shape", SHAPES)
def test_images_keep_shape_and_range_and_change(shape):
    for difficulty in (0.01, 1.0, 4.0):
        images, changed = lesson(make(shape), shape, difficulty=difficulty)
        assert changed.shape == images.shape
        assert changed.min() >= 0 and changed.max() <= 1
        assert not torch.equal(changed, images)


@pytest.mark.parametrize("shape", SHAPES)
def test_difficulty_0_is_the_identity_to_the_bit(shape):
    images, changed = lesson(make(shape), shape, difficulty=0.0)
    assert torch.equal(changed, images)


@pytest.mark.parametrize("shape", SHAPES)
def test_small_difficulty_changes_little(shape):
    images, changed = lesson(make(shape), shape, difficulty=1e-4)
    assert (changed - images).abs().max() < 2e-3


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_arguments_give_the_same_bits(shape):
    teacher = make(shape)
    assert torch.equal(lesson(teacher, shape)[1], lesson(teacher, shape)[1])
    assert not torch.equal(lesson(teacher, shape, seed=0)[1], lesson(teacher, shape, seed=1)[1])


def test_an_image_s_change_does_not_depend_on_its_batch():
    shape = (3, 16, 16)
    teacher, images = make(shape), torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    latents = teacher.draw_latents(4, shape, torch.Generator().manual_seed(1))
    together = teacher(images, torch.zeros(4), latents)
    alone = torch.cat([teacher(images[i : i + 1], torch.zeros(1), latents[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_labels_are_not_looked_at():
    shape = (1, 16, 16)
    teacher = make(shape)
    images, latents = torch.full((2, *shape), 0.5), teacher.draw_latents(2, shape, torch.Generator().manual_seed(0))
    assert torch.equal(teacher(images, torch.tensor([0, 0]), latents), teacher(images, torch.tensor([1, 0]), latents))


def test_one_source_becomes_many_images():
    shape = (3, 16, 16)
    teacher = make(shape)
    images = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0)).expand(8, *shape)
    changed = teacher(images, torch.zeros(8), teacher.draw_latents(8, shape, torch.Generator().manual_seed(1)))
    distances = torch.cdist(changed.flatten(1), changed.flatten(1)) + 100 * torch.eye(8)
    assert distances.min() > 0.5


@pytest.mark.parametrize("shape", SHAPES)
def test_every_log_share_gets_a_gradient(shape):
    teacher = make(shape)
    lesson(teacher, shape)[1].square().mean().backward()
    gradient = teacher.log_share.grad
    assert gradient.isfinite().all()
    assert (gradient.abs() > 1e-7).all()


@pytest.mark.parametrize("shape", [(3, 6, 6), (1, 4, 5, 4)])
def test_gradients_agree_with_finite_differences(shape):
    torch.manual_seed(0)
    teacher = make(shape, probability=1.0).double()
    images = (0.4 + 0.2 * torch.rand(2, *shape, dtype=torch.float64)).requires_grad_()
    latents = teacher.draw_latents(2, shape, torch.Generator().manual_seed(3)).double()
    log_share = (0.3 * torch.randn_like(teacher.log_share)).requires_grad_()

    def run(log_share, images):
        return torch.func.functional_call(
            teacher, {"log_share": log_share}, (images, torch.zeros(2), latents, 0.4), strict=False
        )

    assert torch.autograd.gradcheck(run, (log_share, images))


def test_the_difficulty_sets_the_common_strength_and_learning_only_shares_it_out():
    teacher = make((1, 8, 8))
    usual = torch.tensor([operation.usual for operation in teacher.operations])
    torch.testing.assert_close(teacher.strengths(0.01), 0.01 * usual, rtol=1e-3, atol=0)
    before = teacher.strengths(1.0)
    with torch.no_grad():
        teacher.log_share += 3.0
    torch.testing.assert_close(teacher.strengths(1.0), before)
    with torch.no_grad():
        teacher.log_share[0] += 1.0
    after = teacher.strengths(1.0)
    assert after[0] > before[0] and (after[1:] < before[1:]).all()
    assert teacher.shares.log().mean().item() == pytest.approx(0, abs=1e-6)


def test_no_operation_takes_all_of_the_strength_however_far_learning_drifts():
    teacher = PolicyTeacher(spatial_dims=2, in_channels=3, num_classes=2)
    with torch.no_grad():
        teacher.log_share[0], teacher.log_share[1] = 50.0, -50.0
    shares = teacher.shares
    assert shares.min() > 1 / 9 and shares.max() < 9
    assert shares.log().mean().item() == pytest.approx(0, abs=1e-6)
    assert shares.argmax() == 0 and shares.argmin() == 1
    assert shares[2:].log().abs().max() < 0.1


def test_strengths_never_pass_their_bounds():
    teacher = make((1, 8, 8), bounds={"shift": 0.1, "erasing": 0.2})
    strengths = dict(zip(teacher.policy(), teacher.strengths(1e4).tolist(), strict=True))
    assert strengths["shift"] == pytest.approx(0.1)
    assert strengths["erasing"] == pytest.approx(0.2)
    assert teacher.policy(difficulty=1e4)["shift"]["high"] == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["brightness", "contrast", "gamma", "channel_gain", "saturation"])
@pytest.mark.parametrize("end", [0, 1])
def test_the_table_s_ranges_are_what_is_applied(name, end):
    teacher = PolicyTeacher(2, 3, 2, include=[name], probability=1.0)
    row = teacher.policy(0.7)[name]
    limit = (row["low"], row["high"])[end]
    pixel = torch.tensor([0.5, 0.4, 0.6]).view(1, 3, 1, 1)
    images = torch.cat([pixel, 1.1 * pixel - 0.1], 3)
    mean, gray = images.mean(), (images * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    expected = {
        "brightness": images + limit,
        "contrast": mean + limit * (images - mean),
        "gamma": images**limit,
        "channel_gain": images * limit,
        "saturation": gray + limit * (images - gray),
    }[name]
    latents = torch.full_like(teacher.draw_latents(1, (3, 1, 2)), float(end))
    latents[:, 0] = 0
    changed = teacher(images, torch.zeros(1), latents, 0.7)
    torch.testing.assert_close(changed, expected, rtol=0, atol=5e-3 if name == "gamma" else 1e-5)


def test_an_operation_acts_with_the_given_probability():
    teacher = PolicyTeacher(2, 1, 2, include=["brightness"], probability=0.3)
    latents = teacher.draw_latents(2000, (1, 1, 1), torch.Generator().manual_seed(0))
    changed = teacher(torch.full((2000, 1, 1, 1), 0.5), torch.zeros(2000), latents)
    assert (changed != 0.5).float().mean().item() == pytest.approx(0.3, abs=0.04)


def test_mean_and_std_only_change_the_scale():
    shape = (3, 16, 16)
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
    plain, normalizing = make(shape), make(shape, mean=mean, std=std)
    images, changed = lesson(plain, shape)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    latents = plain.draw_latents(6, shape, torch.Generator().manual_seed(2))
    raw = plain(images, torch.zeros(6), latents)
    normalized = normalizing((images - mean) / std, torch.zeros(6), latents)
    torch.testing.assert_close(normalized, (raw - mean) / std, rtol=0, atol=1e-4)


def test_another_value_range_only_changes_the_scale():
    shape = (1, 16, 16)
    unit, hounsfield = make(shape), make(shape, value_range=(-1000, 400))
    images, _ = lesson(unit, shape)
    latents = unit.draw_latents(6, shape, torch.Generator().manual_seed(2))
    expected = unit(images, torch.zeros(6), latents) * 1400 - 1000
    changed = hounsfield(images * 1400 - 1000, torch.zeros(6), latents)
    torch.testing.assert_close(changed, expected, rtol=0, atol=0.02)


def test_channels_decide_which_operations_there_are():
    assert list(PolicyTeacher(2, 3, 2).policy()) == list(NAMES)
    assert set(NAMES) - set(PolicyTeacher(2, 2, 2).policy()) == {"saturation"}
    assert set(NAMES) - set(PolicyTeacher(2, 1, 2).policy()) == {"saturation", "channel_gain"}


def test_include_and_exclude_choose_operations():
    assert list(PolicyTeacher(2, 1, 2, include=["noise", "zoom"]).policy()) == ["zoom", "noise"]
    assert list(PolicyTeacher(2, 1, 2, include=["noise", "zoom"], exclude=["zoom"]).policy()) == ["noise"]
    assert "erasing" not in PolicyTeacher(2, 1, 2, exclude=["erasing"]).policy()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"include": ["rotatoin"]}, "include names 'rotatoin'; known .* rotation, zoom"),
        ({"exclude": ["flip"]}, "exclude names 'flip'"),
        ({"exclude": "zoom"}, "exclude must be a list of names, got the string 'zoom'"),
        ({"bounds": {"flip": 1.0}}, "bounds names 'flip'"),
        ({"bounds": {"shift": 0.0}}, "bound of 'shift' must be positive and finite, got 0.0"),
        ({"include": ["saturation"]}, "include names 'saturation'; known operations for 1 channel"),
        ({"include": ["zoom"], "exclude": ["zoom"]}, "leave no operation"),
        ({"probability": 0.0}, "probability must be above 0 and at most 1, got 0.0"),
    ],
)
def test_wrong_arguments_raise(options, message):
    with pytest.raises(ConfigurationError, match=message):
        PolicyTeacher(2, 1, 2, **options)


def test_images_and_latents_of_another_shape_raise():
    teacher = PolicyTeacher(2, 1, 2)
    with pytest.raises(ConfigurationError, match=r"1 channels and 2 spatial dimensions, got .* \(3, 8, 8\)"):
        teacher.draw_latents(2, (3, 8, 8))
    latents = teacher.draw_latents(2, (1, 8, 8))
    with pytest.raises(ConfigurationError, match="draw them with draw_latents for this shape"):
        teacher(torch.rand(2, 1, 9, 8), torch.zeros(2), latents)
    with pytest.raises(ConfigurationError, match="needs sources, got None"):
        teacher(None, torch.zeros(2), latents)


def test_the_printed_teacher_is_its_table():
    teacher = PolicyTeacher(2, 3, 2)
    lines = str(teacher).splitlines()
    assert [line.split()[0] for line in lines] == ["operation", *NAMES]
    assert lines[1].split()[1:] == ["-0.344", "0.344", "rad", "1.00"]
