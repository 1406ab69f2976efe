# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.networks.nets import BasicUNet, SegResNet, UNet
from torch import Tensor, nn

from monai_gmcl import ExactHypergradient, HeadHypergradient
from monai_gmcl.exceptions import HeadNotFoundError
from monai_gmcl.lesson import HeadActivation

Relative = Callable[[Tensor, Tensor], float]


@pytest.mark.usefixtures("float64_focal")
@pytest.mark.parametrize(
    ("optimizer", "loss", "head", "bias"),
    [
        ("nesterov", "cross-entropy", "linear", True),
        ("adamw", "class weights", "convolution", False),
        ("nesterov", "label smoothing", "convolution", True),
        ("adamw", "focal", "linear", False),
        ("nesterov", "one logit", "convolution", False),
        ("adamw", "multi-label", "linear", True),
    ],
)
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


def chosen(
    student: nn.Module, images: Tensor, head: str | None = None, trained: list[str] | None = None, masks: bool = False
) -> HeadActivation:
    """What is noted of the head of a student that labels images, or every pixel."""
    names = [name for name, _ in student.named_parameters()] if trained is None else trained
    estimator = HeadHypergradient(head)
    with estimator.record_head(student, names) as seen:
        outputs = student(images)
    outputs = outputs if masks else outputs.flatten(2).mean(2) if outputs.ndim > 2 else outputs
    return estimator.choose(seen, outputs, outputs.flatten(1).mean(1))


def test_the_head_is_the_last_trained_linear_layer_that_runs_or_the_one_that_is_named() -> None:
    student = nn.Sequential(nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4, 3), nn.Linear(3, 3))
    last = chosen(student, torch.rand(2, 2, 3, 3))
    assert last.name == "4" and last.weight is student[4].weight
    assert torch.equal(last.outputs, student[4](last.inputs))
    two = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3))
    assert chosen(two, torch.rand(2, 4), trained=["0.weight", "0.bias"]).name == "0"
    assert chosen(two, torch.rand(2, 4), head="0").name == "0"


@pytest.mark.parametrize(
    "other", [{"kernel_size": 3}, {"stride": 2}, {"padding": 1}, {"groups": 2}], ids=lambda o: next(iter(o))
)
def test_a_convolution_that_mixes_skips_or_pads_pixels_is_no_head(other: dict[str, int]) -> None:
    student = nn.Sequential(nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, **{"kernel_size": 1, **other}))
    assert chosen(student, torch.rand(2, 2, 4, 4)).name == "0"


def test_watching_leaves_no_hooks_behind() -> None:
    student = nn.Sequential(nn.Linear(4, 3))
    with HeadHypergradient().record_head(student, ["0.weight"]) as seen:
        student(torch.rand(2, 4))
    student(torch.rand(3, 4))
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("head", "wanted"), [(None, "a trained linear layer or 1 x 1 convolution"), ("fc", "a trained layer 'fc'")]
)
def test_a_head_that_does_not_run_is_refused_with_a_remedy(head: str | None, wanted: str) -> None:
    student = nn.Sequential(nn.Conv2d(2, 3, 3))
    with pytest.raises(HeadNotFoundError, match=rf"needs {wanted}.*, but the student has none.*ExactHypergradient"):
        chosen(student, torch.rand(1, 2, 3, 3), head=head)


def test_a_head_that_runs_twice_is_refused_with_a_remedy() -> None:
    """The gradient of either run alone would be only a part of the head's."""
    head = nn.Linear(4, 4)
    with pytest.raises(HeadNotFoundError, match=r"the student called '0' 2 times.*use ExactHypergradient\(\)"):
        chosen(nn.Sequential(head, nn.SiLU(), head), torch.rand(2, 4))


class Shortcut(nn.Module):
    """Ends as MONAI's residual units do: a convolution, and what went into it."""

    def __init__(self, after: nn.Module) -> None:
        super().__init__()
        self.shortcut, self.last, self.after = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 3, padding=1), after

    def forward(self, images: Tensor) -> Tensor:
        return self.after(self.last(images) + self.shortcut(images))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("student", "head"),
    [
        (nn.Sequential(nn.Conv2d(2, 4, 1), nn.PReLU(), nn.Conv2d(4, 3, 3, padding=1)), "2"),
        (nn.Sequential(nn.Conv2d(2, 4, 1), nn.PReLU(), nn.ConvTranspose2d(4, 3, 3, 2, 1, 1)), "2"),
        (nn.Sequential(nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 3), nn.Upsample(scale_factor=2, mode="bilinear")), "1"),
        (Shortcut(nn.Identity()), "shortcut"),
        (UNet(2, 2, 3, (4, 8), (2,)), "model.2.conv"),
        (UNet(2, 2, 3, (4, 8, 8), (2, 2), num_res_units=2), "model.2.1.conv.unit0.conv"),
        (BasicUNet(2, 2, 3, (4, 4, 4, 4, 4, 4)), "final_conv"),
        (SegResNet(2, 8, 2, 3, blocks_down=(1, 1), blocks_up=(1,)), "conv_final.2.conv"),
    ],
    ids=["3 x 3", "transposed", "resized", "shortcut", "UNet", "UNet, residual", "BasicUNet", "SegResNet"],
)
def test_a_students_head_for_masks_is_the_last_convolution_whose_output_is_its_own(student: Any, head: str) -> None:
    assert chosen(student, torch.rand(2, 2, 32, 32), masks=True).name == head


@pytest.mark.parametrize(
    "last", [nn.PReLU(), nn.ReLU(), nn.InstanceNorm2d(2), nn.Sigmoid(), nn.Softmax(1)], ids=lambda m: type(m).__name__
)
def test_a_shortcut_deep_in_the_network_is_no_head_for_masks(last: nn.Module) -> None:
    student = Shortcut(last)
    with pytest.raises(HeadNotFoundError, match=r"affine map, but.*HeadHypergradient\(head=\.\.\.\).*FiniteDifference"):
        chosen(student, torch.rand(2, 2, 8, 8), masks=True)
    assert chosen(student, torch.rand(2, 2, 8, 8), head="last", masks=True).name == "last"
