# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
from ignite.engine import Engine, Events

from monai_gmcl.handlers import LessonProgressBar


@pytest.mark.parametrize("decollate", [True, False])
def test_the_bar_shows_what_moves_in_a_curriculum(make_trainer, capsys, decollate):
    trainer = make_trainer([LessonProgressBar()], decollate=decollate)
    trainer.curriculum.schedules["hardness"] = 0.25
    trainer.curriculum.difficulty = 1.5
    trainer.run()
    shown = capsys.readouterr().err
    assert "Epoch [2/2]" in shown and "[1/3]" in shown
    assert "loss=" in shown
    assert "weight=1, hardness=0.25, difficulty=1.5" in shown


def test_the_last_validation_metric_is_shown_from_when_it_is_there(make_trainer, capsys):
    evaluator = Engine(lambda engine, batch: None)
    evaluator.add_event_handler(Events.EPOCH_COMPLETED, lambda e: e.state.metrics.update(val_auc=0.875, other=0.5))
    trainer = make_trainer([LessonProgressBar(evaluator)])
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([0]))
    trainer.run()
    first, second = capsys.readouterr().err.split("Epoch [2/2]", maxsplit=1)
    assert "val_auc" not in first
    assert "val_auc=0.875" in second and "other" not in second


def test_another_metric_can_be_named(make_trainer, capsys):
    evaluator = Engine(lambda engine, batch: None)
    evaluator.state.metrics["val_accuracy"] = 0.625
    make_trainer([LessonProgressBar(evaluator, metric_name="val_accuracy")], max_epochs=2).run()
    assert "val_accuracy=0.625" in capsys.readouterr().err
