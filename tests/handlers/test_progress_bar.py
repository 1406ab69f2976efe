# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import sys

import pytest
import torch
from ignite.engine import Engine, Events

from monai_gmcl import StudentDescription
from monai_gmcl.handlers import BestModelSaver, CurriculumLog, LessonProgressBar, RunSummary, TeacherSaver


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


def printed(make_trainer, folder, capsys, scores, **arguments):
    """What a run of two epochs prints; the summary is the first of its handlers."""
    evaluator, left = Engine(lambda engine, batch: None), list(scores)
    trainer = make_trainer([], **arguments)
    saver = BestModelSaver(folder / "model.pt", trainer.network, StudentDescription(["a", "b"], 2, 1), "val_auc")
    RunSummary(folder, evaluator, saver, {"Predict": "python -m predict"}).attach(trainer)
    evaluator.add_event_handler(Events.EPOCH_COMPLETED, lambda e: e.state.metrics.update(val_auc=left.pop(0)))
    saver.attach(evaluator)
    CurriculumLog(folder).attach(trainer)
    TeacherSaver(folder).attach(trainer)

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate() -> None:
        if left:
            evaluator.run([0])
            saver.epoch = trainer.state.epoch if saver.best == evaluator.state.metrics["val_auc"] else saver.epoch

    trainer.run()
    return capsys.readouterr().out


def test_the_best_epoch_the_files_and_the_next_command_are_named(make_trainer, tmp_path, capsys):
    text = printed(make_trainer, tmp_path, capsys, [0.9, 0.75])
    assert "val_auc 0.9000 in epoch 1 (last validation: 0.7500)" in text
    for file in ("model.pt", "curriculum.csv", "teacher.safetensors"):
        assert str(tmp_path / file) in text
    assert "report.html" not in text  # none was written
    assert text.endswith("Predict:\n  python -m predict\n")


def test_a_run_without_validation_says_so(make_trainer, tmp_path, capsys):
    text = printed(make_trainer, tmp_path, capsys, [])
    assert "no epoch was validated" in text and "model.pt" not in text


def test_what_the_policy_turned_down_is_named(make_trainer, tmp_path, capsys):
    assert "no operation" in printed(make_trainer, tmp_path, capsys, [0.5])
    trainer = make_trainer([])
    teacher = trainer.teacher
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.sub_(10.0)
    assert teacher.turned_down
    text = printed(make_trainer, tmp_path, capsys, [0.5], teacher=teacher, teacher_optimizer=None)
    assert ", ".join(teacher.turned_down) in text
