# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.metrics.rocauc import compute_roc_auc
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from monai_gmcl.atomic_file import make_folder, write_whole
from monai_gmcl.names import csv_cell, shown_name
from monai_gmcl.ranks import Ranks

__all__ = ["ClassReport", "class_report"]


class ClassReport:
    """Writes ``class_report.csv`` after an evaluation, of the images of all ranks: a row for each class, one for all.

    Args:
        output_dir: folder of the file; made if there is none.
        class_names: in the order of the labels.

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
        """Follow an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._seen.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._observe)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._write)

    def _observe(self, engine: Engine) -> None:
        for item in engine.state.output:  # type: ignore[union-attr]
            label = torch.as_tensor(item[Keys.LABEL])
            label = label.argmax() if label.numel() > 1 else label.reshape(())
            self._seen.append((torch.as_tensor(item[Keys.PRED]).cpu(), label.cpu().long()))

    def _write(self) -> None:
        ranks = Ranks()
        probabilities, labels = (ranks.all_gather(torch.stack(column)) for column in zip(*self._seen, strict=True))
        if ranks.index > 0:
            return
        rows = class_report(probabilities, labels, self.class_names)
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "class": csv_cell(shown_name(row["class"]))} for row in rows)
        make_folder(self.path.parent)
        write_whole(self.path, text.getvalue())


def class_report(probabilities: Tensor, labels: Tensor, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Return how right the predictions are, for each class and for all.

    For a class: ``accuracy`` is the share of its images that are predicted as it (sensitivity), ``precision`` the share
    of images predicted as it that are, ``auc`` the area under the ROC curve of it against the rest. For all: the share
    of right predictions, and the means of ``precision`` and ``auc`` over classes. NaN where there is nothing to count.

    Args:
        probabilities: ``(N, K)``.
        labels: ``(N,)`` int64.
        class_names: K names.
    """
    predicted = probabilities.argmax(1)
    rows: list[dict[str, Any]] = []
    for index, name in enumerate(class_names):
        of_class, named = labels == index, predicted == index
        right = of_class & named
        rows.append(
            {
                "class": name,
                "images": int(of_class.sum()),
                "predicted": int(named.sum()),
                "accuracy": _share(right, of_class),
                "precision": _share(right, named),
                "auc": _auc(probabilities[:, index], of_class),
            }
        )
    means = {
        name: float(torch.tensor([row[name] for row in rows], dtype=torch.float64).nanmean())
        for name in ("precision", "auc")
    }
    accuracy = int((predicted == labels).sum()) / len(labels)
    return [*rows, {"class": "all", "images": len(labels), "predicted": len(labels), "accuracy": accuracy, **means}]


def _share(part: Tensor, whole: Tensor) -> float:
    return int(part.sum()) / int(whole.sum()) if whole.any() else float("nan")


def _auc(scores: Tensor, of_class: Tensor) -> float:
    if of_class.all() or not of_class.any():
        return float("nan")
    return float(torch.as_tensor(compute_roc_auc(scores, of_class.long())))
