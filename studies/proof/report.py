# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The report of the proof: ``python -m studies.proof.report``. Needs ``monai_gmcl[benchmark]``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import fire

from monai_gmcl.benchmark.report import write_report
from monai_gmcl.benchmark.report.rows import PRIMARY, Cell, Results
from monai_gmcl.reporting.page import Section, Table
from studies.proof.arms import COLORS, TITLES
from studies.proof.rows import kept_rows
from studies.proof.tables import SHARES, gan_table, pooled_table, robust_table, share_table
from studies.proof.targets import SIZES, Target, targets
from studies.proof.unlabeled_targets import unlabeled_targets

__all__ = ["report", "write_study_report"]

HERE = Path(__file__).parent
FOLDERS = {"proof": HERE, "development": HERE / "development", "phantom": HERE / "phantom"}
FINAL = "final"
DEVELOPMENT = "held_out"


def report(part: str = "proof", folder: str | None = None, pictures: bool = False) -> None:
    """Write the report of a part of the study again, from the rows that are kept, or from a folder of runs.

    Args:
        part: ``proof``, ``development`` or ``phantom``; its report lies in this folder, or the one of that name in it.
        folder: of a comparison that was made by :mod:`studies.proof.run`, in place of the rows that are kept.
        pictures: whether ``report.html`` shows what the arms trained on: images of the data set, perhaps of patients.

    Raises:
        ConfigurationError, DataError: another part, no runs, files that are none.
    """
    if folder is None:
        rows = [(file, row) for file, row in kept_rows(part) if file.parent.name == "runs"]
        results, place = Results(rows, TITLES), FOLDERS[part]
    else:
        place = Path(str(folder))
        results = Results.read(place, TITLES)
    print(f"See {write_study_report(place, results, pictures)}")


def write_study_report(place: Path, results: Results, pictures: bool = False) -> Path:
    """Write what the runs say into a folder, as :func:`monai_gmcl.benchmark.report.write_report` does, and the targets.

    Args:
        place: folder of the report.
        results: the runs.
        pictures: whether ``report.html`` shows images of the data set.

    Returns:
        Path of ``report.html``.
    """
    return write_report(place, pictures, results, list(_first(results)), list(_last(results)), COLORS)


def _first(results: Results) -> Iterator[Section]:
    if any(data in SIZES for data, _ in results.places()):
        yield _target_section(results)


def _target_section(results: Results) -> Section:
    tables = [_target_table("Targets and results", targets(results))]
    if "gmcl_unlabeled" in results.arms():
        tables.append(_target_table("Targets and results, unlabeled images", unlabeled_targets(results)))
    text = ["AUC of the best-validation checkpoint; mean paired difference and its 95 % interval."]
    if any(split == DEVELOPMENT for _, split in results.primary_places()):
        text.append("Development: measured on held-out training images, not on the test set.")
    return Section("Targets", text, tables)


def _target_table(title: str, found: Sequence[Target]) -> Table:
    rows = [[target.what, target.state, target.found, target.wanted] for target in found]
    return Table(title, ["comparison", "state", "result", "target"], rows)


def _last(results: Results) -> Iterator[Section]:
    yield from _share_sections(results)
    found = []
    for data, split in results.primary_places():
        cells = results.cells(data, split)
        found += [_named(data, table(results, cells)) for table in (robust_table, gan_table)]
    found = [table for table in found if table.rows]
    yield Section("Robustness and images of the GAN", [] if found else ["No run was attacked yet."], found)


def _share_sections(results: Results) -> Iterator[Section]:
    for data, split in results.places():
        cells = results.cells(data, split)
        if _has_shares(results, cells):
            shares = [share_table(results, cells, weights) for weights in (PRIMARY, FINAL)]
            tables = [pooled_table(results, cells), *shares]
            yield Section(f"{data}, {split.replace('_', ' ')}: shares of the gain", [], tables)


def _has_shares(results: Results, cells: Sequence[Cell]) -> bool:
    """Whether two arms are there that stand for a part of the gain."""
    arms = set(results.arms(cells))
    return any({ours, theirs} <= arms for _, ours, theirs in SHARES)


def _named(data: str, table: Table) -> Table:
    return Table(f"{data}: {table.title}", table.columns, table.rows, table.note)


if __name__ == "__main__":
    fire.Fire(report)
