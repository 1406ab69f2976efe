# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from monai_gmcl import ExactHypergradient, HeadHypergradient
from monai_gmcl.exceptions import HeadNotFoundError
from monai_gmcl.lesson import HeadActivation

Relative = Callable[[Tensor, Tensor], float]


@pytest.mark.usefixtures("float64_focal")
@pytest.mark.parametrize("optimizer", ["nesterov", "adamw"])
@pytest.mark.parametrize(
    "loss", ["cross-entropy", "class weights", "label smoothing", "focal", "one logit", "multi-label"]
)
@pytest.mark.parametrize("head", ["linear", "convolution"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_head_equals_the_exact_hypergradient_of_a_student_that_trains_only_its_head(
    optimizer: str, loss: str, head: str, bias: bool, witness: Any, relative: Relative, smooth_student: Any
) -> None:
    student = smooth_student(outputs=1 if loss == "one logit" else 3, bias=bias, head=head)
    lessons, look_ahead = witness(optimizer, loss=loss, student=student, only_head=True).heard()
    assert set(lessons[0].parameters) == ({"head.weight", "head.bias"} if bias else {"head.weight"})
    exact, worth = ExactHypergradient()(lessons, look_ahead)
    found, found_worth = HeadHypergradient()(lessons, look_ahead)
    assert relative(found, exact) < 1e-10
    assert relative(found_worth, worth) < 1e-10


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "dampening", "nesterov", "adam", "adam, decoupled", "adamw"])
def test_head_is_the_heads_share_where_the_whole_student_learns(
    optimizer: str, witness: Any, relative: Relative
) -> None:
    lessons, look_ahead = witness(optimizer).heard()
    share = {name: v for name, v in look_ahead.items() if name.startswith("head")}
    exact, worth = ExactHypergradient()(lessons, share)
    found, found_worth = HeadHypergradient()(lessons, look_ahead)
    assert relative(found, exact) < 1e-10
    assert relative(found_worth, worth) < 1e-10


def watched(student: nn.Module, images: Tensor, head: str | None = None, trained: list[str] | None = None) -> list[Any]:
    names = [name for name, _ in student.named_parameters()] if trained is None else trained
    with HeadHypergradient(head).record_head(student, names) as seen:
        student(images)
    return seen


def test_the_head_is_the_last_linear_layer_that_runs() -> None:
    student = nn.Sequential(nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4, 3), nn.Linear(3, 3))
    last: HeadActivation = watched(student, torch.rand(2, 2, 3, 3))[-1]
    assert last.name == "4" and last.weight is student[4].weight
    assert torch.equal(last.outputs, student[4](last.inputs))


def test_a_frozen_layer_is_no_head() -> None:
    student = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3))
    assert watched(student, torch.rand(2, 4), trained=["0.weight", "0.bias"])[-1].name == "0"


def test_the_head_can_be_named() -> None:
    student = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3))
    assert watched(student, torch.rand(2, 4), head="0")[-1].name == "0"


@pytest.mark.parametrize(
    "other", [{"kernel_size": 3}, {"stride": 2}, {"padding": 1}, {"groups": 2}], ids=lambda o: next(iter(o))
)
def test_a_convolution_that_mixes_skips_or_pads_pixels_is_no_head(other: dict[str, int]) -> None:
    student = nn.Sequential(nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, **{"kernel_size": 1, **other}))
    assert watched(student, torch.rand(2, 2, 4, 4))[-1].name == "0"


def test_watching_leaves_no_hooks_behind() -> None:
    student = nn.Sequential(nn.Linear(4, 3))
    seen = watched(student, torch.rand(2, 4))
    student(torch.rand(3, 4))
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("head", "wanted"), [(None, "a trained linear layer or 1 x 1 convolution"), ("fc", "a trained layer 'fc'")]
)
def test_a_head_that_does_not_run_is_refused_with_a_remedy(head: str | None, wanted: str) -> None:
    student = nn.Sequential(nn.Conv2d(2, 3, 3))
    with pytest.raises(HeadNotFoundError, match=rf"needs {wanted}, but Sequential ran none.*ExactHypergradient"):
        watched(student, torch.rand(1, 2, 3, 3), head=head)


def test_a_head_that_runs_twice_is_refused_with_a_remedy() -> None:
    """The gradient of either run alone would be only a part of the head's."""
    head = nn.Linear(4, 4)
    with pytest.raises(HeadNotFoundError, match="Sequential ran '0' 2 times. Use ExactHypergradient"):
        watched(nn.Sequential(head, nn.SiLU(), head), torch.rand(2, 4))
