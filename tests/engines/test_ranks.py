# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import monai_gmcl
from monai_gmcl.engines.checks import check_epoch_lengths, check_ranks
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.hypergradients import (
    ExactHypergradient,
    FiniteDifferenceHypergradient,
    HeadHypergradient,
    UnrolledHypergradient,
)
from monai_gmcl.ranks import Ranks

SCRIPT = Path(__file__).with_name("rank_runs.py")
_spec = importlib.util.spec_from_file_location("rank_runs", SCRIPT)
assert _spec is not None and _spec.loader is not None
rank_runs = importlib.util.module_from_spec(_spec)
sys.modules["rank_runs"] = rank_runs
_spec.loader.exec_module(rank_runs)


def start(script: Path, folder: Path, ranks: int = 2) -> list[subprocess.Popen[str]]:
    """Start all ranks of a script."""
    path = os.pathsep.join([str(Path(monai_gmcl.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", str(script), str(folder), str(rank), str(ranks), str(folder / "meeting")],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes end with, for each case."""
    folder = tmp_path_factory.mktemp("ranks")
    for process in start(SCRIPT, folder):
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def farthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max(float((one[name] - other[name]).abs().max() / other[name].abs().max().clamp_min(1e-3)) for name in one)


@pytest.mark.parametrize("name", list(rank_runs.CASES))
def test_two_ranks_train_what_one_process_trains_on_the_joined_batches(
    name: str, ranks: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = rank_runs.CASES[name]
    joined = rank_runs.run(case, None, monkeypatch)
    precise = 1e-10 if case.dtype == torch.float64 else 5e-5
    if case.weighed is FiniteDifferenceHypergradient:
        # Divided by the step, rounding is no longer the last digit; scores of flips, less their mean, lose another.
        precise = 1e-6
    assert joined["steps"] == ranks[0][name]["steps"] == {1: 50, 3: 20}[case.accumulation]
    for part in ("student", "teacher"):
        assert farthest(ranks[0][name][part], joined[part]) <= precise
    assert ranks[0][name]["gradient_norm"] == pytest.approx(joined["gradient_norm"], rel=1e3 * precise)
    average = joined["curriculum"]["difficulty"]["average"]
    assert ranks[0][name]["curriculum"]["difficulty"]["average"] == pytest.approx(average, rel=1e-5)
    assert ranks[0][name]["curriculum"]["class_sampler"] == joined["curriculum"]["class_sampler"]


OTHERS = ("running statistics", "unlabeled", "unlabeled masks", "resumed", "resumed, unlabeled")


@pytest.mark.parametrize("name", [*rank_runs.CASES, *OTHERS])
def test_all_ranks_have_the_same_weights_and_the_same_curriculum(name: str, ranks: list[dict[str, Any]]) -> None:
    first, second = (rank[name] for rank in ranks)
    for part in ("student", "teacher"):
        assert all(torch.equal(first[part][key], second[part][key]) for key in first[part])
    assert first["curriculum"] == second["curriculum"]


def test_a_resumed_run_takes_all_steps_and_ends_near_the_uninterrupted_one(ranks: list[dict[str, Any]]) -> None:
    resumed, whole = ranks[0]["resumed"], ranks[0]["head"]
    assert resumed["steps"] == whole["steps"] == 50
    # Lessons' sources begin anew, so that it is not the same run.
    assert 0 < farthest(resumed["student"], whole["student"]) < 0.5


def test_all_ranks_propose_labels_by_the_same_average_also_after_a_resumption(ranks: list[dict[str, Any]]) -> None:
    def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
        return one.keys() == other.keys() and all(torch.equal(*map(torch.as_tensor, (one[k], other[k]))) for k in one)

    first, second = ranks
    for name in ("unlabeled", "unlabeled masks", "resumed, unlabeled"):
        assert first[name]["labeler"] and same(first[name]["labeler"], second[name]["labeler"])
    for rank in ranks:
        run = rank["resumed, unlabeled"]
        assert same(run["labeler_before"], run["labeler_begun"])


def test_no_rank_waits_for_its_device_in_nine_of_ten_steps(ranks: list[dict[str, Any]]) -> None:
    assert [rank["steps without waiting"] for rank in ranks] == [9, 9]


def test_the_teacher_has_learned_and_the_cases_differ(ranks: list[dict[str, Any]]) -> None:
    ends = [ranks[0][name]["teacher"]["log_share"] for name in ("head", "exact", "hard", "weighed", "meta")]
    assert all(end.abs().max() > 1e-3 for end in ends)
    assert len({tuple(end.tolist()) for end in ends}) == len(ends)


class Two(Ranks):
    """The first of two ranks, of which the other one has the same, or as many batches as it is told."""

    def __init__(self, batches_of_other: int = 0) -> None:
        self.size, self.index = 2, 0
        self.batches_of_other = batches_of_other

    def lengths(self, own: int) -> list[int]:
        return [own, self.batches_of_other]


def test_ranks_that_would_wait_for_each_other_for_ever_are_an_error() -> None:
    check_epoch_lengths(Two(5), 5)
    check_epoch_lengths(Two(-1), None)
    with pytest.raises(ConfigurationError, match="as many batches in an epoch on every rank, got 5, 4"):
        check_epoch_lengths(Two(4), 5)


def test_what_several_ranks_cannot_do_is_refused_with_the_reason() -> None:
    plain, normalized = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.SyncBatchNorm(2))
    check_ranks(Two(), normalized, plain, HeadHypergradient(), FiniteDifferenceHypergradient())
    check_ranks(Two(), plain, plain, ExactHypergradient(), None)
    with pytest.raises(ConfigurationError, match="ExactHypergradient differentiates twice"):
        check_ranks(Two(), normalized, plain, None, ExactHypergradient())
    with pytest.raises(ConfigurationError, match="FiniteDifferenceHypergradient differentiates twice"):
        check_ranks(Two(), normalized, plain, FiniteDifferenceHypergradient(), None)
    with pytest.raises(ConfigurationError, match="would need the lessons of all 2 ranks"):
        check_ranks(Two(), plain, plain, UnrolledHypergradient(1), None)
    with pytest.raises(ConfigurationError, match="The teacher is wrapped in DataParallel"):
        check_ranks(Two(), plain, nn.DataParallel(plain), None, None)
    check_ranks(Ranks(), normalized, nn.DataParallel(plain), UnrolledHypergradient(1), None)
