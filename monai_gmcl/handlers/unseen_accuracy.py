# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Accuracy on unseen images, for the curriculum."""

from __future__ import annotations

import math

from ignite.engine import Engine, Events

from monai_gmcl.engines.trainer import GMCLTrainer
from monai_gmcl.exceptions import ConfigurationError

__all__ = ["UnseenAccuracy"]


class UnseenAccuracy:
    """Passes the student's accuracy on images that it is not trained on to the curriculum, after each validation.

    :class:`monai_gmcl.Competence` then sets the difficulty so that lessons are as hard as unseen images. Without this
    handler, lessons are harder than training images by a fixed gap. One number of the validation influences the
    training, so that the final evaluation must use other images.

    Args:
        evaluator: the engine of the validation.
        metric_name: name of an accuracy in the metrics of the evaluator, 0 to 1.

    Raises:
        ConfigurationError: on attaching, an engine without a curriculum; after a validation, a missing metric, or a
            metric that is not an accuracy.
    """

    def __init__(self, evaluator: Engine, metric_name: str = "val_accuracy") -> None:
        self.evaluator = evaluator
        self.metric_name = metric_name

    def attach(self, engine: GMCLTrainer) -> None:
        """Attach to the evaluator, for a trainer."""
        curriculum = getattr(engine, "curriculum", None)
        if curriculum is None:
            raise ConfigurationError(
                f"UnseenAccuracy got a {type(engine).__name__} without a curriculum; expected a GMCLTrainer."
            )
        self.evaluator.add_event_handler(Events.COMPLETED, lambda: curriculum.observe_unseen(self._accuracy()))

    def _accuracy(self) -> float:
        metrics = self.evaluator.state.metrics
        if self.metric_name not in metrics:
            raise ConfigurationError(
                f"UnseenAccuracy: expected the metric {self.metric_name!r} of the evaluator, found "
                f"{', '.join(metrics) or 'none'}."
            )
        accuracy = float(metrics[self.metric_name])
        if not (math.isfinite(accuracy) and 0 <= accuracy <= 1):
            raise ConfigurationError(
                f"UnseenAccuracy: expected {self.metric_name!r} to be an accuracy from 0 to 1, got {accuracy}."
            )
        return accuracy
