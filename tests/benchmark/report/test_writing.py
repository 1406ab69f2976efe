# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import base64
import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from monai_gmcl.benchmark.report import keep_command, write_report
from monai_gmcl.exceptions import DataError
from monai_gmcl.reporting.page import Section


class Loaded(HTMLParser):
    """What a browser would load."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = ("src", "srcset", "href") if tag in ("img", "source", "link", "script") else ()
        self.sources += [value or "" for name, value in attrs if name in names]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(rows: Any) -> list[dict[str, Any]]:
    return list(rows(sizes=(100, 500), seeds=2))


@pytest.fixture(scope="module")
def folder(made: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison with its report."""
    place = tmp_path_factory.mktemp("comparison")
    (place / "runs").mkdir()
    for i, row in enumerate(made):
        (place / "runs" / f"{i}.json").write_text(json.dumps(row), encoding="utf-8")
    for _ in range(2):
        keep_command(place, "python -m monai_gmcl compare --n 500")
    write_report(place)
    return place


def test_the_page_needs_nothing_but_itself(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    loaded = Loaded()
    loaded.feed(page)
    assert len(loaded.sources) >= 3 and all(source.startswith("data:image/png;base64,") for source in loaded.sources)
    assert not re.search(r"url\(|@import|<script", page)


def test_every_run_is_in_the_table_of_results(made: Any, folder: Path) -> None:
    kept = table(folder / "results.csv")
    assert len(kept) == len(made)
    wanted = {(r["data"], r["n"], r["arm"], r["seed"], round(r["measures"]["test"]["chosen"]["auc"], 6)) for r in made}
    assert {
        (r["data"], int(r["n"]), r["arm"], int(r["seed"]), round(float(r["chosen.auc"]), 6)) for r in kept
    } == wanted


def test_a_grid_that_is_not_finished_says_what_is_missing(rows: Any, keep: Any) -> None:
    found = [r for r in rows(sizes=(100, 500), seeds=1) if not (r["arm"] == "gmcl" and r["n"] == 100)]
    page = write_report(keep(found)).read_text(encoding="utf-8")
    assert "No runs yet: GMCL (n = 100)." in page
    assert "Not run: standard MONAI transforms, tuned within the budget; " in page


def test_what_made_the_runs_is_named_once(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("python -m monai_gmcl compare --n 500") == 1
    assert "abc1234" in page and "a machine" in page


def test_what_readers_must_know_of_the_runs_stands_first(rows: Any, keep: Any) -> None:
    folder = keep(rows(sizes=(500,), seeds=1))
    write_report(folder)
    assert "Notes on these runs" not in (folder / "summary.md").read_text(encoding="utf-8")
    (folder / "note.txt").write_text("The defaults were frozen at abc.\nTest was read twice.\n", encoding="utf-8")
    write_report(folder)
    summary = (folder / "summary.md").read_text(encoding="utf-8")
    assert summary.index("frozen at abc.") < summary.index("Test was read twice.") < summary.index("## pcam, test: AUC")


def test_pictures_of_what_arms_train_on_are_in_the_page_only_where_asked_for(rows: Any, keep: Any) -> None:
    found = rows(sizes=(500,), seeds=1)
    for row in found:
        row["picture"] = f"pictures/{row['arm']}.png"
    folder = keep(found)
    (folder / "pictures").mkdir()
    embedded = []
    for name in ("gmcl", "two_stage_gan", "two_stage_gan-samples"):
        file = folder / "pictures" / f"{name}.png"
        Image.effect_noise((8, 8), 50).save(file)
        embedded.append(base64.b64encode(file.read_bytes()).decode())
    assert not any(one in write_report(folder).read_text(encoding="utf-8") for one in embedded)
    page = write_report(folder, pictures=True).read_text(encoding="utf-8")
    assert all(one in page for one in embedded) and "pcam: GMCL (n = 500, seed 0)" in page
    assert "pcam: two stage gan (n = 500, seed 0): examples" in page
    assert "There is no picture of standard MONAI transforms (pcam)" in page
    assert "Images that" not in (folder / "summary.md").read_text(encoding="utf-8")


def test_the_same_rows_give_the_same_page(folder: Path) -> None:
    before = (folder / "report.html").read_bytes()
    assert write_report(folder).read_bytes() == before


def test_figures_of_the_summary_are_there(folder: Path) -> None:
    linked = re.findall(r"\]\((.*?)\)", (folder / "summary.md").read_text(encoding="utf-8"))
    assert len(linked) == 3 and all(Image.open(folder / name).width > 1000 for name in linked)


def test_a_grid_without_gmcl_and_of_one_run_is_reported(rows: Any, keep: Any) -> None:
    found = [row for row in rows("own", (40,), seeds=1) if row["arm"] == "standard"]
    page = write_report(keep(found)).read_text(encoding="utf-8")
    assert "One seed, therefore no interval: standard MONAI transforms (n = 40)." in page


def test_a_folder_without_runs_and_files_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no JSON file"):
        write_report(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "broken.json").write_text("{")
    with pytest.raises(DataError, match="broken.json.*expected the JSON object of a run"):
        write_report(tmp_path)


def test_two_runs_of_the_same_cell_are_refused(rows: Any, keep: Any) -> None:
    folder = keep(rows(sizes=(500,), seeds=1))
    (first, *_) = sorted((folder / "runs").glob("*gmcl*"))
    (folder / "runs" / "again.json").write_text(first.read_text())
    with pytest.raises(DataError, match="again.json.*are runs of the same arm, seed and images"):
        write_report(folder)


def test_sections_of_a_study_stand_before_and_after_those_of_every_report(rows: Any, keep: Any) -> None:
    folder = keep(rows(sizes=(500,), seeds=1))
    first, last = Section("What was wanted", ["much"]), Section("What else", ["little"])
    summary = (write_report(folder, first=[first], last=[last]).parent / "summary.md").read_text(encoding="utf-8")
    places = [
        summary.index(f"## {title}") for title in ("What was wanted", "pcam, test: AUC", "pcam: cost", "What else")
    ]
    assert places == sorted(places)
