# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A progress bar with what moves in a curriculum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ignite.engine import Engine
from ignite.handlers import ProgressBar
from monai.utils.enums import CommonKeys as Keys

from monai_gmcl.engines.keys import GMCLKeys
from monai_gmcl.handlers.output_numbers import numbers_of, output_number
from monai_gmcl.ranks import on_first_rank

if TYPE_CHECKING:
    from monai_gmcl.engines.trainer import GMCLTrainer

__all__ = ["LessonProgressBar"]

SHOWN = (Keys.LOSS, GMCLKeys.WEIGHT, GMCLKeys.HARDNESS, GMCLKeys.DIFFICULTY)


class LessonProgressBar:
    """ignite's progress bar, a line that starts anew with each epoch, with what moves in a curriculum.

    Shown are the loss on real images, the lesson's weight, hardness, difficulty, and the last validation metric.

    Args:
        evaluator: the engine of the validation.
        metric_name: name of the metric in ``evaluator.state.metrics``; nothing is shown while it is not there.
    """

    def __init__(self, evaluator: Engine | None = None, metric_name: str = "val_auc") -> None:
        self.evaluator = evaluator
        self.metric_name = metric_name

    @on_first_rank
    def attach(self, engine: GMCLTrainer) -> None:
        """Follow an engine."""
        ProgressBar().attach(engine, output_transform=self._shown)

    def _shown(self, output: Any) -> dict[str, float]:
        shown = {str(key): output_number(output, key) for key in SHOWN}
        if self.evaluator is not None:
            metrics = numbers_of(self.evaluator.state.metrics)
            shown.update({name: number for name, number in metrics.items() if name == self.metric_name})
        return shown
