# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

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
def test_every_log_share_gets_a_gradient(shape):
    teacher = make(shape, probability=1.0)
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


def test_the_difficulty_sets_the_common_strength_and_a_share_concerns_its_own_operation_alone():
    teacher = make((1, 8, 8), exclude=["flip", "quarter_turn"])
    usual = torch.tensor([operation.usual for operation in teacher.operations])
    torch.testing.assert_close(teacher.strengths(0.01), 0.01 * usual, rtol=1e-3, atol=0)
    before = teacher.strengths(1.0)
    with torch.no_grad():
        teacher.log_share[0] += 1.0
    after = teacher.strengths(1.0)
    assert after[0] > before[0] and torch.equal(after[1:], before[1:])


@pytest.mark.parametrize(
    ("log_share", "share"),
    [
        (0.0, 1.0),
        (0.01, math.exp(0.01)),
        (-0.01, math.exp(-0.01)),
        (1.0, 2 ** math.tanh(1 / math.log(2))),
        (-2.0, 50 ** -math.tanh(2 / math.log(50))),
        (60.0, 2.0),
        (-60.0, 1 / 50),
    ],
)
@pytest.mark.parametrize("name", ["flip", "gamma", "erasing"])
def test_shares_go_from_a_fiftieth_to_twice_the_usual(name, log_share, share):
    teacher = PolicyTeacher(2, 3, 2)
    with torch.no_grad():
        index = NAMES.index(name)
        (teacher.log_odds if index < 2 else teacher.log_share)[index - 2 * (index >= 2)] = log_share
    assert teacher.policy()[name]["share"] == pytest.approx(share, rel=2e-4)
    assert all(row["share"] == 1 for other, row in teacher.policy().items() if other != name)


@pytest.mark.parametrize("far", [50.0, -50.0])
def test_a_share_that_drifted_far_is_still_moved_by_its_gradient(far):
    teacher = PolicyTeacher(2, 1, 2)
    with torch.no_grad():
        teacher.log_share[:] = far / 25
    teacher.shares.sum().backward()
    assert (teacher.log_share.grad > 0).all() and (teacher.log_odds.grad > 0).all()


@pytest.mark.parametrize(("difficulty", "odds"), [(1.0, 1.0), (0.5, 0.5), (0.1, 0.1), (4.0, 1.0)])
@pytest.mark.parametrize("name", ["flip", "quarter_turn"])
def test_flips_and_quarter_turns_have_a_probability_of_share_to_1(name, difficulty, odds):
    teacher = PolicyTeacher(2, 1, 2, include=[name], probability=0.9)
    for log_odds in (0.0, -1.0, 0.5):
        with torch.no_grad():
            teacher.log_odds[0] = log_odds
        row = teacher.policy(difficulty)[name]
        expected = odds * row["share"] / (1 + odds * row["share"])
        assert row["probability"] == row["high"] == pytest.approx(expected) and row["unit"] == "probability"


def test_other_operations_act_with_the_given_probability_whatever_was_learned():
    teacher = PolicyTeacher(2, 1, 2, include=["flip", "gamma"], probability=0.3)
    with torch.no_grad():
        teacher.log_share.fill_(-2.0)
    assert teacher.policy()["gamma"]["probability"] == pytest.approx(0.3)


@pytest.mark.parametrize("shape", SHAPES)
def test_which_operations_act_is_what_changes_images(shape):
    for name in make(shape).policy():
        teacher = make(shape, include=[name], probability=0.4)
        numbers = torch.Generator().manual_seed(2)
        latents, images = teacher.draw_latents(40, shape, numbers), torch.rand(40, *shape, generator=numbers)
        # Resampling where nothing moves rounds.
        changed = ((teacher(images, torch.zeros(40), latents) - images).abs() > 1e-5).flatten(1).any(1)
        acts = teacher.acts(latents, shape)
        assert acts.shape == (40, 1) and acts.dtype is torch.bool
        # A box to erase may be too small to reach the middle of any pixel.
        missed = int((changed != acts[:, 0]).sum())
        assert missed <= (2 if name == "erasing" else 0) and not (changed & ~acts[:, 0]).any() and 4 < acts.sum() < 36


def test_operations_act_independently_of_each_other():
    teacher = PolicyTeacher(2, 3, 2, include=NAMES)
    with torch.no_grad():
        teacher.log_odds[0] = -1.0
    shape = (3, 4, 4)
    acts = teacher.acts(teacher.draw_latents(4000, shape, torch.Generator().manual_seed(0)), shape).double()
    expected = torch.tensor([row["probability"] for row in teacher.policy().values()], dtype=torch.float64)
    torch.testing.assert_close(acts.mean(0), expected, rtol=0, atol=0.03)
    assert (torch.corrcoef(acts.T) - torch.eye(15)).abs().max() < 0.06


@pytest.mark.parametrize("difficulty", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("log_odds", [(0.0, 0.0), (-1.5, 0.4)])
def test_the_log_probability_of_choices_and_its_gradient_are_those_of_independent_coins(difficulty, log_odds):
    teacher = PolicyTeacher(2, 1, 2, include=["flip", "quarter_turn", "gamma"]).double()
    with torch.no_grad():
        teacher.log_odds[:] = torch.tensor(log_odds)
    shape = (1, 4, 4)
    latents = teacher.draw_latents(200, shape, torch.Generator().manual_seed(0)).double()
    found = teacher.choice_log_probability(latents, shape, difficulty)
    weights = torch.linspace(-1, 1, 200, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(found @ weights, teacher.log_odds)

    # By hand: a Bernoulli variable for each of both, its logit the logarithm of the odds.
    z = torch.tensor(log_odds, dtype=torch.float64, requires_grad=True)
    log_share = torch.where(z > 0, math.log(2) * (z / math.log(2)).tanh(), math.log(50) * (z / math.log(50)).tanh())
    coins = torch.distributions.Bernoulli(logits=log_share + math.log(min(difficulty, 1.0)))
    expected = coins.log_prob((latents[:, :2] < coins.probs.detach()).double()).sum(1)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected @ weights, z)[0])


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


def test_channels_decide_which_operations_there_are():
    usual = [name for name in NAMES if name != "quarter_turn"]
    assert list(PolicyTeacher(2, 3, 2).policy()) == usual
    assert set(usual) - set(PolicyTeacher(2, 2, 2).policy()) == {"saturation"}
    assert set(usual) - set(PolicyTeacher(2, 1, 2).policy()) == {"saturation", "channel_gain"}


def test_quarter_turns_are_for_images_without_an_up_and_a_down():
    assert list(PolicyTeacher(2, 3, 2, upright=False).policy()) == list(NAMES)
    assert list(PolicyTeacher(2, 3, 2, include=NAMES).policy()) == list(NAMES)


def test_include_and_exclude_choose_operations():
    assert list(PolicyTeacher(2, 1, 2, include=["noise", "zoom"]).policy()) == ["zoom", "noise"]
    assert list(PolicyTeacher(2, 1, 2, include=["noise", "zoom"], exclude=["zoom"]).policy()) == ["noise"]
    assert "erasing" not in PolicyTeacher(2, 1, 2, exclude=["erasing"]).policy()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"include": ["rotatoin"]}, "include has 'rotatoin'; known .* rotation, zoom"),
        ({"exclude": ["flop"]}, "exclude has 'flop'"),
        ({"exclude": "zoom"}, "exclude must be a list of names, got the string 'zoom'"),
        ({"bounds": {"mirror": 1.0}}, "bounds has 'mirror'"),
        ({"bounds": {"shift": 0.0}}, "bound of 'shift' must be positive and finite, got 0.0"),
        ({"include": ["saturation"]}, "include has 'saturation'; known operations for 1 channel"),
        ({"include": ["zoom"], "exclude": ["zoom"]}, "leave no operation"),
        ({"probability": 0.0}, "probability must be above 0 and at most 1, got 0.0"),
    ],
)
def test_wrong_arguments_raise(options, message):
    with pytest.raises(ConfigurationError, match=message):
        PolicyTeacher(2, 1, 2, **options)


def test_images_and_latents_of_another_shape_raise():
    teacher = PolicyTeacher(2, 1, 2)
    with pytest.raises(ConfigurationError, match=r"1 channel\(s\) and 2 spatial dimensions, got .* \(3, 8, 8\)"):
        teacher.draw_latents(2, (3, 8, 8))
    latents = PolicyTeacher(3, 1, 2).draw_latents(2, (1, 8, 8, 8))
    with pytest.raises(ConfigurationError, match=r"latents \(B, 35\) of draw_latents, got \(2, 43\)"):
        teacher(torch.rand(2, 1, 8, 8), torch.zeros(2), latents)
    with pytest.raises(ConfigurationError, match="needs sources, got None"):
        teacher(None, torch.zeros(2), latents)


@pytest.mark.parametrize(
    ("log_share", "down"), [(0.0, False), (-0.69, False), (-0.72, True), (-5.0, True), (3.0, False)]
)
@pytest.mark.parametrize("name", ["quarter_turn", "rotation", "noise"])
def test_a_share_below_a_half_is_turned_down(name, log_share, down):
    teacher = PolicyTeacher(2, 1, 2, include=[name])
    with torch.no_grad():
        for parameter in (teacher.log_odds, teacher.log_share):
            parameter.fill_(log_share)
    assert teacher.turned_down == ([name] if down else [])
    assert teacher.policy()[name]["turned_down"] is down


def test_the_table_tells_effects_and_what_was_turned_down():
    teacher = PolicyTeacher(2, 1, 2, include=["flip", "gamma", "noise"])
    with torch.no_grad():
        teacher.log_odds.fill_(-9.0)
    effects = {"flip": (0.1, 0.02), "gamma": (-0.0312, math.nan)}
    policy = teacher.policy(1.0, effects)
    assert (policy["flip"]["effect"], policy["flip"]["standard_error"]) == (0.1, 0.02)
    assert math.isnan(policy["noise"]["effect"]) and "effect" not in teacher.policy()["flip"]
    _, flip, gamma, noise = teacher.policy_table(1.0, effects).splitlines()
    assert flip.split()[3:] == ["probability", "0.02", "0.02", "+0.100", "±", "0.020", "turned", "down"]
    assert gamma.split()[-4:] == ["1.00", "-0.031", "±", "–"]
    assert noise.split()[-4:] == ["1.00", "–", "±", "–"]


def test_effects_of_operations_that_there_are_not_are_refused():
    with pytest.raises(ConfigurationError, match="effects has zoom, mirror"):
        PolicyTeacher(2, 1, 2, include=["flip"]).policy(1.0, {"zoom": (0.0, 0.0), "mirror": (0.0, 0.0)})


def test_without_flips_and_quarter_turns_there_is_no_choice_to_learn():
    teacher = PolicyTeacher(2, 1, 2, exclude=["flip", "quarter_turn"])
    assert teacher.choice_log_probability(teacher.draw_latents(3, (1, 4, 4)), (1, 4, 4), 1.0).tolist() == [0, 0, 0]
    assert list(teacher.log_odds.shape) == [0]
