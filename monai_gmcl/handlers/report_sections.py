# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Parts of a run's report that are mostly tables: results of the student, the learned policy, versions."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.config import deviceconfig
from torch import Tensor

import monai_gmcl
from monai_gmcl.engines.trainer import GMCLTrainer
from monai_gmcl.handlers.epoch_table import OperationTable
from monai_gmcl.handlers.policy_log import PolicyLog
from monai_gmcl.metrics.classification import class_report
from monai_gmcl.ranks import Ranks
from monai_gmcl.reporting.page import Section, Table
from monai_gmcl.reporting.run_figures import confusion_picture, policy_picture, reliability_picture
from monai_gmcl.tasks import Classification, MultiLabel
from monai_gmcl.teachers import PolicyTeacher
from monai_gmcl.transforms.counterparts import harmful_counterparts

__all__ = ["accuracy_section", "environment_section", "policy_section"]

NONE = "–"


def accuracy_section(
    task: Classification | MultiLabel, outputs: Tensor, labels: Tensor, names: Sequence[str], weights: str
) -> Section:
    """Report the student's results on the validation images.

    The outputs are logits ``(N, K)`` (one column for two classes); the labels have the form that the task uses.
    ``weights`` describes the weights of the student in words.
    """
    share = "" if Ranks().alone else " of the first rank"
    text = f"Results of {weights} on the {len(labels)} validation images{share}. Not for diagnosis."
    if isinstance(task, MultiLabel) and outputs.shape[1] > 1:
        return Section("The student", [text], [_table_of_labels(outputs.sigmoid(), labels, names)])
    probabilities = outputs.softmax(1)
    if outputs.shape[1] == 1:
        probabilities = torch.cat([1 - outputs.sigmoid(), outputs.sigmoid()], 1)
    classes = task.classes(labels)
    rows = [[name, *map(_told, numbers)] for name, *numbers in _values(class_report(probabilities, classes, names))]
    columns = ["class", "images", "predicted", "accuracy", "precision", "AUC"]
    pictures = [confusion_picture(probabilities, classes, names), reliability_picture(probabilities, classes)]
    return Section("The student", [text], [Table("By class", columns, rows)], photos=pictures)


def _table_of_labels(probabilities: Tensor, labels: Tensor, names: Sequence[str]) -> Table:
    rows = []
    for name, given, score in zip(names, (labels > 0.5).T, probabilities.T, strict=True):
        found = _values(class_report(torch.stack([1 - score, score], 1), given.long(), ["without", "with"]))
        rows.append([name, *map(_told, found[1][1:])])
    return Table("By label", ["label", "images", "predicted", "sensitivity", "precision", "AUC"], rows)


def _values(rows: Sequence[dict[str, Any]]) -> list[list[Any]]:
    return [list(row.values()) for row in rows]


def _told(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return NONE if math.isnan(value) else f"{value:.3f}"


def policy_section(engine: GMCLTrainer, folder: Path) -> Section:
    """Report the policy of a PolicyTeacher. Effects, and shares by epoch, are read from a log in the folder."""
    teacher, title = engine.teacher, "The teacher"
    if not isinstance(teacher, PolicyTeacher):
        return Section(title, [f"The teacher is a {type(teacher).__name__}, which has no policy."])
    # Logs of another run in the folder are ignored.
    names = {operation.name for operation in teacher.operations}
    logged = [row for row in OperationTable(folder / PolicyLog.FILE_NAME).read() if row["operation"] in names]
    rows = [row for row in logged if row["epoch"] <= engine.state.epoch]
    known = {row["operation"]: row for row in rows if not math.isnan(row["effect"])}
    effects = {name: (row["effect"], row["standard_error"]) for name, row in known.items()}
    down = teacher.turned_down
    told = f"Turned down (share below 1/2): {', '.join(down) or 'nothing'}."
    difficulty = float(engine.state.curriculum["difficulty"])
    table = Table(
        f"Policy at the last difficulty, {difficulty:.3g}",
        ["operation", "from", "to", "unit", "probability", "share", *(["effect", "s.e."] if effects else []), ""],
        [_policy_row(name, row) for name, row in teacher.policy(difficulty, effects or None).items()],
        "Probability is how often the operation is applied to an image. Share is its learned strength; 1 is the usual "
        "strength. " + _about_effects(known),
    )
    pictures = [policy_picture(rows)] if rows else []
    return Section(title, [told, *harmful_counterparts(engine.data_loader, down)], [table], pictures)


def _policy_row(name: str, row: dict[str, Any]) -> Sequence[str]:
    ends = [NONE, NONE] if row["unit"] == "probability" else [f"{row['low']:.3g}", f"{row['high']:.3g}"]
    cells = [name, *ends, str(row["unit"]), f"{row['probability']:.2f}", f"{row['share']:.2f}"]
    if "effect" in row:
        numbers = (f"{row['effect']:+.3f}", f"{row['standard_error']:.3f}")
        cells += [NONE if "nan" in number else number for number in numbers]
    return [*cells, "turned down" if row["turned_down"] else ""]


def _about_effects(known: dict[str, dict[str, Any]]) -> str:
    if not known:
        return "Attach a PolicyLog to see the effects on the student's error."
    epochs = sorted({row["epoch"] for row in known.values()})
    return (
        "Effect is the change of the student's error by the operation, with its standard error. The error is 1 minus "
        f"the predicted probability of the label. Effects were measured in epoch {' and '.join(map(str, epochs))}."
    )


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
