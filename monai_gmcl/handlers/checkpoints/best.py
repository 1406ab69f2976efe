# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Saves the student with the best validation to one file."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from torch import nn

from monai_gmcl.atomic_file import make_folder
from monai_gmcl.engines.student_pass import unwrapped
from monai_gmcl.handlers.checkpoints.folder import write_atomically
from monai_gmcl.handlers.checkpoints.plain_state import check_finite
from monai_gmcl.ranks import on_first_rank
from monai_gmcl.student_description import StudentDescription
from monai_gmcl.student_file import student_bytes

__all__ = ["BestModelSaver"]

logger = logging.getLogger(__name__)


class BestModelSaver:
    """Saves the student with the best validation metric to one file, written atomically.

    Give this handler to :class:`CheckpointKeeper` in ``save_dict``, so that a resumed run knows the best metric so far.
    ``monai.handlers.CheckpointSaver`` forgets it when a run is resumed, and saves the next student in any case.

    Args:
        path: path of the file, in the format of :func:`monai_gmcl.save_student`; its folder is created if it does not
            exist.
        network: the student.
        description: description of the student.
        metric_name: name of the metric; larger is better. Default: the evaluator's key metric.

    Attributes:
        best: the best metric so far, None before the first validation.
        epoch: the trainer's epoch of the best metric.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        network: nn.Module,
        description: StudentDescription,
        metric_name: str | None = None,
    ) -> None:
        self.path = Path(path)
        self.network = network
        self.description = description
        self.metric_name = metric_name
        self.best: float | None = None
        self.epoch = 0

    @on_first_rank
    def attach(self, engine: Engine) -> None:
        """Attach to the engine of the validation."""
        engine.add_event_handler(Events.COMPLETED, self._compare)

    def state_dict(self) -> dict[str, Any]:
        """Return the best metric and its epoch."""
        return {"best": self.best, "epoch": self.epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self.best, self.epoch = state["best"], state["epoch"]

    def _compare(self, engine: Engine) -> None:
        name = str(self.metric_name or getattr(engine.state, "key_metric_name", None))
        found = float(engine.state.metrics[name])
        if math.isnan(found) or (self.best is not None and found <= self.best):
            return
        network = unwrapped(self.network)
        check_finite(network, "model")
        content = student_bytes(network, self.description)
        make_folder(self.path.parent)
        write_atomically(self.path, content)
        self.best, self.epoch = found, engine.state.epoch
