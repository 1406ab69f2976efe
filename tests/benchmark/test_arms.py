# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from monai_gmcl.benchmark.arm import Arm
from monai_gmcl.benchmark.arms import ARMS, arms_of
from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.benchmark.label_kinds import BATCH
from monai_gmcl.benchmark.student_run import StudentRun
from monai_gmcl.exceptions import ConfigurationError

OPTIONS = DataOptions("shades", 3, size=16, centered=True)


def labeled(n: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 2


BATCHES = dict.fromkeys(("standard", "strong", "trivial_augment"), 1)
"""Batches that the student looks at in a step: with lessons 2."""


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_trains_the_same_student_on_the_same_number_of_real_images(name: str) -> None:
    seen: list[int] = []
    runs = []
    for _ in range(2):
        run = StudentRun(ARMS[name].build, OPTIONS, labeled(), labeled(), seed=3, steps=4)
        before = {key: value.clone() for key, value in run.network.state_dict().items()}
        run.run()
        seen.append(run.passes_per_step)
        runs.append(run)
    assert seen == [BATCHES.get(name, 2) * BATCH] * 2
    assert any(not torch.equal(before[key], value) for key, value in run.weights["final"].items())
    assert all(torch.equal(a, b) for a, b in zip(*(run.weights["final"].values() for run in runs), strict=True))


def run_of(name: str, steps: int = 4) -> Any:
    run = StudentRun(ARMS[name].build, OPTIONS, labeled(), labeled(), seed=0, steps=steps)
    run.run()
    return run.trainer


def test_only_the_arm_that_learns_changes_its_teacher() -> None:
    # Evidence is gathered for 20 steps before anything moves.
    shares = {name: run_of(name, steps=40).teacher.shares for name in ("frozen", "gmcl")}
    assert torch.equal(shares["frozen"], torch.ones_like(shares["frozen"]))
    assert not torch.equal(shares["gmcl"], shares["frozen"])


def test_a_teacher_of_centered_images_does_not_move_them() -> None:
    run = StudentRun(ARMS["gmcl"].build, OPTIONS, labeled(), labeled(), seed=0, steps=1)
    names = set(run.trainer.teacher.policy())  # type: ignore[union-attr, operator]
    assert "rotation" in names and not names & {"shift", "zoom"}


VOLUMES = DataOptions("volumes", 1, size=12, spatial_dims=3, classes=3)


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_trains_on_volumes_of_three_classes(name: str) -> None:
    images = torch.rand(24, 1, 12, 12, 12, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 3
    run = StudentRun(ARMS[name].build, VOLUMES, images, images, seed=0, steps=3)
    run.run()
    probabilities = run.probabilities("final", images[0])
    assert probabilities.shape == (24, 3) and probabilities.isfinite().all()


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that can be imported, with arms and something else in it."""
    lines = ["from dataclasses import replace", "from monai_gmcl.benchmark.arms import ARMS"]
    lines += [
        "MINE = replace(ARMS['standard'], title='mine')",
        "PLAIN = replace(ARMS['gmcl'], title='plain')",
        "SIZE = 3",
    ]
    (tmp_path / "arms_of_somebody.py").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "broken_arms.py").write_text("import no_such_package_at_all\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield "arms_of_somebody"
    sys.modules.pop("arms_of_somebody", None)


def test_arms_of_ones_own_are_known_by_module_and_name(own_module: str) -> None:
    found = arms_of(["gmcl", f"{own_module}:MINE", f"{own_module}:PLAIN", f"{own_module}:MINE_tuned_within_budget"])
    assert list(found) == [*ARMS, f"{own_module}:MINE", f"{own_module}:PLAIN"]
    assert all(isinstance(arm, Arm) for arm in found.values()) and found[f"{own_module}:MINE"].title == "mine"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no_such_module:ARM", "'no_such_module:ARM' cannot be imported: No module named"),
        ("broken_arms:ARM", "'broken_arms:ARM' cannot be imported: No module named 'no_such_package_at_all'"),
        ("arms_of_somebody:YOURS", "'arms_of_somebody:YOURS' cannot be imported: .*no attribute 'YOURS'"),
        ("arms_of_somebody:", "'arms_of_somebody:' cannot be imported"),
        (":MINE", "':MINE' cannot be imported"),
        ("arms_of_somebody:SIZE", "to be a monai_gmcl.benchmark.arm.Arm, found int"),
    ],
)
@pytest.mark.usefixtures("own_module")
def test_what_is_no_arm_is_named(name: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        arms_of(["gmcl", name])
