# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Parts of a run's report that are mostly tables."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from monai.config import deviceconfig
from torch import Tensor

import monai_gmcl
from monai_gmcl.handlers.class_report import class_report
from monai_gmcl.handlers.report_figures import confusion_picture, reliability_picture
from monai_gmcl.page import Section, Table
from monai_gmcl.ranks import Ranks

if TYPE_CHECKING:
    from monai_gmcl.engines.trainer import GMCLTrainer

__all__ = ["accuracy_section", "environment_section"]


def accuracy_section(outputs: Tensor, labels: Tensor, names: Sequence[str], weights: str) -> Section:
    """Tell how right the student is.

    Args:
        outputs: logits ``(N, K)``; one column stands for two classes.
        labels: classes ``(N,)``, or float ``(N, K)``.
        names: of the classes, or of the labels.
        weights: which ones the student has, in words.
    """
    share = "" if Ranks().alone else " (the first rank's share)"
    text = f"On the {len(labels)} validation images{share}, with {weights}. Not for diagnosis."
    if labels.is_floating_point() and outputs.shape[1] > 1:
        return Section("The student", [text], [_table_of_labels(outputs.sigmoid(), labels, names)])
    probabilities = outputs.softmax(1)
    if outputs.shape[1] == 1:
        probabilities = torch.cat([1 - outputs.sigmoid(), outputs.sigmoid()], 1)
    classes = labels.flatten().round().long()
    found = class_report(probabilities, classes, names)
    rows = [[str(row["class"]), *map(_told, list(row.values())[1:])] for row in found]
    columns = ["class", "images", "predicted", "accuracy", "precision", "AUC"]
    pictures = [confusion_picture(probabilities, classes, names), reliability_picture(probabilities, classes)]
    return Section("The student", [text], [Table("By class", columns, rows)], photos=pictures)


def environment_section(engine: GMCLTrainer) -> Section:
    """List versions and the device."""
    versions: dict[str, Any] = {}
    for read in (deviceconfig.get_config_values, deviceconfig.get_optional_config_values):
        versions |= read()  # type: ignore[no-untyped-call]
    known = [[name, str(version)] for name, version in versions.items() if "NOT INSTALLED" not in str(version)]
    device = torch.cuda.get_device_name(engine.device) if engine.device.type == "cuda" else platform.machine()
    own = [["monai_gmcl", monai_gmcl.__version__], ["Python", platform.python_version()]]
    rows = [*own, ["device", f"{engine.device}, {device}"], *known]
    return Section("Environment", folded=[Table("Versions", ["package", "version"], rows)])


def _table_of_labels(probabilities: Tensor, labels: Tensor, names: Sequence[str]) -> Table:
    rows = []
    for k, name in enumerate(names):
        given, score = labels[:, k] > 0.5, probabilities[:, k]
        of_label = class_report(torch.stack([1 - score, score], 1), given.long(), ["without", "with"])[1]
        rows.append([name, *(_told(of_label[key]) for key in ("images", "predicted", "accuracy", "precision", "auc"))])
    return Table("By label", ["label", "images", "predicted", "sensitivity", "precision", "AUC"], rows)


def _told(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return "–" if math.isnan(value) else f"{value:.3f}"
