# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from monai_gmcl.benchmark import data_sets
from monai_gmcl.benchmark.data_sets import DataOptions, Images
from monai_gmcl.benchmark.label_kinds import BATCH
from monai_gmcl.benchmark.student_run import Setup, StudentRun
from monai_gmcl.engines import GMCLTrainer
from studies.grid import read_rows
from studies.wrong_labels.arms import ARMS
from studies.wrong_labels.audit import NEEDED as OF_AUDITS
from studies.wrong_labels.audit import audit, measures
from studies.wrong_labels.noise import MOST_TRUSTED, LabeledSet, draw
from studies.wrong_labels.peers import learning_to_reweight
from studies.wrong_labels.run import NEEDED, Job, run
from studies.wrong_labels.weights_by_mark import WeightsByMark
from studies.wrong_labels.wrong_lessons import (
    WEIGHTINGS,
    _with_foreign,
    flipped,
    foreign,
)

OPTIONS = DataOptions("nowhere", 1, size=12)


def images_of(n: int, seed: int) -> Any:
    labels = torch.arange(n) % 2
    return torch.rand(n, 1, 12, 12, generator=torch.Generator().manual_seed(seed)), labels


def labeled_set() -> LabeledSet:
    images, labels = images_of(40, 0)
    false = torch.arange(40) % 10 < 3
    return LabeledSet((images, torch.where(false, 1 - labels, labels)), labels, images_of(34, 1))


def run_of(arm: str, steps: int = 3) -> StudentRun:
    data = labeled_set()

    def build(setup: Setup) -> Any:
        return ARMS[arm].build(setup, data, 0.3)

    run = StudentRun(build, OPTIONS, data.every, data.trusted, 0, steps)
    run.run()
    return run


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_trains_a_student_with_the_passes_that_it_says(arm: str) -> None:
    run = run_of(arm)
    assert run.trainer.state.iteration == 3
    assert isinstance(run.trainer, GMCLTrainer) == arm.startswith(("ours", "augmented"))
    # Those of co-teaching's second student, and of the second derivatives of reweighting, are not seen from outside.
    unseen = 1 if arm in ("co_teaching", "reweight") else 0
    assert run.passes_per_step == BATCH * (ARMS[arm].passes - unseen)


@pytest.mark.parametrize(
    ("arm", "trusted", "false"), [("right", 34, 0), ("equal", 34, 12), ("trusted_alone", 34, 0), ("ours", 0, 12)]
)
def test_an_arm_trains_on_the_labels_that_it_is_given(arm: str, trusted: int, false: int) -> None:
    data = labeled_set()
    loader: Any = run_of(arm).trainer.data_loader
    learned = loader.dataset
    assert learned.images.shape[0] == trusted + (0 if arm == "trusted_alone" else 40)
    if arm != "trusted_alone":
        assert int((learned.known[0][:40] != data.right).sum()) == false


class Numbered:
    """Images whose first pixel is their number; odd ones are of class 1 and lighter, save every tenth."""

    task = SimpleNamespace(learning_rate=4e-3)
    options = DataOptions("nowhere", 1, size=8)

    def draw(self, n: int, seed: int) -> tuple[Images, Images]:
        labels = torch.arange(n + 40) % 2
        images = torch.rand(n + 40, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) / 2
        looks = torch.where(torch.arange(n + 40) // 2 % 10 == 0, 1 - labels, labels)
        images += looks.view(-1, 1, 1, 1) / 2
        images[:, 0, 0, 0] = torch.arange(n + 40) / 1000
        order = torch.cat([(labels[:n] == c).nonzero()[:, 0] for c in (0, 1)])
        return (images[order], labels[order]), (images[n:], labels[n:])


def drawn(noise: str, share: float, trusted: int = 10, seed: int = 3) -> Any:
    return draw(Numbered(), 60, trusted, noise, share, seed)  # type: ignore[arg-type]


def numbers(images: torch.Tensor) -> set[int]:
    return set((images[:, 0, 0, 0] * 1000).round().int().tolist())


@pytest.mark.parametrize("noise", ["uniform", "by_class", "by_difficulty"])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_exactly_the_share_of_labels_is_false_and_no_trusted_one(noise: str, share: float) -> None:
    labeled, _ = drawn(noise, share)
    false = labeled.doubtful[1] != labeled.right
    assert int(false.sum()) == round(share * (30 if noise == "by_class" else 60))
    for images, labels in ((labeled.doubtful[0], labeled.right), labeled.trusted):
        assert [int(label) for label in labels] == [round(float(i[0, 0, 0]) * 1000) % 2 for i in images]
    if noise == "by_class":
        assert set(labeled.right[false].tolist()) <= {1}


def test_false_labels_by_difficulty_are_on_images_that_look_like_the_other_class() -> None:
    labeled, _ = drawn("by_difficulty", 0.1)
    looks = (labeled.doubtful[0][:, 0, 1:].mean((1, 2)) > 0.5).long()
    false, odd = labeled.doubtful[1] != labeled.right, looks != labeled.right
    assert int(false.sum()) == int(odd.sum()) == 6 and int((false & odd).sum()) >= 4


def test_parts_share_no_image_and_more_trusted_images_change_no_other() -> None:
    few, held_out = drawn("uniform", 0.3, trusted=5)
    many, _ = drawn("uniform", 0.3, trusted=MOST_TRUSTED)
    parts = [numbers(images) for images in (many.doubtful[0], many.trusted[0], held_out[0])]
    assert len(set.union(*parts)) == sum(map(len, parts)) and list(map(len, parts)) == [60, MOST_TRUSTED, 40]
    assert few.trusted[1].bincount().tolist() == [3, 2] and numbers(few.trusted[0]) <= parts[1]
    assert all(torch.equal(one, other) for one, other in zip(few.doubtful, many.doubtful, strict=True))


@pytest.mark.parametrize(
    ("arm", "passes", "steps"), [("equal", 400, 100), ("co_teaching", 200, 100), ("ours", 100, 100)]
)
def test_arms_have_as_many_passes_or_as_many_steps(arm: str, passes: int, steps: int) -> None:
    for equal, wanted in (("passes", passes), ("steps", steps)):
        assert Job("pcam", 400, 100, "uniform", 0.3, 0, arm, "held_out", 100, equal).student_steps == wanted


def test_a_study_goes_on_where_its_rows_end(
    real_data: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = str(real_data("pneumonia").parent), tmp_path / "rows.jsonl"
    own: dict[str, Any] = {"data": "pneumonia", "n": 40, "trusted": 25, "seeds": [7], "steps": 2, "out": str(out)}
    run(root, arms="equal", shares=[0, 0.3], noises="uniform,by_class", **own)
    first = read_rows(out, NEEDED)
    run(root, arms="equal,ours", shares=[0, 0.3], noises="uniform,by_class", equal="passes,steps", **own)
    rows = read_rows(out, NEEDED)
    assert rows[:3] == first and "9 runs, 3 of them done" in capsys.readouterr().out
    assert len({str(row["settings"]) for row in rows}) == 9
    wrong = {"uniform": round(0.3 * 40), "by_class": round(0.3 * 20)}
    for row in rows:
        own = row["settings"]
        assert row["false"] == (wrong[own["noise"]] if own["share"] else 0)
        assert set(row["auc"]) == {"chosen", "final", "ema_chosen", "ema_final"}
        assert all(0 <= value <= 1 for value in row["auc"].values())


def test_students_that_know_the_classes_rank_and_count_false_labels_rightly() -> None:
    right = torch.arange(200) % 2
    given = torch.where(torch.arange(200) % 10 < 3, 1 - right, right)
    sure = torch.linspace(0.6, 0.99, 200, dtype=torch.float64)
    known = torch.where(right == 1, sure, 1 - sure)
    found = measures(torch.stack([1 - known, known], 1), given, right)
    assert found["ranking"] == found["precision"] == found["students"] == 1
    assert found["share"] == pytest.approx(0.3, abs=0.05) and found["low"] <= found["share"] <= found["high"]
    assert measures(torch.stack([known, 1 - known], 1), given, right)["ranking"] == 0


@pytest.mark.parametrize("variant", ["default", "standard_trusted"])
def test_an_audit_is_run_once(
    variant: str, real_data: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = str(real_data("pneumonia").parent), tmp_path / "rows.jsonl"
    for _ in range(2):
        own: dict[str, Any] = {"data": "pneumonia", "n": 20, "max_epochs": 1, "seeds": [7], "out": str(out)}
        audit(root, variants=variant, **own)
    (row,) = read_rows(out, OF_AUDITS)
    assert row["epochs"] == 1 and set(row["auc"]) >= {"ranking", "precision", "share"}
    assert "1 runs, 1 of them done" in capsys.readouterr().out


def test_reweighting_learns_from_images_that_trusted_ones_agree_with_alone() -> None:
    torch.manual_seed(0)
    network = nn.Linear(2, 2, bias=False)
    nn.init.zeros_(network.weight)
    images = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    given = torch.tensor([0, 1])
    trusted: Any = DataLoader(TensorDataset(images[:1], given[:1]), batch_size=1)
    trainer = learning_to_reweight(
        {
            "device": "cpu",
            "max_epochs": 1,
            "train_data_loader": [(images, given)],
            "network": network,
            "optimizer": torch.optim.SGD(network.parameters(), lr=1.0),
            "loss_function": nn.CrossEntropyLoss(),
            "decollate": False,
        },
        trusted,
    )
    trainer.run()
    # The first image's own step, as if it had the weight 1; the second one's label is refused.
    torch.testing.assert_close(network.weight.detach(), torch.tensor([[0.5, 0.0], [-0.5, 0.0]]))


WAYS = ("own images", "30 % foreign")


@pytest.fixture
def few_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_sets, "HELD_OUT", 20)


def rows_of(report: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in report.read_text().splitlines()]


@pytest.mark.usefixtures("few_held_out")
def test_flipped_labels_are_compared_with_right_ones(folder: Path, tmp_path: Path, capsys: Any) -> None:
    report = tmp_path / "runs.jsonl"
    flipped(str(folder), n=20, trusted=8, seeds=1, steps=6, report=str(report), channels=1, size=16)
    rows = rows_of(report)
    assert [row["way"] for row in rows] == [
        "right labels, all equal",
        "right labels, by the look-ahead",
        "30 % flipped, all equal",
        "30 % flipped, by the look-ahead",
    ]
    assert [math.isnan(row["told_apart"]) for row in rows] == [True, True, False, False]
    assert rows[2]["told_apart"] == 0.5
    assert all(0 <= row[name] <= 1 for row in rows for name in ("chosen", "final"))
    assert "30 % flipped, by the look-ahead" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.usefixtures("few_held_out")
def test_foreign_images_are_compared_with_own_ones(elsewhere: bool, folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "runs.jsonl"
    others = str(folder / "test") if elsewhere else None
    foreign(str(folder), others, n=20, seeds=[1], steps=6, report=str(report), channels=1, size=16)
    rows = rows_of(report)
    assert [row["way"] for row in rows] == [f"{pool}, {name}" for pool in WAYS for name in WEIGHTINGS]
    assert [math.isnan(row["told_apart"]) for row in rows] == [True] * 4 + [False] * 4
    assert {row["seed"] for row in rows} == {1}


def test_three_of_ten_images_are_replaced_and_marked() -> None:
    own, others = torch.zeros(20, 1, 4, 4), torch.full((3, 1, 4, 4), 0.5)
    pool, marks = _with_foreign(own, others, seed=0)
    assert (marks == 0).sum() == 6
    assert torch.equal(pool[marks == 0], torch.full((6, 1, 4, 4), 0.5))
    assert torch.equal(pool[marks == 1], own[:14])
    noise = _with_foreign(own, None, seed=0)[0][marks == 0]
    assert noise.std() > 0.2 and noise.min() >= 0 and noise.max() <= 1
    assert torch.equal(own, torch.zeros_like(own))


def lesson_of(sources: torch.Tensor, weights: torch.Tensor) -> Any:
    return SimpleNamespace(sources=sources, weights=weights)


def test_weights_are_kept_with_the_marks_of_the_images_that_lessons_are_made_from() -> None:
    images = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    watched = WeightsByMark()
    watched.know(images[:4], torch.tensor([0, 1, 0, 1]))
    watched.observe(lesson_of(images[[5, 3, 0, 1]], torch.tensor([9.0, 1.0, 2.0, 3.0])))
    ((marks, weights),) = watched.seen
    assert marks.tolist() == [1, 0, 1] and weights.tolist() == [1.0, 2.0, 3.0]


def test_weights_that_follow_the_marks_tell_them_apart_after_the_first_quarter() -> None:
    marks = torch.tensor([0, 0, 1, 1])
    watched = WeightsByMark()
    watched.seen = [(marks, 1 - marks.float()), *[(marks, marks.float())] * 3]
    assert watched.told_apart() == 1.0
