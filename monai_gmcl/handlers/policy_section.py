# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_gmcl.handlers.operation_table import OperationTable
from monai_gmcl.handlers.policy_log import PolicyLog
from monai_gmcl.handlers.report_figures import policy_picture
from monai_gmcl.page import Section, Table
from monai_gmcl.teachers import PolicyTeacher
from monai_gmcl.transforms.counterparts import harmful_counterparts

if TYPE_CHECKING:
    from monai_gmcl.engines.trainer import GMCLTrainer

__all__ = ["policy_section"]

TITLE = "The teacher"


def policy_section(engine: GMCLTrainer, folder: Path) -> Section:
    """Tell what the teacher has learned, where it is a policy that can be read.

    Args:
        engine: the trainer, at the end of its run.
        folder: where :class:`PolicyLog` has written, for effects and the course by epoch.
    """
    teacher = engine.teacher
    if not isinstance(teacher, PolicyTeacher):
        return Section(TITLE, [f"A {type(teacher).__name__}: it has no policy that could be read."])
    # Not those that another run has left in the folder.
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
        [_row(name, row) for name, row in teacher.policy(difficulty, effects or None).items()],
        "Probability: how often the operation acts on an image. Share: learned; 1 is as usual. "
        + _about_effects(known),
    )
    pictures = [policy_picture(rows)] if rows else []
    return Section(TITLE, [told, *harmful_counterparts(engine.data_loader, down)], [table], pictures)


def _row(name: str, row: dict[str, Any]) -> Sequence[str]:
    ends = ["–", "–"] if row["unit"] == "probability" else [f"{row['low']:.3g}", f"{row['high']:.3g}"]
    cells = [name, *ends, str(row["unit"]), f"{row['probability']:.2f}", f"{row['share']:.2f}"]
    if "effect" in row:
        numbers = (f"{row['effect']:+.3f}", f"{row['standard_error']:.3f}")
        cells += ["–" if "nan" in number else number for number in numbers]
    return [*cells, "turned down" if row["turned_down"] else ""]


def _about_effects(known: dict[str, dict[str, Any]]) -> str:
    if not known:
        return "Attach a PolicyLog for the effects on the student's error."
    epochs = sorted({row["epoch"] for row in known.values()})
    return (
        "Effect: what the operation as learned adds to the student's error, 1 less the probability that it gives to "
        f"the label, with its standard error; measured in epoch {' and '.join(map(str, epochs))}."
    )
