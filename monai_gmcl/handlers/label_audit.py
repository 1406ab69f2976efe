# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A list of labels that are probably wrong, from a student's predictions."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from ignite.engine import Engine, Events
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from monai_gmcl.atomic_file import make_folder, write_whole
from monai_gmcl.exceptions import ConfigurationError, DataError, LabelError
from monai_gmcl.handlers.predictions_saver import file_of
from monai_gmcl.metrics.label_noise import (
    FalseLabelShare,
    confident_classes,
    false_label_share,
    label_joint,
    normalized_margin,
    self_confidence,
)
from monai_gmcl.names import csv_cell, csv_text, shown_name
from monai_gmcl.ranks import Ranks
from monai_gmcl.reporting.figures import optional_picture
from monai_gmcl.reporting.image_sheet import COLUMNS, SheetRow, image_sheet
from monai_gmcl.tasks import Classification

__all__ = ["LabelAudit"]

MOST_ROWS = 20
"""Largest number of rows of the contact sheet, one for each pair of given label and predicted class."""
Pair = tuple[int, int]


class _Judged(NamedTuple):
    file: str
    label: int
    probabilities: Tensor


class LabelAudit:
    """Lists labels that are probably wrong, the most suspicious first, after an evaluator has run on labeled images.

    Writes three files:

    - ``label_audit.csv``: for each image the given label, the predicted class, the probability of the given label
      (``self_confidence``), the ``score`` by which rows are sorted (:func:`normalized_margin`, -1 to 1, the most
      suspicious first), and ``suspected_class``, the class that :func:`confident_classes` assigns if it is not the
      given one.
    - ``label_audit.png``: the most suspicious images by given label and predicted class.
    - ``label_audit.json``: the estimated fraction of wrong labels with its interval, the joint distribution of given
      and true labels, and the source of the probabilities.

    The probabilities should come from students that were not trained on the image's label, as in ``python -m monai_gmcl
    audit``. If a student has memorized wrong labels, they are not found.

    Args:
        output_dir: folder of the files; it is created if it does not exist.
        class_names: class names in the order of the outputs, 2 or more.
        students: a description of the students that predicted the probabilities, for the JSON file.
        parts: the split of each image file, which is written to a column of the table. Default: none.
        resamples: number of bootstrap samples for the interval.
        seed: seed of the bootstrap.

    Shape:
        ``engine.state.output`` after decollating: ``image`` with MONAI's meta data, values from 0 to 1; ``pred``
        probabilities ``(K,)``; ``label`` a class, or one-hot ``(K,)``.

    Raises:
        ConfigurationError: fewer than two classes; while running: another number of outputs than of names, outputs that
            are not probabilities, images without a file name in their meta data, a class without images, or several
            ranks.
        LabelError: while running: a label outside the classes.
        DataError: while running: there was no image, or an image occurred twice.
    """

    FILE_NAME = "label_audit.csv"
    SHEET_NAME = "label_audit.png"
    SUMMARY_NAME = "label_audit.json"

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        class_names: Sequence[str],
        students: str = "the evaluator's network",
        parts: Mapping[str, str] | None = None,
        resamples: int = 1000,
        seed: int = 0,
    ) -> None:
        self.class_names = [str(name) for name in class_names]
        if len(self.class_names) < 2:
            raise ConfigurationError(f"LabelAudit: expected two classes or more, got {self.class_names}.")
        self.folder = Path(output_dir)
        self.students = students
        self.parts = parts
        self.resamples, self.seed = resamples, seed
        self._judged: dict[str, _Judged] = {}
        self._suspects: dict[Pair, list[tuple[float, Tensor]]] = {}

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._observe)
        engine.add_event_handler(Events.COMPLETED, lambda: self.write())

    def add(self, file: str, label: int, probabilities: Tensor, image: Tensor) -> None:
        """Add a student's prediction for an image.

        Args:
            file: file of the image.
            label: the given label, 0 to K - 1.
            probabilities: probabilities of the classes, ``(K,)``.
            image: the image to show, ``(C, H, W)`` or ``(C, D, H, W)``, values from 0 to 1.

        Raises:
            ConfigurationError: another number of probabilities than of class names.
            LabelError: a label outside the classes.
            DataError: the file was added before.
        """
        if probabilities.shape != (len(self.class_names),):
            raise ConfigurationError(
                f"LabelAudit: {len(self.class_names)} class names ({', '.join(self.class_names)}) for probabilities of "
                f"shape {tuple(probabilities.shape)}; expected a name for each probability."
            )
        if not 0 <= label < len(self.class_names):
            raise LabelError(
                f"LabelAudit: {file!r} has the label {label}; expected 0 to {len(self.class_names) - 1}, a class of "
                f"{', '.join(self.class_names)}."
            )
        if file in self._judged:
            raise DataError(f"LabelAudit: {file!r} was added twice; expected each image once.")
        probabilities = probabilities.detach().double().cpu()
        self._judged[file] = _Judged(file, label, probabilities)
        said = int(probabilities.argmax())
        if said != label:
            # Only the most suspicious images of each pair are kept, because all images may not fit into memory.
            doubts = self._suspects.setdefault((label, said), [])
            doubts.append((float(probabilities[label] - probabilities[said]), image.detach().cpu().float()))
            doubts.sort(key=lambda doubt: doubt[0])
            del doubts[COLUMNS:]

    def write(self) -> FalseLabelShare:
        """Write the three files; return the estimated fraction of wrong labels.

        Raises:
            ConfigurationError: values that are not probabilities, or a class without images.
            DataError: no image was added.
            OutputError: the disk is full or cannot be written to.
        """
        if not self._judged:
            raise DataError("LabelAudit: no image was added; expected at least one image of each class.")
        probabilities = torch.stack([judged.probabilities for judged in self._judged.values()])
        labels = torch.tensor([judged.label for judged in self._judged.values()])
        share = false_label_share(probabilities, labels, self.resamples, seed=self.seed)
        make_folder(self.folder)
        write_whole(self.folder / self.FILE_NAME, self._table(probabilities, labels))
        with optional_picture(self.folder / self.SHEET_NAME):
            write_whole(self.folder / self.SHEET_NAME, image_sheet(self._rows()))
        summary = json.dumps(self._summary(probabilities, labels, share), indent=1)
        write_whole(self.folder / self.SUMMARY_NAME, summary + "\n")
        return share

    def _begin(self) -> None:
        if not Ranks().alone:
            raise ConfigurationError("LabelAudit does not combine the results of several ranks. Use one process.")
        self._judged, self._suspects = {}, {}

    def _observe(self, engine: Engine) -> None:
        for item in engine.state.output:  # type: ignore[union-attr]
            image, label = item[Keys.IMAGE], Classification().classes(torch.as_tensor(item[Keys.LABEL]).view(1, -1))
            self.add(file_of(image, "LabelAudit"), int(label), torch.as_tensor(item[Keys.PRED]), torch.as_tensor(image))

    def _table(self, probabilities: Tensor, labels: Tensor) -> str:
        margins, own = normalized_margin(probabilities, labels), self_confidence(probabilities, labels)
        said, counted = probabilities.argmax(1), confident_classes(probabilities, labels)
        files, names = list(self._judged), [csv_cell(shown_name(name)) for name in self.class_names]
        part = ["part"] if self.parts is not None else []
        header = ["image", *part, "given_label", "student_class", "self_confidence", "score", "suspected_class"]
        rows = []
        for i in margins.argsort(stable=True).tolist():
            parts = [] if self.parts is None else [self.parts.get(files[i], "")]
            suspected = names[counted[i]] if int(counted[i]) not in (-1, int(labels[i])) else ""
            numbers = f"{own[i]:.6f}", f"{margins[i]:.6f}"
            rows.append([csv_cell(files[i]), *parts, names[labels[i]], names[said[i]], *numbers, suspected])
        return csv_text(header, rows)

    def _rows(self) -> list[SheetRow]:
        """Rows of the contact sheet, the most suspicious first."""
        pairs = sorted(self._suspects, key=lambda pair: self._suspects[pair][0][0])[:MOST_ROWS]
        if not pairs:
            return [SheetRow("The student predicts the given label of every image.", [[]])]
        names = self.class_names
        return [
            SheetRow(f"given {names[label]}, predicted {names[said]}", [[x for _, x in self._suspects[label, said]]])
            for label, said in pairs
        ]

    def _summary(self, probabilities: Tensor, labels: Tensor, share: FalseLabelShare) -> dict[str, Any]:
        counted = confident_classes(probabilities, labels)
        return {
            "students": self.students,
            "images": len(labels),
            "suspected": int(((counted >= 0) & (counted != labels)).sum()),
            "false_label_share": share._asdict(),
            "interval": f"95 % percentile bootstrap, {self.resamples} resamples, seed {self.seed}",
            "class_names": self.class_names,
            "joint": label_joint(probabilities, labels).tolist(),
        }
