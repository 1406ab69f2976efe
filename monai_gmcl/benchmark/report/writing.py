# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""``write_report``: what a folder of runs says, as CSV, Markdown and one HTML file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from monai_gmcl.benchmark.report import tables
from monai_gmcl.benchmark.report.figures import COLORS, cost_figure, difference_figure, efficiency_figure
from monai_gmcl.benchmark.report.rows import PRIMARY, Cell, Results
from monai_gmcl.reporting.page import Picture, Section, html_page, markdown_page

__all__ = ["keep_command", "write_report"]

TITLE = "Small-data methods at equal compute"
COMMANDS = "commands.txt"
NOTE = "note.txt"
FINAL = "final"


def keep_command(folder: Path, command: str) -> None:
    """Note a shell line that made runs, for the report to name; once, however often it is given."""
    kept = _commands(folder)
    if command not in kept:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / COMMANDS).write_text("\n".join([*kept, command]) + "\n", encoding="utf-8")


def write_report(
    folder: str | Path,
    pictures: bool = False,
    results: Results | None = None,
    first: Sequence[Section] = (),
    last: Sequence[Section] = (),
    colors: Mapping[str, str] = COLORS,
) -> Path:
    """Write what the runs in a folder say: ``report.html``, ``summary.md``, ``results.csv``.

    Reads ``runs/*.json``, as ``compare`` leaves them, ``pictures`` that the rows name, ``commands.txt``
    (:func:`keep_command`), and ``note.txt``, if there is one: what readers must know of these runs, a paragraph a line.
    What is not there yet is said to be missing. The same rows give the same files. ``report.html`` needs no other file
    and no network; figures lie in ``figures`` as PNG too. ``results.csv`` has a row for each run and measured part.

    Args:
        folder: of the comparison.
        pictures: whether the page shows the pictures of what arms trained on. They hold images of the data set,
            perhaps of patients.
        results: the runs, where they are not those in the folder.
        first: sections before those of the report.
        last: sections after them.
        colors: of the arms that stand out in figures.

    Returns:
        Path of ``report.html``.

    Raises:
        DataError: no runs, files that are none, or two runs of the same cell.
    """
    folder = Path(folder)
    results = results or Results.read(folder)
    note = [Section("Notes on these runs", lines)] if (lines := _lines(folder / NOTE)) else []
    sections = [*note, *first, *_sections(results, colors), *last]
    (folder / "figures").mkdir(exist_ok=True)
    for figure in (figure for part in sections for figure in part.pictures):
        (folder / "figures" / f"{figure.name}.png").write_bytes(figure.png)
    rows = pd.DataFrame(list(_result_rows(results)), dtype=object)
    rows.to_csv(folder / "results.csv", index=False, lineterminator="\n")
    facts = _facts(results, folder)
    (folder / "summary.md").write_text(markdown_page(TITLE, facts, sections), encoding="utf-8")
    shown = [_image_section(results, folder)] if pictures else []
    (folder / "report.html").write_text(html_page(TITLE, facts, [*sections, *shown]), encoding="utf-8")
    return folder / "report.html"


def _facts(results: Results, folder: Path) -> list[tuple[str, list[str]]]:
    def all_of(name: str) -> list[str]:
        return sorted({str(row.get(name, "not recorded")) for row in results.rows})

    return [
        ("runs", [str(len(results.rows)) + (f" (without {results.left_out} older runs)" if results.left_out else "")]),
        ("commit", all_of("commit")),
        ("machine", all_of("machine")),
        ("command", _commands(folder) or ["not recorded"]),
    ]


def _commands(folder: Path) -> list[str]:
    return _lines(folder / COMMANDS)


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def _sections(results: Results, colors: Mapping[str, str]) -> Iterator[Section]:
    for data, split in results.places():
        yield _score_section(results, results.cells(data, split), colors)
    for data, split in results.primary_places():
        yield _cost_section(results, results.cells(data, split), colors)
    yield from _synthetic_section(results)


def _score_section(results: Results, cells: Sequence[Cell], colors: Mapping[str, str]) -> Section:
    arms = results.arms(cells)
    figures = [efficiency_figure(results, cells, colors)]
    if "gmcl" in arms and len(arms) > 1:
        figures.append(difference_figure(results, cells))
    *scores, last = [tables.arm_table(results, cell) for cell in cells]
    return Section(
        f"{cells[0].data}, {cells[0].split.replace('_', ' ')}: {cells[0].measure}",
        _gaps(results, cells),
        [*scores, replace(last, note=tables.arm_note(cells[0]))],
        figures,
        folded=[
            *(tables.measure_table(results, cells, weights) for weights in (PRIMARY, FINAL)),
            *(tables.difference_table(results, cells, arm, weights) for arm in arms for weights in (PRIMARY, FINAL)),
        ],
    )


def _gaps(results: Results, cells: Sequence[Cell]) -> list[str]:
    """Sentences on what is missing: arms without runs, and arms with a single one."""
    arms = results.arms(cells)
    never = [title for arm, title in results.titles.items() if arm not in arms]
    missing, single = (
        [
            f"{results.title(arm)} (n = {', '.join(map(str, found))})"
            for arm in arms
            if (found := [cell.n for cell in cells if len(results.seeds(cell, arm)) == seeds])
        ]
        for seeds in (0, 1)
    )
    sentences = {"Not run": never, "No runs yet": missing, "One seed, therefore no interval": single}
    return [f"{what}: {'; '.join(which)}." for what, which in sentences.items() if which]


def _cost_section(results: Results, cells: Sequence[Cell], colors: Mapping[str, str]) -> Section:
    return Section(
        f"{cells[0].data}: cost",
        tables=[tables.cost_table(results, cells)],
        pictures=[cost_figure(results, cells, colors)],
    )


def _synthetic_section(results: Results) -> Iterator[Section]:
    found = []
    for data, split in results.primary_places():
        table = tables.synthetic_table(results, results.cells(data, split))
        found += [replace(table, title=f"{data}: {table.title}")] if table.rows else []
    if found:
        yield Section("Synthetic images", [], found)


def _image_section(results: Results, folder: Path) -> Section:
    photos, missing = [], []
    for data, split in results.primary_places():
        cells = results.cells(data, split)
        for arm in results.arms(cells):
            rows = [row for cell in cells for row in results.of(cell, arm) if row.get("picture")]
            row = next((row for row in rows if (folder / row["picture"]).is_file()), None)
            if row is None:
                missing.append(f"{results.title(arm)} ({data})")
                continue
            caption = f"{data}: {results.title(arm)} (n = {row['n']}, seed {row['seed']})"
            file = folder / row["picture"]
            photos.append(Picture(arm, caption, file.read_bytes()))
            samples = file.with_name(f"{file.stem}-samples.png")
            if samples.is_file():
                photos.append(Picture(f"{arm}-samples", f"{caption}: examples", samples.read_bytes()))
    text = ["Each block shows the images of one pass in the student's last step."]
    text += [f"There is no picture of {', '.join(missing)}."] if missing else []
    return Section("Images that the methods train on", text, photos=photos)


def _result_rows(results: Results) -> Iterator[dict[str, Any]]:
    for data, split in results.places():
        for cell in results.cells(data, split):
            for arm in results.arms([cell]):
                for row in results.of(cell, arm):
                    about = {"data": data, "split": split, "n": cell.n, "arm": arm, "seed": row["seed"]}
                    chosen = {name: row.get("settings", {}).get(name) for name in ("steps", "strength")}
                    parts = {name: row.get(name) for name in ("valid_auc", "valid_dice", "robust", "synthetic", "cost")}
                    origin = {name: row.get(name) for name in ("hash", "commit", "machine")}
                    yield {**about, **chosen, **_flat({**row["measures"][split], **parts}), **origin}


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return leaves by their path, such as ``robust.pgd.2/255``."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return {name: value for name, value in found.items() if value is not None}
