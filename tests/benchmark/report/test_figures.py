# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from monai_gmcl.benchmark.arms import ARMS
from monai_gmcl.benchmark.report.figures import COLORS, cost_figure, difference_figure, efficiency_figure
from monai_gmcl.benchmark.report.rows import Results
from monai_gmcl.reporting.page import Picture


def results_of(found: list[dict[str, Any]]) -> Results:
    return Results((Path(str(i)), row) for i, row in enumerate(found))


def pixels(picture: Picture, arm: str) -> int:
    """How many pixels have the color of an arm."""
    image = np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB")).astype(float)
    return int((np.abs(image - 255 * np.array(to_rgb(COLORS[arm]))).max(2) < 3).sum())


@pytest.mark.parametrize("figure", [efficiency_figure, cost_figure])
def test_an_arm_that_ran_is_drawn_in_its_color(rows: Any, figure: Any) -> None:
    found = rows(sizes=(100, 500))
    whole = results_of(found)
    without = results_of([row for row in found if row["arm"] != "frozen"])
    cells = whole.cells("pcam", "test")
    assert pixels(figure(whole, cells), "frozen") > 100 and pixels(figure(without, cells), "frozen") == 0


@pytest.mark.parametrize("figure", [efficiency_figure, cost_figure])
@pytest.mark.parametrize("panels", [1, 4, 7])
def test_the_titles_of_all_arms_have_room(rows: Any, figure: Any, panels: int) -> None:
    found = rows(sizes=tuple(range(100, 100 + 100 * panels, 100)), seeds=2, **dict.fromkeys(ARMS, 0.8))
    results = results_of(found)
    picture = figure(results, results.cells("pcam", "test"))
    image = np.asarray(Image.open(io.BytesIO(picture.png)).convert("L"))
    legend = image[int(len(image) * 0.7) :]
    assert legend.min() < 128
    # What is cut off leaves ink at the edge.
    assert legend[:, 0].min() > 250 and legend[:, -1].min() > 250


def test_of_one_size_the_arms_stand_below_each_other(rows: Any) -> None:
    heights = []
    for arms in (("gmcl", "frozen", "strong", "standard"), ("gmcl", "frozen", "standard")):
        results = results_of([row for row in rows(sizes=(100,), seeds=3) if row["arm"] in arms])
        picture = efficiency_figure(results, results.cells("pcam", "test"))
        assert picture.name == "labels-pcam-test" and all(pixels(picture, arm) > 30 for arm in arms)
        heights.append(Image.open(io.BytesIO(picture.png)).height)
    assert heights[0] > heights[1]


def test_each_size_has_a_panel_of_costs(rows: Any) -> None:
    results = results_of(rows(sizes=(50, 100, 250, 500, 1000), seeds=1))
    cells = results.cells("pcam", "test")
    few, many = (Image.open(io.BytesIO(cost_figure(results, part).png)) for part in (cells[:1], cells))
    assert many.width == pytest.approx(few.width * 2.6 * 5 / 9, abs=2)


def test_a_size_with_one_arm_has_no_panel_of_costs(rows: Any) -> None:
    found = rows(sizes=(50, 100, 250, 500, 1000), seeds=1)
    widths = []
    for alone in ((), (50, 1000)):
        results = results_of([row for row in found if row["n"] not in alone or row["arm"] == "gmcl"])
        picture = cost_figure(results, results.cells("pcam", "test"))
        widths.append(Image.open(io.BytesIO(picture.png)).width)
    assert widths[1] == pytest.approx(widths[0] * 9 / (2.6 * 5), abs=2)


def test_an_arm_of_two_sizes_is_no_curve_where_there_are_more(rows: Any) -> None:
    found = rows(sizes=(100, 250, 500), seeds=2)
    few = [row for row in found if row["arm"] != "frozen" or row["n"] != 250]
    drawn = []
    for some in (found, few):
        results = results_of(some)
        drawn.append(pixels(efficiency_figure(results, results.cells("pcam", "test")), "frozen"))
    assert drawn[0] > 100 and drawn[1] == 0


def test_each_arm_has_a_line_of_differences(rows: Any) -> None:
    found = rows(sizes=(100,), seeds=2)
    heights = []
    for arms in (("gmcl", "frozen", "strong", "standard"), ("gmcl", "frozen", "strong")):
        results = results_of([row for row in found if row["arm"] in arms])
        picture = difference_figure(results, results.cells("pcam", "test"))
        heights.append(Image.open(io.BytesIO(picture.png)).height)
    assert heights[0] > heights[1] and picture.name == "difference-pcam-test"
