# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch
from ignite.engine import Engine, Events

from monai_gmcl import StudentDescription
from monai_gmcl.handlers import BestModelSaver, CurriculumLog, RunSummary, TeacherSaver


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
