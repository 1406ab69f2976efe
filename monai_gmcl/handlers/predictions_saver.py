# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""``predictions.csv`` and ``class_report.csv``: an evaluated student's predictions, and its results for each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.data.meta_tensor import MetaTensor
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from monai_gmcl.atomic_file import make_folder, write_whole
from monai_gmcl.exceptions import ConfigurationError, DataError
from monai_gmcl.metrics.classification import class_report
from monai_gmcl.names import csv_cell, csv_text, shown_name
from monai_gmcl.ranks import Ranks
from monai_gmcl.tasks import Classification

__all__ = ["ClassReport", "PredictionsSaver", "file_of"]


class PredictionsSaver:
    """Writes ``predictions.csv`` after an evaluator has run: the file of each image and its prediction.

    ``monai.handlers.ClassificationSaver`` (MONAI 1.6.1) writes no header. This handler writes one, with ``image`` and
    the class names. The file is written atomically.

    Args:
        output_dir: folder of the file; it is created if it does not exist.
        class_names: class names in the order of the outputs. Default: their numbers.

    Shape:
        ``engine.state.output`` after decollating: ``image`` with MONAI's meta data, ``pred`` ``(K,)``.

    Raises:
        ConfigurationError: while running: another number of outputs than of names, images without a file name in their
            meta data, or several ranks.
        DataError: there was no image.
    """

    FILE_NAME = "predictions.csv"

    def __init__(self, output_dir: str | os.PathLike[str], class_names: Sequence[str] | None = None) -> None:
        self.path = Path(output_dir) / self.FILE_NAME
        self.class_names = None if class_names is None else [str(name) for name in class_names]
        self._rows: list[list[str]] = []

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._observe)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _begin(self) -> None:
        if not Ranks().alone:
            raise ConfigurationError(
                "PredictionsSaver does not combine the predictions of several ranks. Use one process."
            )
        self._rows = []

    def _observe(self, engine: Engine) -> None:
        for item in engine.state.output:  # type: ignore[union-attr]
            image, probabilities = item[Keys.IMAGE], of_classes(item[Keys.PRED], "PredictionsSaver").flatten().tolist()
            name = file_of(image, "PredictionsSaver")
            if self.class_names is not None and len(self.class_names) != len(probabilities):
                raise ConfigurationError(
                    f"PredictionsSaver: {len(self.class_names)} class names ({', '.join(self.class_names)}) for "
                    f"{len(probabilities)} outputs; expected a name for each output."
                )
            self._rows.append([name, *(f"{value:.6f}" for value in probabilities)])

    def _write(self) -> None:
        if not self._rows:
            raise DataError("PredictionsSaver: the evaluator had no image; expected at least one.")
        names = self.class_names or [str(k) for k in range(len(self._rows[0]) - 1)]
        header = ["image", *(csv_cell(shown_name(name)) for name in names)]
        make_folder(self.path.parent)
        write_whole(self.path, csv_text(header, ([csv_cell(name), *numbers] for name, *numbers in self._rows)))


def of_classes(prediction: Any, handler: str) -> Tensor:
    """Return the prediction for an image, by class; ConfigurationError where it is one for each pixel."""
    found = torch.as_tensor(prediction)
    if found.ndim > 1:
        raise ConfigurationError(
            f"{handler}: expected a prediction for each class (K,), got one for each pixel {tuple(found.shape)}. For "
            "masks use MONAI's MeanDice and MetricsSaver."
        )
    return found


def file_of(image: Any, handler: str) -> str:
    """Return the file of an evaluated image; ConfigurationError if its meta data have no file name."""
    name = image.meta.get("filename_or_obj") if isinstance(image, MetaTensor) else None
    if name is None:
        raise ConfigurationError(
            f"{handler}: an image has no file name in its metadata. Load images with "
            "monai_gmcl.data.image_transforms or MONAI's LoadImaged."
        )
    return str(name)


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
