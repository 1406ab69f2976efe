# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.handlers import EMAHandler
from ignite.metrics import Accuracy
from monai.engines import SupervisedEvaluator
from monai.handlers import (
    CheckpointLoader,
    CheckpointSaver,
    EarlyStopHandler,
    LrScheduleHandler,
    MetricLogger,
    StatsHandler,
    TensorBoardStatsHandler,
    ValidationHandler,
    from_engine,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_gmcl import GMCLTrainer

Build = Callable[..., GMCLTrainer]


def evaluator_of(run: GMCLTrainer, loader: Any) -> SupervisedEvaluator:
    return SupervisedEvaluator(
        device="cpu",
        val_data_loader=loader(),
        network=run.network,
        key_val_metric={"accuracy": Accuracy(output_transform=from_engine(["pred", "label"]))},
        decollate=False,
    )


def test_stats_handler_logs_the_real_loss(trainer: Build) -> None:
    text = io.StringIO()
    logger = logging.getLogger("lessons")
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.StreamHandler(text))
    handler = StatsHandler(name="lessons", output_transform=from_engine(["loss"], first=True), tag_name="real_loss")
    trainer(train_handlers=[handler], max_epochs=1).run()
    assert text.getvalue().count("real_loss: ") == 5


def test_tensorboard_stats_handler_writes_each_iteration(trainer: Build, tmp_path: Path) -> None:
    handler = TensorBoardStatsHandler(
        log_dir=str(tmp_path), output_transform=from_engine(["synthetic_loss"], first=True)
    )
    trainer(train_handlers=[handler], max_epochs=1).run()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert len(events.Scalars(events.Tags()["scalars"][0])) == 5


def test_validation_and_early_stopping_end_the_run(trainer: Build, loader: Any) -> None:
    run = trainer(max_epochs=10)
    evaluator = evaluator_of(run, loader)
    ValidationHandler(interval=1, validator=evaluator).attach(run)
    EarlyStopHandler(patience=1, score_function=lambda engine: -engine.state.epoch, trainer=run).attach(evaluator)
    run.run()
    assert evaluator.state.metrics["accuracy"] >= 0
    assert run.state.epoch < 10


def test_learning_rate_schedules_move_the_students_rate(trainer: Build) -> None:
    run = trainer(max_epochs=2)
    scheduler = torch.optim.lr_scheduler.StepLR(run.optimizer, 1, 0.1)
    LrScheduleHandler(scheduler, print_lr=False).attach(run)
    run.run()
    assert run.optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * 0.01)


def test_metric_logger_reads_lesson_keys(trainer: Build) -> None:
    logger = MetricLogger(loss_transform=from_engine(["synthetic_loss"], first=True))
    trainer(train_handlers=[logger], max_epochs=1).run()
    assert len(logger.loss) == 5


def test_an_ema_of_the_student_follows_it(trainer: Build) -> None:
    run = trainer()
    ema = EMAHandler(run.network, momentum=0.1)
    ema.attach(run)
    run.run()
    assert not torch.equal(ema.ema_model.head.weight, run.network.head.weight)
    assert torch.isfinite(ema.ema_model.head.weight).all()


def test_checkpoints_of_monai_hold_plain_state_and_load_again(trainer: Build, tmp_path: Path) -> None:
    def parts(run: GMCLTrainer) -> dict[str, Any]:
        return {"model": run.network, "teacher": run.teacher, "optimizer": run.optimizer, "trainer": run}

    run = trainer()
    CheckpointSaver(str(tmp_path), parts(run), save_final=True, final_filename="all.pt").attach(run)
    run.run()
    other = trainer(max_epochs=3)
    CheckpointLoader(str(tmp_path / "all.pt"), parts(other), map_location="cpu").attach(other)
    other.run()
    assert other.state.iteration == 15
    assert set(torch.load(tmp_path / "all.pt", weights_only=True)) == set(parts(run))


def test_mlflow_handler_tracks_the_run(trainer: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed (extra: tracking)")
    from monai.handlers import MLFlowHandler

    address = f"sqlite:///{tmp_path / 'runs.db'}"
    handler = MLFlowHandler(
        tracking_uri=address,
        experiment_name="lessons",
        iteration_log=True,
        output_transform=from_engine(["loss"], first=True),
        close_on_complete=True,
    )
    trainer(train_handlers=[handler], max_epochs=1).run()
    client = mlflow.tracking.MlflowClient(address)
    (experiment,) = [e for e in client.search_experiments() if e.name == "lessons"]
    (tracked,) = client.search_runs([experiment.experiment_id])
    (name,) = [key for key in tracked.data.metrics if "loss" in key.lower()]
    assert len(client.get_metric_history(tracked.info.run_id, name)) == 5
