# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""``curves.png``: the columns of ``curriculum.csv`` as curves by epoch."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ignite.engine import Engine, Events

from monai_gmcl.atomic_file import write_whole
from monai_gmcl.handlers.curriculum_log import CurriculumLog
from monai_gmcl.handlers.epoch_table import EpochTable
from monai_gmcl.handlers.output_lock import hold_output
from monai_gmcl.ranks import on_first_rank
from monai_gmcl.reporting.figures import optional_picture
from monai_gmcl.reporting.run_figures import curves_png

__all__ = ["CurvesHandler"]


class CurvesHandler:
    """Draws ``curves.png`` at the end of the run, from the ``curriculum.csv`` of :class:`CurriculumLog`.

    Panels: losses, accuracies, metrics of training and validation, weights with hardness and difficulty, the norm of
    the teacher's gradient, diversity. Panels without a number are left out.

    Args:
        output_dir: folder of both files.
    """

    FILE_NAME = "curves.png"

    def __init__(self, output_dir: str | os.PathLike[str]) -> None:
        self.folder = Path(output_dir)
        self.logger = logging.getLogger(__name__)

    @on_first_rank
    def attach(self, engine: Engine) -> None:
        """Attach to an engine."""
        hold_output(engine, self.folder)
        engine.add_event_handler(Events.COMPLETED, self._draw)

    def _draw(self) -> None:
        table = EpochTable(self.folder / CurriculumLog.FILE_NAME)
        rows = table.read()
        if not rows:
            # A finished run should not fail because of a picture.
            self.logger.warning("Curves were not drawn because %s has no rows. Attach a CurriculumLog.", table.path)
            return
        path = self.folder / self.FILE_NAME
        with optional_picture(path):
            write_whole(path, curves_png(rows))
