# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""MONAI's handlers read what lessons add to the output; all else of them is in test_beside_supervised_trainer."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from monai.handlers import MetricLogger, StatsHandler, TensorBoardStatsHandler, from_engine
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_gmcl import GMCLTrainer

Build = Callable[..., GMCLTrainer]
OF_LESSONS = from_engine(["synthetic_loss"], first=True)


def test_losses_of_lessons_are_logged_in_each_iteration(trainer: Build, tmp_path: Path) -> None:
    text, logger, metrics = io.StringIO(), logging.getLogger("lessons"), MetricLogger(loss_transform=OF_LESSONS)
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.StreamHandler(text))
    stats = StatsHandler(name="lessons", output_transform=OF_LESSONS, tag_name="lesson_loss")
    board = TensorBoardStatsHandler(log_dir=str(tmp_path), output_transform=OF_LESSONS)
    trainer(train_handlers=[stats, board, metrics], max_epochs=1).run()
    events = EventAccumulator(str(tmp_path)).Reload()
    scalars = events.Scalars(events.Tags()["scalars"][0])
    assert text.getvalue().count("lesson_loss: ") == len(metrics.loss) == len(scalars) == 5


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
