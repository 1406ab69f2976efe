# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The student of the best validation, in one file."""

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
    """Keeps the student of the best validation in one file, replaced whole or not at all.

    Where a run is resumed, ``monai.handlers.CheckpointSaver`` forgets what was best and writes whatever comes next;
    this handler's best is part of the checkpoint: give it to :class:`CheckpointKeeper` in its ``save_dict``.

    Args:
        path: of the file, as :func:`monai_gmcl.save_student` writes it; its folder is made if there is none.
        network: the student.
        description: what it is trained for.
        metric_name: larger is better. Default: the evaluator's key metric.

    Attributes:
        best: the best so far, None before the first validation.
        epoch: of the trainer's, when it was.
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
        """Follow the engine of the validation."""
        engine.add_event_handler(Events.COMPLETED, self._compare)

    def state_dict(self) -> dict[str, Any]:
        """Return what is best."""
        return {"best": self.best, "epoch": self.epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what was saved."""
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
