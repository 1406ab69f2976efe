# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The figures of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator
from scipy.stats import t as student_t

from monai_gmcl.benchmark.report.rows import CHECKPOINTS, PRIMARY, Cell, Results, score
from monai_gmcl.reporting.figures import figure_png, new_figure
from monai_gmcl.reporting.page import Picture

__all__ = ["COLORS", "cost_figure", "difference_figure", "efficiency_figure"]

BOTH = ("chosen", "final")
"""Weights of the panels."""
COLORS: Mapping[str, str] = {
    "gmcl": "#c2410c",
    "frozen": "#0f7a55",
    "standard": "#1d5fc4",
    "strong": "#3f9be0",
}
"""Highlighted arms; other arms are gray with different markers."""
GREY, INK, FAINT = "#8a919c", "#1d2128", "#d9dde3"
ARM_MARKERS = "xs+D1^<>XPpvd2h*"
"""By the place of an arm in tables."""
CELL_MARKERS = "osDv^Xp"
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
}
DPI = 130
CROWDED = 1.4
"""Numbers of labeled images that are less than this times another stand too close to be read side by side."""
LEAST_SIZES = 3
"""Of a curve over numbers of labeled images, where there are as many."""
LEAST_RANGE = 5.0
"""Highest cost of a panel's axis, in units of the lowest."""
TITLE_WIDTH = 4.2
"""Of a column of a legend, inches."""


def efficiency_figure(results: Results, cells: Sequence[Cell], colors: Mapping[str, str] = COLORS) -> Picture:
    """Draw the mean score over the number of labeled images, by arm, with 95 % intervals of the means of the main arms.

    Arms with one or two of three sizes or more are left to the tables. Of one size the arms stand below each other.
    """
    if len(cells) == 1:
        return _one_size_figure(results, cells[0], colors)
    sizes = [cell.n for cell in cells]
    enough = min(LEAST_SIZES, len(cells))
    arms = [arm for arm in results.arms(cells) if sum(bool(results.seeds(cell, arm)) for cell in cells) >= enough]
    crowded = any(n < CROWDED * before for before, n in pairwise(sizes))

    def draw(panels: Sequence[Axes]) -> None:
        for axes, weights in zip(panels, BOTH, strict=True):
            for i, arm in enumerate(arms):
                values = {cell.n: results.numbers(cell, arm, *score(cell, weights)) for cell in cells}
                values = {n: found for n, found in values.items() if len(found)}
                # Apart, so that intervals do not hide each other.
                x = [n * 1.008 ** (i - len(arms) / 2) for n in values]
                y = [found.mean() for found in values.values()]
                half = [_half(found) for found in values.values()] if arm in colors else None
                axes.errorbar(x, y, half, elinewidth=0.8, **_style(results, arm, colors))
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set(xticks=sizes, xticklabels=[str(n) for n in sizes])
            axes.tick_params("x", rotation=45 if crowded else 0)
            axes.set(title=CHECKPOINTS[weights], xlabel="labeled images")
        panels[0].set_ylabel(f"{cells[0].measure} on {cells[0].split.replace('_', ' ')}")

    alt = f"{cells[0].measure} over the number of labeled images, by method: {_place(cells)}"
    return Picture(f"labels-{_place(cells)}", alt, _png(draw, len(BOTH), 3.4, _lines(len(arms), len(BOTH))))


def _one_size_figure(results: Results, cell: Cell, colors: Mapping[str, str]) -> Picture:
    arms = results.arms([cell])
    place = cell.split.replace("_", " ")

    def draw(panels: Sequence[Axes]) -> None:
        for axes, weights in zip(panels, BOTH, strict=True):
            for y, arm in enumerate(arms):
                found = results.numbers(cell, arm, *score(cell, weights))
                style = {**_style(results, arm, colors), "linestyle": ""}
                axes.errorbar([found.mean()], [y], xerr=_half(found), **style)
            axes.set(yticks=range(len(arms)), yticklabels=[results.title(arm) for arm in arms])
            axes.set_ylim(len(arms) - 0.4, -0.6)
            axes.locator_params(axis="x", nbins=5)
            axes.set(title=f"{CHECKPOINTS[weights]}, n = {cell.n}", xlabel=f"{cell.measure} on {place}")

    alt = f"{cell.measure} with {cell.n} labeled images, by method, 95 % intervals: {_place([cell])}"
    height = 0.9 + 0.25 * max(2, len(arms))
    return Picture(f"labels-{_place([cell])}", alt, _png(draw, len(BOTH), height, _lines(len(arms), len(BOTH))))


def difference_figure(results: Results, cells: Sequence[Cell]) -> Picture:
    """Draw how far GMCL is above each other arm, with 95 % intervals; all cells are of one data set and part."""
    arms = [arm for arm in results.arms(cells) if arm != "gmcl"]
    colors = matplotlib.colormaps["viridis_r"]

    def draw(panels: Sequence[Axes]) -> None:
        for axes, weights in zip(panels, BOTH, strict=True):
            axes.axvline(0, color=INK, linewidth=0.8)
            for k, cell in enumerate(cells):
                found = [results.difference(cell, "gmcl", arm, *score(cell, weights)) for arm in arms]
                known = [(i + 0.7 * ((k + 0.5) / len(cells) - 0.5), one) for i, one in enumerate(found) if one]
                half = [one.high - one.mean if one.pairs > 1 else 0.0 for _, one in known]
                axes.errorbar(
                    [one.mean for _, one in known],
                    [y for y, _ in known],
                    xerr=half,
                    color=colors(0.15 + 0.85 * k / max(1, len(cells) - 1)),
                    label=f"n = {cell.n}",
                    linestyle="",
                    marker=CELL_MARKERS[k % len(CELL_MARKERS)],
                    markersize=4,
                )
            axes.set(yticks=range(len(arms)), yticklabels=[results.title(arm) for arm in arms])
            axes.set_ylim(len(arms) - 0.4, -0.6)
            axes.locator_params(axis="x", nbins=5)
            axes.set(title=CHECKPOINTS[weights], xlabel=f"{cells[0].measure} of GMCL minus that of the method")

    alt = f"{cells[0].measure} of GMCL minus that of each other method, 95 % intervals: {_place(cells)}"
    height = 0.6 + 0.2 * max(2, len(arms)) * max(1.2, 0.6 * len(cells))
    return Picture(f"difference-{_place(cells)}", alt, _png(draw, len(BOTH), height, 1))


def cost_figure(results: Results, cells: Sequence[Cell], colors: Mapping[str, str] = COLORS) -> Picture:
    """Draw the mean best-validation score over the FLOPs of each arm, tuning included; a panel for each n.

    Where one arm stands alone there is nothing to compare, and no panel.
    """
    arms = results.arms(cells)
    shown = [cell for cell in cells if len(results.arms([cell])) > 1] or cells

    def draw(panels: Sequence[Axes]) -> None:
        for axes, cell in zip(panels, shown, strict=True):
            for arm in arms:
                cost, value = results.mean(cell, arm, "cost", "flops"), results.mean(cell, arm, *score(cell))
                whole = cost and cost + (results.mean(cell, arm, "cost", "tuning", "flops") or 0.0)
                # Drawn where it is missing, too, so that each panel has the whole legend.
                there = [(whole, value)] if whole and value is not None else []
                style = {**_style(results, arm, colors), "linestyle": "", "markersize": 7}
                axes.plot([x for x, _ in there], [y for _, y in there], **style)
            axes.set_xscale("log")
            # Wide enough for two of the ticks below.
            low, high = axes.get_xlim()
            wider = max(1.0, (LEAST_RANGE * low / high) ** 0.5)
            axes.set_xlim(low / wider, high * wider)
            # Costs often lie within a decade, of which a logarithmic axis would name no number.
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(EngFormatter())
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set(title=f"n = {cell.n}", xlabel="FLOPs, tuning included")
        panels[0].set_ylabel(f"{cells[0].measure}, {CHECKPOINTS[PRIMARY]}")

    alt = f"{cells[0].measure} over FLOPs, by method: {_place(cells)}"
    return Picture(
        f"cost-{_place(cells)}", alt, _png(draw, len(shown), 3.2, _lines(len(arms), len(shown)), sharey=False)
    )


def _width(panels: int) -> float:
    return max(9.0, 2.6 * panels)


def _lines(arms: int, panels: int) -> int:
    """Lines of a legend whose columns have room for the longest title."""
    return -(-arms // int(_width(panels) // TITLE_WIDTH))


def _png(draw: Callable[[Sequence[Axes]], None], panels: int, height: float, lines: int, sharey: bool = True) -> bytes:
    """Return a row of panels over one legend of so many lines."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(_width(panels), height + 0.19 * lines)
        axes = figure.subplots(1, panels, squeeze=False, sharey=sharey)[0]
        draw(axes)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=-(-len(labels) // lines))
        figure.set_dpi(DPI)
        # Without matplotlib's version in it, so that the same rows give the same file.
        return figure_png(figure, metadata={"Software": None})


def _style(results: Results, arm: str, colors: Mapping[str, str]) -> dict[str, Any]:
    known = list(results.titles)
    marker = ARM_MARKERS[known.index(arm) % len(ARM_MARKERS)] if arm in known else "."
    marker = "o" if arm == "gmcl" else marker
    if arm in colors:
        style = {"color": colors[arm], "linestyle": "-", "linewidth": 2.2 if arm == "gmcl" else 1.4}
    else:
        style = {"color": GREY, "linestyle": ":", "linewidth": 1.0}
    zorder = 4 if arm == "gmcl" else 3 if arm in colors else 2
    return {**style, "marker": marker, "markersize": 5, "label": results.title(arm), "zorder": zorder}


def _half(values: pd.Series) -> float:
    """Half the 95 % interval of a mean; 0 of one value, whose spread is not known."""
    return float(student_t.ppf(0.975, len(values) - 1) * values.sem()) if len(values) > 1 else 0.0


def _place(cells: Sequence[Cell]) -> str:
    return f"{cells[0].data}-{cells[0].split}"
