# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The study's page, also of part of a study: ``python -m studies.policies.report --rows FILE --out FILE``."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fire

from monai_gmcl.atomic_file import write_whole
from monai_gmcl.benchmark.report.formats import NONE, difference_text, mean_text, short
from monai_gmcl.exceptions import DataError
from monai_gmcl.reporting.page import Section, Table, markdown_page
from studies.grid import facts_of, read_rows
from studies.policies.arms import ARMS
from studies.policies.claims import claims, ends, harmful_auc
from studies.policies.rows import NEEDED, WEIGHTS, Results
from studies.policies.tasks import TASKS

__all__ = ["page", "report"]


def report(rows: str | Sequence[str] = "studies/policies/rows.jsonl", out: str = "studies/policies/report.md") -> None:
    """Write the page.

    Args:
        rows: files of :mod:`studies.policies.run`, separated by commas.
        out: Markdown file.

    Raises:
        DataError: no rows, a damaged line, or two rows of the same run.
    """
    files = rows.split(",") if isinstance(rows, str) else list(rows)
    found = []
    for file in files:
        if not (own := read_rows(Path(file), NEEDED)):
            raise DataError(f"Expected rows of the study in {file!r}, found none: run studies.policies.run first.")
        found += own
    write_whole(Path(out), page(found).encode())
    print(f"{len(found)} rows: {out}")


def page(rows: Sequence[dict[str, Any]]) -> str:
    """Return the page in Markdown: a chapter for each measured part and number of steps, longest runs first."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["settings"]["part"], row["settings"]["steps"]), []).append(row)
    sections = []
    # test before held_out.
    for part, steps in sorted(groups, key=lambda group: (group[0] != "test", -group[1])):
        sections += _chapter(Results(groups[part, steps]), f"{part}, {steps} steps")
    return markdown_page("Operations that break labels", [*facts_of(rows), *_not_run(rows)], sections)


def _not_run(rows: Sequence[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """Tasks and arms of the study without a single run."""
    found = []
    for name, key, known in (("tasks without a run", "task", TASKS), ("arms without a run", "arm", ARMS)):
        lacking = [one for one in known if one not in {row["settings"][key] for row in rows}]
        if lacking:
            found.append((name, lacking))
    return found


def _chapter(results: Results, name: str) -> list[Section]:
    changed, controls = results.tasks(controls=False), results.tasks(controls=True)
    missing = results.missing()
    lacking = [f"{cell.task}, n = {cell.n}, {arm}: seeds {', '.join(map(str, seeds))}" for cell, arm, seeds in missing]
    told = "None." if not lacking else "\n".join(f"- {line}" for line in lacking)
    rows = [[str(check.number), check.text, check.found, check.verdict] for check in claims(results)]
    reached = Table("Targets of the study", ["number", "target", "result", "verdict"], rows, CLAIM_NOTE)
    return [
        Section(f"Targets ({name})", tables=[reached]),
        Section(f"Pooled differences ({name})", tables=_differences(results, changed)),
        Section(f"AUC by task ({name})", tables=[_task_table(results, task) for task in [*changed, *controls]]),
        Section(
            f"What was learned ({name})", _auc_texts(results, changed), [_policy_table(results, t) for t in changed]
        ),
        Section(f"Missing runs ({name})", [told]),
    ]


LONG = 800
CLAIM_NOTE = (
    "Pooled over tasks with changed labels and n: mean of the paired differences (same seeds, same images) and its "
    "95 % interval, over cells with two seeds or more. By task: mean paired difference over n and seeds, beside the "
    "best of the others, worst task first. So far: not all tasks of the study, or not all "
    "runs, are there. Open: too few. "
    f"The claims are about runs of {LONG} steps and more."
)


def _differences(results: Results, tasks: Sequence[str]) -> list[Table]:
    cells = results.cells(tasks)
    arms = [arm for arm in results.arms(tasks) if arm != "gmcl"]
    columns = ["GMCL −", *WEIGHTS.values(), "pairs"]
    rows = []
    for arm in arms:
        found = [results.difference(cells, "gmcl", arm, weights) for weights in WEIGHTS]
        pairs = NONE if found[0] is None else f"{found[0].pairs} in {found[0].cells} cells"
        rows.append([ARMS[arm].title, *map(difference_text, found), pairs])
    return [Table("Tasks with changed labels", columns, rows)] if rows else []


def _task_table(results: Results, task: str) -> Table:
    cells = results.cells([task])
    columns = ["arm", *(f"n = {cell.n}: {told}" for cell in cells for told in WEIGHTS.values()), "seeds"]
    rows = []
    for arm in results.arms([task]):
        found = [results.numbers(cell, arm, weights) for cell in cells for weights in WEIGHTS]
        seeds = " / ".join(str(len(results.numbers(cell, arm, "final"))) for cell in cells)
        rows.append([ARMS[arm].title, *(mean_text(numbers.values()) for numbers in found), seeds])
    return Table(f"{task}: {TASKS[task].title}", columns, rows, "AUC, mean ± standard deviation over seeds.")


def _policy_table(results: Results, task: str) -> Table:
    kinds = {**dict.fromkeys(TASKS[task].harmful, "harmful"), **dict.fromkeys(TASKS[task].unclear, "unclear")}
    rows = []
    for name, values in sorted(ends(results, task).items(), key=lambda item: statistics.fmean(item[1])):
        numbers = (statistics.fmean(values), min(values), max(values))
        rows.append([name, kinds.get(name, "harmless"), *(short(value, 2) for value in numbers), str(len(values))])
    note = "At the end of GMCL's runs: strength, or probability of flip and quarter turn, in units of the usual one."
    return Table(f"{task}: {TASKS[task].title}", ["operation", "kind", "mean", "least", "most", "runs"], rows, note)


def _auc_texts(results: Results, tasks: Sequence[str]) -> list[str]:
    found = {"all": harmful_auc(results, tasks), **{task: harmful_auc(results, [task]) for task in tasks}}
    told = ", ".join(f"{name} {NONE if auc is None else short(auc)}" for name, auc in found.items())
    return [f"AUC of 'harmful' by learned strength, unclear operations left out: {told}."]


if __name__ == "__main__":
    fire.Fire(report)
