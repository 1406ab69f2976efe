# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from monai_gmcl.benchmark import data_sets
from studies.random_policies.run import DIFFICULTIES, run, summary

WEIGHTS = ("chosen", "final", "ema_chosen", "ema_final")


@pytest.fixture(autouse=True)
def few_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_sets, "HELD_OUT", 20)


def rows_of(report: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in report.read_text().splitlines()]


def train(folder: Path, report: Path, policies: int = 2) -> None:
    run(str(folder), n=[8, 12], seeds=[3], policies=policies, steps=2, report=str(report), channels=1, size=8)


def test_each_cell_has_the_usual_policy_and_others_of_its_own(folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "policies.jsonl"
    train(folder, report)
    rows = rows_of(report)
    assert [(row["n"], row["policy"]) for row in rows] == [(n, policy) for n in (8, 12) for policy in (0, 1, 2)]
    for row in rows:
        logarithms = [math.log(share) for share in row["shares"].values()]
        assert all(math.log(1 / 50) <= logarithm <= math.log(2) for logarithm in logarithms)
        if row["policy"] == 0:
            assert row["difficulty"] == 1 and not any(logarithms)
        else:
            assert DIFFICULTIES[0] <= row["difficulty"] <= DIFFICULTIES[1] and max(logarithms) > 0.1
        assert all(0 <= row[weights] <= 1 for weights in WEIGHTS)
    drawn = [str(row["shares"]) for row in rows if row["policy"] > 0]
    assert len(set(drawn)) == len(drawn)


def test_it_goes_on_where_it_stopped_and_draws_the_same(folder: Path, tmp_path: Path) -> None:
    whole, halved = tmp_path / "whole.jsonl", tmp_path / "halved.jsonl"
    train(folder, whole, policies=1)
    lines = whole.read_text().splitlines()
    halved.write_text(lines[0] + "\n" + lines[3] + "\n")
    train(folder, halved, policies=1)
    assert sorted(halved.read_text().splitlines()) == sorted(lines)


def made(report: Path, influence: float, cells: int = 4) -> None:
    """Rows whose AUC depends on the share of blur, and on chance."""
    chance = random.Random(0)
    with report.open("w") as file:
        for cell in range(cells):
            for policy in range(41):
                blur = 1.0 if policy == 0 else math.exp(chance.gauss(0, 0.5))
                difficulty = 1.0 if policy == 0 else math.exp(chance.uniform(-1, 1))
                auc = 0.7 + 0.05 * cell + influence * math.log(blur) + chance.gauss(0, 0.005)
                row = {"n": 100, "seed": cell, "policy": policy, "difficulty": difficulty}
                file.write(
                    json.dumps({**row, "shares": {"blur": blur, "noise": 1 / blur}, **dict.fromkeys(WEIGHTS, auc)})
                )
                file.write("\n")


def table_of(capsys: Any) -> dict[str, list[float]]:
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["weights", "spread", "random", "explained", "best"]
    return {words[0]: [float(word) for word in words[1:] if word != "±"] for words in map(str.split, lines[2:])}


def test_a_policy_that_matters_is_found_in_cells_that_the_model_did_not_see(tmp_path: Path, capsys: Any) -> None:
    made(tmp_path / "rows.jsonl", influence=0.02)
    summary(str(tmp_path / "rows.jsonl"))
    spread, _, _, explained, best, error = table_of(capsys)["final"]
    assert 0.009 < spread < 0.014 and explained > 0.6
    # The mean of the highest tenth of a normal distribution lies 1.75 deviations above its mean.
    assert best == pytest.approx(1.75 * 0.5 * 0.02, abs=4 * error + 0.005)
