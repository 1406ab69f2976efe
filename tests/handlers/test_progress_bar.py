# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
import sys

import pytest
from ignite.engine import Engine, Events

from monai_gmcl.handlers import LessonProgressBar


@pytest.fixture
def terminal(monkeypatch, capsys):
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda stream: True, raising=False)


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("decollate", [True, False])
def test_the_bar_shows_the_loss_and_what_changes(make_trainer, capsys, decollate):
    trainer = make_trainer([LessonProgressBar()], decollate=decollate)
    trainer.curriculum.schedules["hardness"] = 0.25
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: setattr(engine.curriculum, "difficulty", engine.state.iteration / 2)
    )
    trainer.run()
    shown = capsys.readouterr().err
    assert "Epoch [2/2]" in shown and "[1/3]" in shown
    assert re.search(r"loss=\S+, difficulty=", shown)
    assert "weight=" not in shown and "hardness=" not in shown


@pytest.mark.usefixtures("terminal")
def test_the_last_validation_metric_is_shown_from_when_it_is_there(make_trainer, capsys):
    evaluator = Engine(lambda engine, batch: None)
    evaluator.add_event_handler(Events.EPOCH_COMPLETED, lambda e: e.state.metrics.update(val_auc=0.875, other=0.5))
    trainer = make_trainer([LessonProgressBar(evaluator)])
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([0]))
    trainer.run()
    first, second = capsys.readouterr().err.split("Epoch [2/2]", maxsplit=1)
    assert "val_auc" not in first
    assert "val_auc=0.875" in second and "other" not in second


def test_without_a_terminal_each_epoch_is_one_line_with_its_mean_loss_and_its_own_validation(make_trainer, capsys):
    evaluator, losses = Engine(lambda engine, batch: None), []
    evaluator.add_event_handler(Events.COMPLETED, lambda e: e.state.metrics.update(val_accuracy=len(losses) / 8))
    trainer = make_trainer([LessonProgressBar(evaluator, metric_name="val_accuracy")], decollate=False)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output["loss"]))
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([0]))
    trainer.run()
    means = [sum(map(float, part)) / 3 for part in (losses[:3], losses[3:])]
    lines = capsys.readouterr().err.splitlines()
    assert [re.sub(r", difficulty [^,]+", "", line) for line in lines] == [
        f"Epoch 1/2: loss {means[0]:.4g}, val_accuracy 0.375",
        f"Epoch 2/2: loss {means[1]:.4g}, val_accuracy 0.75",
    ]
