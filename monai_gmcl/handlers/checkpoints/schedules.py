# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Learning-rate schedules of a resumed run: saved progress, new plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.optim.lr_scheduler import LRScheduler

from monai_gmcl.exceptions import CheckpointError

__all__ = ["check_length", "merged_plan"]


def merged_plan(begun: Any, saved: Any, new: Any, name: str) -> Any:
    """Return the state with which a schedule continues: its saved progress, and its new plan.

    Three states are compared: at the start of the run, in the checkpoint, and as built now. CheckpointError if an
    attribute is part of both plan and progress, and differs.
    """
    if isinstance(saved, Mapping) and isinstance(begun, Mapping) and isinstance(new, Mapping):
        if set(begun) == set(new):
            return {
                key: merged_plan(begun[key], value, new[key], f"{name}.{key}") if key in new else value
                for key, value in saved.items()
            }
    elif isinstance(saved, list | tuple) and _same_length(begun, saved, new):
        items = zip(begun, saved, new, strict=True)
        return [merged_plan(*item, f"{name}.{index}") for index, item in enumerate(items)]
    if begun == new:
        return saved
    if begun == saved:
        return new
    raise CheckpointError(
        f"{name} was {begun!r} at the beginning of the run, is {saved!r} in the checkpoint and {new!r} now. A schedule "
        "of another kind cannot continue it. Use the same schedule, or start a new run in another folder."
    )


def _same_length(*values: Any) -> bool:
    return all(isinstance(value, list | tuple) and len(value) == len(values[0]) for value in values)


def check_length(schedule: Any, name: str, done: int, wanted: int) -> None:
    """Raise CheckpointError if a schedule of fixed length, such as OneCycleLR, is too short for all iterations."""
    total = getattr(schedule, "total_steps", None)
    if not isinstance(schedule, LRScheduler) or not isinstance(total, int) or done < 1:
        return
    needed = -(-schedule.last_epoch * wanted // done)
    if needed > total:
        raise CheckpointError(
            f"{name} is planned for {total} steps, of which {schedule.last_epoch} are done; {wanted} iterations need "
            f"about {needed} steps. Build {type(schedule).__name__} with total_steps={needed} or more, or train for "
            "fewer epochs."
        )
