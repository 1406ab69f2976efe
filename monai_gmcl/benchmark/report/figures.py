# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The figures of the report, each for a light and for a dark page."""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator
from scipy.stats import sem
from scipy.stats import t as student_t

from monai_gmcl.benchmark.report.rows import ORDER, Cell, Results, arm_title, auc

__all__ = ["Picture", "cost_figure", "difference_figure", "efficiency_figure"]

WIDTH, HEIGHT, DPI = 4.8, 3.3, 150
ROW = 0.2
"""Inches of a line of the legend, or of an arm among the differences."""
MARKERS = "osDv^P<X>*hpd8Hs"
MAIN = ("gmcl", "frozen", "standard", "strong", "two_stage_gan", "doubled_batch")
"""Arms in colors of their own; the others are grey, and told apart by their markers."""


@dataclass(frozen=True)
class Theme:
    """Colors of a page."""

    paper: str
    ink: str
    faint: str
    other: str
    arms: tuple[str, ...]


LIGHT = Theme(
    "#ffffff", "#1d2128", "#d9dde3", "#8a919c", ("#c2410c", "#0f7a55", "#1d5fc4", "#3f9be0", "#a0399b", "#b88a00")
)
DARK = Theme(
    "#171a20", "#e6e8ec", "#363b45", "#8a919c", ("#ff8a4c", "#3ecf98", "#6ea8ff", "#9cd0f5", "#e08bdc", "#e3bd4a")
)


@dataclass(frozen=True)
class Picture:
    """A figure of the report.

    Attributes:
        name: of its file.
        alt: what it shows, in words.
        light: PNG for a light page.
        dark: PNG for a dark one.
    """

    name: str
    alt: str
    light: bytes
    dark: bytes


def difference_figure(results: Results, cells: Sequence[Cell], weights: str) -> Picture:
    """Draw how far GMCL is above each other arm, with 95 % intervals; all cells are of one data set and part."""
    arms = [arm for arm in results.arms(cells) if arm != "gmcl"]

    def draw(axes: Axes, theme: Theme) -> None:
        axes.axvline(0, color=theme.ink, linewidth=0.8)
        for k, cell in enumerate(cells):
            offset = ((k + 0.5) / len(cells) - 0.5) * 0.6
            shade = 1 - 0.6 * k / max(1, len(cells) - 1)
            points = []
            for i, arm in enumerate(arms):
                found = results.difference(cell, "gmcl", arm, *auc(cell, weights))
                if found is not None:
                    points.append((found.mean, i + offset))
                    if found.pairs > 1:
                        ends = (found.low, found.high)
                        axes.plot(ends, [i + offset] * 2, color=theme.arms[0], alpha=shade, linewidth=1.6)
            style: dict[str, Any] = {"linestyle": "", "marker": MARKERS[k % len(MARKERS)], "markersize": 4.5}
            x, y = zip(*points, strict=True) if points else ((), ())
            axes.plot(x, y, color=theme.arms[0], alpha=shade, label=f"n = {cell.n}", **style)
        axes.set_yticks(range(len(arms)), [arm_title(arm) for arm in arms])
        axes.set_ylim(len(arms) - 0.4, -0.6)
        axes.set_xlabel(f"AUC of GMCL minus theirs, {_words(weights)} weights")

    height = 1.1 + max(2, len(arms)) * ROW * max(1.2, 0.6 * len(cells))
    name = f"difference-{_place(cells)}-{weights}"
    return _picture(
        name, f"GMCL minus each other arm, {_place(cells)}, {_words(weights)} weights", draw, height, len(cells)
    )


def efficiency_figure(results: Results, cells: Sequence[Cell], weights: str) -> Picture:
    """Draw mean AUC over the number of labeled images, by arm, with 95 % intervals of the means."""
    arms = [arm for arm in results.arms(cells) if any(results.numbers(c, arm, *auc(c, weights)) for c in cells)]

    def draw(axes: Axes, theme: Theme) -> None:
        for i, arm in enumerate(arms):
            values = {c.n: list(results.numbers(c, arm, *auc(c, weights)).values()) for c in cells}
            values = {n: found for n, found in values.items() if found}
            # Apart, so that intervals do not hide each other.
            x = [n * 1.02 ** (i - len(arms) / 2) for n in values]
            y = [statistics.fmean(found) for found in values.values()]
            axes.errorbar(x, y, [_half(found) for found in values.values()], elinewidth=0.8, **_style(arm, theme))
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks([cell.n for cell in cells], [str(cell.n) for cell in cells])
        axes.set_xlabel("labeled images")
        axes.set_ylabel(f"AUC, {_words(weights)} weights")

    name = f"labels-{_place(cells)}-{weights}"
    alt = f"AUC over the number of labeled images by arm, {_place(cells)}, {_words(weights)} weights"
    return _picture(name, alt, draw, HEIGHT + _legend(len(arms)), len(arms))


def cost_figure(results: Results, cell: Cell, measure: str, weights: str) -> Picture:
    """Draw mean AUC over what an arm costs, tuning included, for one cell.

    Args:
        results: of the runs.
        cell: where.
        measure: ``flops`` or ``wall_seconds``.
        weights: whose AUC.
    """
    label = {"flops": "counted operations (FLOPs)", "wall_seconds": "wall seconds"}[measure]
    points = {}
    for arm in results.arms([cell]):
        cost, value = results.mean(cell, arm, "cost", measure), results.mean(cell, arm, *auc(cell, weights))
        if cost and value is not None:
            points[arm] = cost + (results.mean(cell, arm, "cost", "tuning", measure) or 0.0), value

    def draw(axes: Axes, theme: Theme) -> None:
        for arm, (cost, value) in points.items():
            axes.plot([cost], [value], **{**_style(arm, theme), "linestyle": "", "markersize": 7})
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(f"{label}, tuning included")
        axes.set_ylabel(f"AUC, {_words(weights)} weights")
        axes.set_title(f"n = {cell.n}", fontsize=10, color=theme.ink)

    name = f"cost-{_place([cell])}-n{cell.n}-{measure}"
    alt = f"AUC over {label} by arm, {_place([cell])}, n = {cell.n}"
    return _picture(name, alt, draw, HEIGHT + _legend(len(points)), len(points))


def _picture(name: str, alt: str, draw: Callable[[Axes, Theme], None], height: float, labels: int) -> Picture:
    light, dark = (_png(draw, theme, height, labels) for theme in (LIGHT, DARK))
    return Picture(name, alt, light, dark)


def _png(draw: Callable[[Axes, Theme], None], theme: Theme, height: float, labels: int) -> bytes:
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained", facecolor=theme.paper)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor=theme.paper)
    draw(axes, theme)
    axes.grid(color=theme.faint, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(theme.faint)
    axes.tick_params(colors=theme.ink, labelsize=8, which="both", color=theme.faint)
    axes.xaxis.label.set(color=theme.ink, fontsize=9)
    axes.yaxis.label.set(color=theme.ink, fontsize=9)
    if labels:
        columns = 2 if labels > 4 else labels
        figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=7.5, labelcolor=theme.ink)
    stored = io.BytesIO()
    # Without matplotlib's version in it, so that the same rows give the same file.
    figure.savefig(stored, format="png", metadata={"Software": None})
    return stored.getvalue()


def _style(arm: str, theme: Theme) -> dict[str, Any]:
    marker = MARKERS[ORDER.index(arm) % len(MARKERS)] if arm in ORDER else "."
    if arm in MAIN:
        color, line, width = theme.arms[MAIN.index(arm)], "-", 2.2 if arm == "gmcl" else 1.4
    else:
        color, line, width = theme.other, ":", 1.0
    style = {"color": color, "marker": marker, "markersize": 5, "linestyle": line, "linewidth": width}
    return {**style, "label": arm_title(arm), "zorder": 3 if arm == "gmcl" else 2}


def _half(values: Sequence[float]) -> float:
    """Half the 95 % interval of a mean; 0 of one value, whose spread is not known."""
    return float(student_t.ppf(0.975, len(values) - 1) * sem(values)) if len(values) > 1 else 0.0


def _legend(labels: int) -> float:
    return -(-labels // 2) * ROW


def _place(cells: Sequence[Cell]) -> str:
    return f"{cells[0].data}-{cells[0].split}"


def _words(weights: str) -> str:
    return weights.replace("_", " ")
