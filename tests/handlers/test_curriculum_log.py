# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging

import matplotlib.image
import pytest
import torch
from ignite.engine import Events
from matplotlib.axes import Axes
from monai.engines.evaluator import Evaluator
from monai.handlers.validation_handler import ValidationHandler

from monai_gmcl import Curriculum, GMCLKeys, LinearRamp
from monai_gmcl.handlers import CurriculumLog, CurvesHandler
from monai_gmcl.handlers.epoch_table import EpochTable
from monai_gmcl.reporting.run_figures import curves_png


class Recorder:
    """Collects what the engine shows, by epoch, with sums of its own."""

    def __init__(self):
        self.epochs = {}

    def attach(self, engine):
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.record)

    def record(self, engine):
        output = engine.state.output
        items = output if isinstance(output, list) else [output]
        numbers = {
            k: torch.as_tensor(items[-1][k]).item()
            for k in ("loss", GMCLKeys.SYNTHETIC_LOSS, GMCLKeys.TEACHER_GRAD_NORM)
        }
        epoch = self.epochs.setdefault(engine.state.epoch, {"rows": [], "images": None})
        epoch["rows"].append({**{str(k): v for k, v in numbers.items()}, **engine.state.curriculum})
        epoch["images"] = None if engine.state.lesson is None else engine.state.lesson.images.detach().clone()

    def mean(self, epoch, name):
        rows = self.epochs[epoch]["rows"]
        return sum(row[name] for row in rows) / len(rows)


def read(folder):
    return EpochTable(folder / "curriculum.csv").read()


def make_evaluator():
    """An evaluator whose metric is 0.1 times the number of times it has run."""
    evaluator = Evaluator("cpu", [0], iteration_update=lambda engine, batch: None, decollate=False)
    runs = []

    @evaluator.on(Events.EPOCH_COMPLETED)
    def measure(engine):
        runs.append(1)
        engine.state.metrics["val_auc"] = 0.1 * len(runs)

    return evaluator


@pytest.mark.parametrize(("spatial_dims", "decollate"), [(2, True), (3, False)])
def test_rows_are_the_means_of_what_the_engine_showed(make_trainer, tmp_path, spatial_dims, decollate):
    recorder = Recorder()
    make_trainer([CurriculumLog(tmp_path), recorder], spatial_dims, decollate=decollate).run()
    rows = read(tmp_path)
    assert [row["epoch"] for row in rows] == [1, 2]
    for row in rows:
        assert len(recorder.epochs[row["epoch"]]["rows"]) == 3
        for name in (
            *("loss", "synthetic_loss", "teacher_grad_norm", "real_accuracy", "lesson_accuracy"),
            *("real_weight", "lesson_weight", "hardness", "difficulty"),
        ):
            assert row[name] == pytest.approx(recorder.mean(row["epoch"], name), rel=1e-12)
    assert rows[1]["teacher_grad_norm"] > 0


def test_rows_are_the_same_where_the_device_is_read_late(make_trainer, tmp_path):
    for every, folder in ((1, tmp_path / "once"), (4, tmp_path / "late")):
        log = CurriculumLog(folder)
        trainer = make_trainer([log], curriculum=Curriculum(difficulty=1.0))
        trainer.late_reading.every = every
        trainer.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda log=log: log.state_dict())
        trainer.run()
    once, late = read(tmp_path / "once"), read(tmp_path / "late")
    assert late == [pytest.approx(row) for row in once] and len(late) == 2


def test_diversity_is_the_mean_distance_between_the_last_lessons_images(make_trainer, tmp_path):
    recorder = Recorder()
    make_trainer([CurriculumLog(tmp_path), recorder]).run()
    for row in read(tmp_path):
        images = recorder.epochs[row["epoch"]]["images"].double()
        distances = [((images[i] - images[j]) ** 2).mean().sqrt().item() for i in range(len(images)) for j in range(i)]
        assert row["diversity"] == pytest.approx(sum(distances) / len(distances), rel=1e-5)


def test_without_lessons_their_cells_are_empty(make_trainer, tmp_path):
    make_trainer([CurriculumLog(tmp_path)], curriculum=Curriculum(lesson_weight=0.0)).run()
    row = read(tmp_path)[0]
    assert "synthetic_loss" not in row and "diversity" not in row
    assert row["loss"] > 0


def test_iterations_without_a_lesson_do_not_spoil_the_mean_of_the_others(make_trainer, tmp_path):
    recorder = Recorder()
    ramp = Curriculum(lesson_weight=LinearRamp(0.0, 1.0, end=0.5))
    make_trainer([CurriculumLog(tmp_path), recorder], curriculum=ramp, max_epochs=1).run()
    losses = [row["synthetic_loss"] for row in recorder.epochs[1]["rows"]]
    assert losses[0] == 0 and losses[1] > 0
    assert read(tmp_path)[0]["synthetic_loss"] == pytest.approx((losses[1] + losses[2]) / 2)


@pytest.mark.parametrize("log_first", [True, False])
def test_validation_is_in_the_row_of_its_epoch_wherever_its_handler_stands(make_trainer, tmp_path, log_first):
    evaluator = make_evaluator()
    handlers = [CurriculumLog(tmp_path, evaluator=evaluator), ValidationHandler(2, evaluator, epoch_level=True)]
    make_trainer(handlers if log_first else handlers[::-1], max_epochs=4).run()
    assert [row.get("val_auc") for row in read(tmp_path)] == [None, pytest.approx(0.1), None, pytest.approx(0.2)]


def test_training_metrics_get_columns_of_their_own(make_trainer, tmp_path):
    trainer = make_trainer([CurriculumLog(tmp_path)], max_epochs=1)

    @trainer.on(Events.ITERATION_COMPLETED)
    def measure(engine):
        engine.state.metrics.update(loss=0.125, train_accuracy=torch.tensor(0.5), matrix=torch.ones(2, 2))

    trainer.run()
    row = read(tmp_path)[0]
    assert row["train_loss"] == 0.125 and row["train_accuracy"] == 0.5
    assert row["loss"] != 0.125 and "train_matrix" not in row


def test_a_run_that_is_run_on_writes_each_epoch_once(make_trainer, tmp_path):
    writes = []
    log = CurriculumLog(tmp_path)
    put = log.table.put
    log.table.put = lambda epoch, row: (writes.append(epoch), put(epoch, row))
    trainer = make_trainer([log], max_epochs=1)
    trainer.run()
    trainer.state.max_epochs = 3
    trainer.run()
    assert writes == [1, 2, 3]


def test_numbers_go_to_the_log_and_to_tensorboard(make_trainer, tmp_path, caplog, writer):
    with caplog.at_level(logging.INFO, logger="monai_gmcl.handlers.curriculum_log"):
        make_trainer([CurriculumLog(tmp_path, summary_writer=writer)]).run()
    rows = read(tmp_path)
    assert {tag: value for (tag, step), value in writer.scalars.items() if step == 2} == {
        f"gmcl/{name}": value for name, value in rows[1].items() if name != "epoch"
    }
    assert f"Epoch 2: loss {rows[1]['loss']:.4g}" in caplog.text


@pytest.fixture
def curves(monkeypatch):
    """What is drawn, by its label."""
    found, plot = {}, Axes.plot

    def spy(axes, x, y, *, label, **options):
        found[label] = (list(x), list(y))
        return plot(axes, x, y, label=label, **options)

    monkeypatch.setattr(Axes, "plot", spy)
    return found


def test_at_the_end_of_a_run_curves_of_the_numbers_of_the_table_are_drawn(make_trainer, tmp_path, curves):
    make_trainer([CurvesHandler(tmp_path), CurriculumLog(tmp_path)]).run()
    rows = EpochTable(tmp_path / "curriculum.csv").read()
    for name in ("loss", "synthetic_loss", "real_accuracy", "lesson_accuracy", "difficulty", "real_weight", "hardness"):
        assert curves[name.replace("_", " ")] == ([1, 2], [row[name] for row in rows])
    picture = matplotlib.image.imread(tmp_path / "curves.png")
    assert picture.shape[1] > 500 and picture[..., :3].std() > 0.02


def test_metrics_of_some_epochs_only_are_drawn_where_they_are(curves):
    curves_png([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "val_auc": 0.5}, {"epoch": 3, "val_auc": 0.75}])
    assert curves == {"loss": ([1, 2], [2.0, 1.0]), "val auc": ([2, 3], [0.5, 0.75])}


def test_a_missing_table_is_a_warning_and_no_failure(make_trainer, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        make_trainer([CurvesHandler(tmp_path)], max_epochs=1).run()
    assert "CurriculumLog" in caplog.text
    assert not (tmp_path / "curves.png").exists()
