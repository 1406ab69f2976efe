# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""``class_report.csv``: accuracy, precision and AUC of an evaluated student for each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from monai_gmcl.atomic_file import make_folder, write_whole
from monai_gmcl.handlers.predictions_saver import of_classes
from monai_gmcl.metrics.classification import class_report
from monai_gmcl.names import csv_cell, csv_text, shown_name
from monai_gmcl.ranks import Ranks
from monai_gmcl.tasks import Classification

__all__ = ["ClassReport"]


class ClassReport:
    """Writes ``class_report.csv`` after an evaluation, with one row for each class and one for all images.

    The rows cover the images of all ranks.

    Args:
        output_dir: folder of the file; it is created if it does not exist.
        class_names: class names in the order of the labels.

    Shape:
        ``engine.state.output`` after decollating: ``pred`` probabilities ``(K,)``, ``label`` a class, or one-hot
        ``(K,)``.
    """

    FILE_NAME = "class_report.csv"

    def __init__(self, output_dir: str | os.PathLike[str], class_names: Sequence[str]) -> None:
        self.path = Path(output_dir) / self.FILE_NAME
        self.class_names = list(class_names)
        self._seen: list[tuple[Tensor, Tensor]] = []

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._seen.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._observe)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._write)

    def _observe(self, engine: Engine) -> None:
        for item in engine.state.output:  # type: ignore[union-attr]
            prediction = of_classes(item[Keys.PRED], "ClassReport").cpu()
            self._seen.append((prediction, torch.as_tensor(item[Keys.LABEL]).cpu()))

    def _write(self) -> None:
        ranks = Ranks()
        probabilities, labels = (ranks.all_gather(torch.stack(column)) for column in zip(*self._seen, strict=True))
        if ranks.index > 0:
            return
        rows = class_report(probabilities, Classification().classes(labels), self.class_names)
        cells = ([csv_cell(shown_name(name)), *numbers] for name, *numbers in (row.values() for row in rows))
        make_folder(self.path.parent)
        write_whole(self.path, csv_text(list(rows[0]), cells, "\r\n"))
