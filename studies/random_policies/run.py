# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""How much a teacher could gain by learning its policy: students of frozen teachers with policies drawn at random.

``python -m studies.random_policies.run run --data_dir ../shared/data/pcam --crop 64 --size 32 --centered
--report FILE`` trains, ``... summary --report FILE`` (needs ``monai_gmcl[benchmark]``) tells how far AUC depends on
the policy at all, and what the policies gain that a model, fitted on other seeds and numbers of images, takes for the
best. AUC is measured on 2,000 images of ``train`` that the seed did not draw; ``test`` is not read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fire
import numpy as np
import torch
from monai.data.meta_obj import set_track_meta
from monai.engines.trainer import Trainer

from monai_gmcl.benchmark.arms import gmcl_arm, policy_teacher
from monai_gmcl.benchmark.data_sets import BenchmarkData, DataOptions
from monai_gmcl.benchmark.student_run import Setup, StudentRun
from monai_gmcl.engines.batches import derive_seed
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.metrics.classification import mean_auc
from monai_gmcl.teachers import PolicyTeacher
from studies.json_lines import append_row, read_rows

__all__ = ["run", "summary"]

SPREAD = 0.9
"""Standard deviation of the logarithm of a share before the teacher bounds it: two thirds lie between .5 and 2."""
DIFFICULTIES = (0.4, 4.0)
BEST = 0.1
"""Share of the policies that are looked at as the best."""
PENALTY = 10.0
"""Of the ridge regression; as strong as ten policies' worth of evidence for no influence."""


def run(
    data_dir: str,
    n: int | Sequence[int] = (100, 500),
    seeds: int | Sequence[int] = (50, 51),
    policies: int = 12,
    steps: int = 400,
    report: str | None = None,
    device: str = "cpu",
    **options: Any,
) -> None:
    """Train with the usual policy and with random ones; goes on where its report stopped.

    Args:
        data_dir: folder with class folders in ``train`` and ``valid``.
        n: labeled images in all, one number or several.
        seeds: which, or one.
        policies: random ones for each n and seed.
        steps: student steps.
        report: file of a JSON object a line: n, seed, policy (0: the usual one), difficulty, shares and AUC.
        device: where to train.
        **options: of :class:`monai_gmcl.benchmark.data_sets.DataOptions`.
    """
    torch.set_num_threads(1)
    set_track_meta(False)
    data = BenchmarkData(DataOptions(str(data_dir), **options))
    done = (
        {(row["n"], row["seed"], row["policy"]) for row in read_rows(report)}
        if report and Path(report).exists()
        else set()
    )
    for seed in [seeds] if isinstance(seeds, int) else seeds:
        for number in [n] if isinstance(n, int) else n:
            labeled, held_out = data.draw(number // data.options.classes, seed)
            for policy in range(policies + 1):
                if (number, seed, policy) in done:
                    continue
                teacher = policy_teacher(data.options)
                difficulty = _draw(teacher, seed, len(labeled[0]), policy) if policy else 1.0
                build = _frozen(teacher, difficulty)
                student = StudentRun(build, data.options, labeled, data.choosing, seed, steps, device=device)
                student.run()
                auc = {
                    w: round(mean_auc(student.probabilities(w, held_out[0]), held_out[1]), 4) for w in student.weights
                }
                shares = {name: round(row["share"], 3) for name, row in teacher.policy().items()}
                drawn = {"difficulty": round(difficulty, 3), "shares": shares}
                append_row({"n": number, "seed": seed, "policy": policy, **drawn, **auc}, report)


def _draw(teacher: PolicyTeacher, *seed: int) -> float:
    """Draw a policy for a teacher, and return the difficulty that belongs to it."""
    # Another one for each seed and n: only so can influences be told apart.
    generator = torch.Generator().manual_seed(derive_seed(*seed))
    low, high = map(math.log, DIFFICULTIES)
    difficulty = math.exp(low + (high - low) * float(torch.rand((), generator=generator)))
    with torch.no_grad():
        teacher.log_share.copy_(SPREAD * torch.randn(len(teacher.log_share), generator=generator))
    return difficulty


def _frozen(teacher: PolicyTeacher, difficulty: float) -> Callable[[Setup], Trainer]:
    return gmcl_arm(lambda _: teacher, learned=False, difficulty=difficulty)


def summary(report: str) -> None:
    """Print, for each kind of weights, what AUC owes to the policy.

    A cell is an n and a seed. ``spread`` is the standard deviation of AUC within cells, ``random`` the mean of random
    policies minus the usual one, with its standard error. A ridge regression of AUC on the logarithms of shares and
    difficulty, and on the square of that, is fitted on all cells but one and predicts that one: ``explained`` is the
    share of the variance within cells, below 0 where the predictions are worse than the mean; ``best`` the mean of the
    tenth that is predicted best, minus the usual policy.

    Args:
        report: of :func:`run`, at least two cells.

    Raises:
        ConfigurationError: fewer cells.
    """
    # Here: only reports need scikit-learn.
    from sklearn.linear_model import Ridge
    from sklearn.metrics import r2_score
    from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict

    rows = read_rows(report)
    usual = {(row["n"], row["seed"]): row for row in rows if row["policy"] == 0}
    drawn = [row for row in rows if row["policy"] > 0 and (row["n"], row["seed"]) in usual]
    places = {cell: place for place, cell in enumerate(sorted(usual))}
    cells = np.array([places[row["n"], row["seed"]] for row in drawn])
    count = len(set(cells.tolist()))
    if count < 2:
        raise ConfigurationError(f"Expected random policies and the usual one in two cells or more in '{report}'.")
    logarithms = np.log([[row["difficulty"], *row["shares"].values()] for row in drawn])
    inputs = _centered(np.column_stack([logarithms, logarithms[:, 0] ** 2]), cells)
    print(f"{len(drawn)} policies in {count} cells")
    print(f"{'weights':<12}" + "".join(f"{name:>18}" for name in ("spread", "random", "explained", "best")))
    for weights in ("chosen", "final", "ema_chosen", "ema_final"):
        auc = np.array([row[weights] for row in drawn])
        gain = auc - np.array([usual[row["n"], row["seed"]][weights] for row in drawn])
        wanted = _centered(auc, cells)
        predicted = cross_val_predict(
            Ridge(PENALTY, fit_intercept=False), inputs, wanted, groups=cells, cv=LeaveOneGroupOut()
        )
        best = np.argsort(-predicted)[: max(2, round(BEST * len(drawn)))]
        numbers = f"{wanted.std():>18.4f}{_mean(gain):>18}{r2_score(wanted, predicted):>18.2f}{_mean(gain[best]):>18}"
        print(f"{weights:<12}{numbers}")


def _centered(values: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Values ``(N, ...)`` minus the mean of their cell."""
    means: np.ndarray = np.stack([values[cells == cell].mean(0) for cell in cells])
    centered: np.ndarray = values - means
    return centered


def _mean(values: np.ndarray) -> str:
    """Mean and its standard error."""
    return f"{values.mean():+.4f} ± {values.std(ddof=1) / len(values) ** 0.5:.4f}"


if __name__ == "__main__":
    fire.Fire({"run": run, "summary": summary})
