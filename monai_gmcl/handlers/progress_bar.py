# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A progress bar with the losses and the curriculum's values that change."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar
from monai.utils.enums import CommonKeys as Keys

from monai_gmcl.engines.keys import GMCLKeys
from monai_gmcl.handlers.last_handlers import call_last
from monai_gmcl.handlers.output_numbers import LateNumbers, numbers_of, output_number, unread_output_number
from monai_gmcl.ranks import on_first_rank

__all__ = ["LessonProgressBar"]

if TYPE_CHECKING:
    from monai_gmcl.engines.trainer import GMCLTrainer

CURRICULUM = (GMCLKeys.WEIGHT, GMCLKeys.HARDNESS, GMCLKeys.DIFFICULTY)


class LessonProgressBar:
    """ignite's progress bar, one for each epoch; if stderr is not a terminal, one line for each epoch.

    It shows the loss on real images, the last validation metric, and lesson weight, hardness and difficulty if they
    have changed since the run began. The line of an epoch has its mean loss.

    Args:
        evaluator: the engine of the validation.
        metric_name: name of the metric in ``evaluator.state.metrics``; nothing is shown while it is missing.
    """

    def __init__(self, evaluator: Engine | None = None, metric_name: str = "val_auc") -> None:
        self.evaluator = evaluator
        self.metric_name = metric_name
        self._first: dict[str, float] = {}
        self._changed: set[str] = set()
        self._losses: list[float] = []
        self._late = LateNumbers()

    @on_first_rank
    def attach(self, engine: GMCLTrainer) -> None:
        """Attach to an engine."""
        if sys.stderr.isatty():
            ProgressBar().attach(engine, output_transform=self._shown)
        else:
            engine.add_event_handler(Events.EPOCH_STARTED, self._losses.clear)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._observe)
            call_last(engine, Events.EPOCH_COMPLETED, self._print)  # after the validation of the epoch

    def _shown(self, output: Any) -> dict[str, float]:
        return {str(Keys.LOSS): output_number(output, Keys.LOSS), **self._shown_beside_loss(output)}

    def _shown_beside_loss(self, output: Any) -> dict[str, float]:
        shown = {}
        for name in map(str, CURRICULUM):
            number = output_number(output, name)
            if number != self._first.setdefault(name, number):
                self._changed.add(name)
            if name in self._changed:
                shown[name] = number
        if self.evaluator is not None:
            metrics = numbers_of(self.evaluator.state.metrics)
            shown.update({name: number for name, number in metrics.items() if name == self.metric_name})
        return shown

    def _observe(self, engine: GMCLTrainer) -> None:
        self._shown_beside_loss(engine.state.output)
        self._late.add({str(Keys.LOSS): unread_output_number(engine.state.output, Keys.LOSS)})
        self._hear(self._late.if_due(engine))

    def _hear(self, steps: Sequence[Mapping[str, float]]) -> None:
        self._losses += [seen[str(Keys.LOSS)] for seen in steps]

    def _print(self, engine: GMCLTrainer) -> None:
        self._hear(self._late.read())
        if not self._losses:
            return  # in a resumed run whose epoch had no iterations left
        loss = math.fsum(self._losses) / len(self._losses)
        shown = {**self._shown(engine.state.output), str(Keys.LOSS): loss}
        numbers = ", ".join(f"{name} {number:.4g}" for name, number in shown.items())
        print(f"Epoch {engine.state.epoch}/{engine.state.max_epochs}: {numbers}", file=sys.stderr, flush=True)
