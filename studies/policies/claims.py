# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What the learned policy must reach, and what the rows say of it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from sklearn.metrics import roc_auc_score

from monai_gmcl.benchmark.report.formats import NONE, difference_text, short, signed
from studies.policies.arms import ARMS
from studies.policies.rows import WEIGHTS, Results
from studies.policies.tasks import TASKS

__all__ = ["Check", "claims", "ends", "harmful_auc"]

JUDGED = ("final", "chosen")
OTHERS = ("standard", "strong", "trivial_augment")
COMPARED = (*OTHERS, *(f"{name}_equal_compute" for name in OTHERS))
PAIRS = {"gmcl": "frozen", "gmcl_standard": "frozen_standard"}
"""Of controls: what GMCL is compared to, beside standard transforms."""
CHANGED = [name for name, task in TASKS.items() if not task.is_control]


@dataclass(frozen=True)
class Check:
    """One thing to reach.

    Attributes:
        number: of the claim.
        text: what is to be reached.
        found: what the rows say.
        met: None where they do not say.
        whole: whether all runs are there that the claim is about.
    """

    number: int
    text: str
    found: str
    met: bool | None
    whole: bool

    @property
    def verdict(self) -> str:
        """``met``, ``missed``, either of them ``so far``, or ``open``."""
        told = "open" if self.met is None else "met" if self.met else "missed"
        return told if self.whole or self.met is None else f"{told} so far"


def claims(results: Results) -> list[Check]:
    """Return all checks, those that the rows do not reach as open."""
    return [*_beside_teachers(results), *_beside_transforms(results), *_operations(results), *_controls(results)]


def ends(results: Results, task: str, arm: str = "gmcl") -> dict[str, list[float]]:
    """Return where each operation of a task ended in each run: its strength or probability, 1 as usual."""
    found: dict[str, list[float]] = {}
    for row in results.rows(task, arm):
        for name, end in row["policy"].items():
            found.setdefault(name, []).append(end["relative"])
    return found


def harmful_auc(results: Results, tasks: Sequence[str]) -> float | None:
    """Return the AUC of ``harmful`` by how weak an operation ended, over runs; unclear operations are left out."""
    scores, wanted = [], []
    for task in tasks:
        for name, values in ends(results, task).items():
            if name not in TASKS[task].unclear:
                scores += [-value for value in values]
                wanted += [name in TASKS[task].harmful] * len(values)
    return float(roc_auc_score(wanted, scores)) if len(set(wanted)) == 2 else None


def _beside_teachers(results: Results) -> list[Check]:
    found = []
    for weights, least in (("final", 0.04), ("chosen", 0.02)):
        text = f"GMCL − frozen at least {signed(least)}, interval above 0"
        found.append(_pooled(results, 1, text, "frozen", weights, least))
    for weights in JUDGED:
        text = "GMCL − frozen with competence, interval above 0"
        found.append(_pooled(results, 1, text, "competence", weights, 0.0))
    for weights in JUDGED:
        text = "GMCL at least the oracle, pooled"
        found.append(_pooled(results, 1, text, "oracle", weights, 0.0, above=False))
    for weights in JUDGED:
        text = "GMCL within .01 of the oracle in each task"
        found.append(_worst(results, 1, text, weights, -0.01, ["oracle"], CHANGED))
        found.append(_worst(results, 1, "GMCL in no task below none", weights, 0.0, ["none"], CHANGED))
    return found


def _beside_transforms(results: Results) -> list[Check]:
    found = []
    for other in COMPARED:
        for weights in JUDGED:
            text = f"GMCL − {ARMS[other].title}, interval above 0"
            found.append(_pooled(results, 2, text, other, weights, 0.0))
    for weights in JUDGED:
        text = "GMCL in no task below the best of them by more than .01"
        found.append(_worst(results, 2, text, weights, -0.01, COMPARED, CHANGED))
    return found


def _operations(results: Results) -> list[Check]:
    tasks = results.tasks(controls=False)
    means = {(task, name): statistics.fmean(v) for task in tasks for name, v in ends(results, task).items()}
    harmful = {key: value for key, value in means.items() if key[1] in TASKS[key[0]].harmful}
    unclear = {key for key in means if key[1] in TASKS[key[0]].unclear}
    harmless = {key: value for key, value in means.items() if key not in harmful and key not in unclear}
    whole, found = results.is_whole(CHANGED, ["gmcl"]), []
    for text, group, limit, sign in (
        ("harmful operations below .35 of the usual, mean of each over runs", harmful, 0.35, 1),
        ("harmless operations above .7 of the usual, mean of each over runs", harmless, 0.7, -1),
    ):
        beyond = {key: value for key, value in group.items() if sign * (value - limit) >= 0}
        missed = [f"{task}: {name} {short(value, 2)}" for (task, name), value in beyond.items()]
        told = f"{len(group) - len(missed)} of {len(group)}" + (f"; not {', '.join(missed)}" if missed else "")
        found.append(Check(3, text, told if group else NONE, not missed if group else None, whole))
    auc = harmful_auc(results, tasks)
    told = NONE if auc is None else short(auc)
    met = None if auc is None else auc >= 0.95
    found.append(Check(3, "AUC of harmful by learned strength at least .95", told, met, whole))
    return found


def _controls(results: Results) -> list[Check]:
    found = []
    for task in results.tasks(controls=True):
        for ours, frozen in PAIRS.items():
            if ours not in results.arms([task]):
                continue
            for weights in JUDGED:
                text = f"{TASKS[task].title}: {ARMS[ours].title} − the better of standard and frozen at least −.005"
                others = ["standard", "standard_equal_compute", frozen]
                found.append(_worst(results, 4, text, weights, -0.005, others, [task], ours))
    return found


def _pooled(
    results: Results, number: int, text: str, other: str, weights: str, least: float, above: bool = True
) -> Check:
    """Of all tasks with changed labels; where ``above``, the interval has to be above 0, too."""
    difference = results.difference(results.cells(CHANGED), "gmcl", other, weights)
    met = None
    # One seed has no interval.
    if difference is not None and math.isfinite(difference.low):
        met = difference.mean >= least and (difference.low > 0 or not above)
    whole = results.is_whole(CHANGED, ["gmcl", other])
    return Check(number, _on(text, weights), difference_text(difference), met, whole)


def _worst(
    results: Results,
    number: int,
    text: str,
    weights: str,
    least: float,
    others: Sequence[str],
    tasks: Sequence[str],
    ours: str = "gmcl",
) -> Check:
    """Of the tasks, the one where an arm is furthest below the best of the others."""
    gaps = []
    for task in tasks:
        cells = results.cells([task])
        all_gaps = [(results.gap(cells, ours, other, weights), other) for other in others]
        found = [(gap, other) for gap, other in all_gaps if gap is not None]
        if found:
            gap, other = min(found)
            gaps.append((gap, task, other))
    if not gaps:
        return Check(number, _on(text, weights), NONE, None, False)
    told = ", ".join(f"{task} {signed(gap)} ({ARMS[other].title})" for gap, task, other in sorted(gaps))
    return Check(number, _on(text, weights), told, min(gaps)[0] >= least, results.is_whole(tasks, [ours, *others]))


def _on(text: str, weights: str) -> str:
    return f"{text} ({WEIGHTS[weights]})"
