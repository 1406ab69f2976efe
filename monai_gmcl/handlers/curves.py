# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from ignite.engine import Engine, Events
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from monai_gmcl.atomic_file import write_whole
from monai_gmcl.handlers.curriculum_log import CurriculumLog
from monai_gmcl.handlers.epoch_table import EpochTable
from monai_gmcl.handlers.output_lock import hold_output
from monai_gmcl.handlers.pictures import figure_png, optional_picture, plain_texts
from monai_gmcl.names import shown_name
from monai_gmcl.ranks import on_first_rank

__all__ = ["CurvesHandler"]

PANELS: dict[str, tuple[str, ...]] = {
    "Loss": ("loss", "synthetic_loss"),
    "Accuracy in training": ("real_accuracy", "lesson_accuracy"),
    "Curriculum": ("difficulty", "real_weight", "lesson_weight", "hardness"),
    "Norm of the teacher's gradient": ("teacher_grad_norm",),
    "Diversity of lessons": ("diversity",),
}
STYLES = ("-", "--", ":", "-.")
"""Lines that lie on each other, as both weights do, can so be told apart."""
METRICS = "Metrics"
"""The panel of the columns ``train_...`` and ``val_...``."""


class CurvesHandler:
    """Draws ``curves.png`` from the ``curriculum.csv`` of :class:`CurriculumLog`, at the end of the run.

    Panels: losses, accuracies, metrics of training and validation, weights with hardness and difficulty, the norm of
    the teacher's gradient, diversity; those without a number are left out.

    Args:
        output_dir: folder of both files.
    """

    FILE_NAME = "curves.png"

    def __init__(self, output_dir: str | os.PathLike[str]) -> None:
        self.folder = Path(output_dir)
        self.logger = logging.getLogger(__name__)

    @on_first_rank
    def attach(self, engine: Engine) -> None:
        """Follow an engine."""
        hold_output(engine, self.folder)
        engine.add_event_handler(Events.COMPLETED, self._draw)

    def _draw(self) -> None:
        table = EpochTable(self.folder / CurriculumLog.FILE_NAME)
        rows = table.read()
        if not rows:
            # A run that has come to its end should not fail for a picture.
            self.logger.warning("No curves: there is no row in %s. Is a CurriculumLog attached?", table.path)
            return
        path = self.folder / self.FILE_NAME
        with optional_picture(path):
            draw_curves(path, rows)


def draw_curves(path: Path, rows: Sequence[dict[str, float]]) -> None:
    """Write a PNG of curves over epochs.

    Args:
        path: of the file.
        rows: of a :class:`CurriculumLog`, at least one.

    Raises:
        OutputError: the file cannot be written.
    """
    with plain_texts():
        write_whole(path, figure_png(_curves(rows)))


def _curves(rows: Sequence[dict[str, float]]) -> Figure:
    known = {name for row in rows for name in row}
    panels = {title: [name for name in names if name in known] for title, names in PANELS.items()}
    panels[METRICS] = sorted(name for name in known if name.startswith(("train_", "val_")))
    shown = {title: names for title, names in panels.items() if names}
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * lines), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    for place, (title, names) in enumerate(shown.items(), start=1):
        _draw_panel(figure.add_subplot(lines, columns, place), title, names, rows)
    return figure


def _draw_panel(axes: Axes, title: str, names: Sequence[str], rows: Sequence[dict[str, float]]) -> None:
    for name, style in zip(names, itertools.cycle(STYLES), strict=False):
        points = [(row[EpochTable.KEY], row[name]) for row in rows if name in row]
        label = shown_name(name).replace("_", " ")
        axes.plot(*zip(*points, strict=True), label=label, linestyle=style, linewidth=1.6, marker=".", markersize=4)
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if len(names) > 1 or title == METRICS:
        # Outside: inside it would hide a part of some run.
        axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
