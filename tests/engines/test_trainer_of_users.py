# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""GMCLTrainer with the labels, losses, networks and optimizers that users bring from SupervisedTrainer."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.handlers import MetricLogger, StatsHandler, TensorBoardStatsHandler, from_engine
from monai.inferers import SimpleInferer
from monai.optimizers import Novograd
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from monai_gmcl import (
    ExactHypergradient,
    GMCLEvents,
    GMCLTrainer,
    HeadHypergradient,
    LookAheadWeighting,
    PolicyTeacher,
)
from monai_gmcl.exceptions import HeadNotFoundError, NonFiniteLossError, UnsupportedOptimizerError

Build = Callable[..., GMCLTrainer]


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.RMSprop(p, centered=True),
        lambda p: torch.optim.NAdam(p),
        lambda p: torch.optim.AdamW(p, amsgrad=True),
        lambda p: torch.optim.Adagrad(p),
        lambda p: torch.optim.Adafactor(p),
        lambda p: Novograd(p),
    ],
)
def test_the_teacher_is_updated_whatever_the_students_optimizer_is(make: Any, trainer: Build, student: Any) -> None:
    network = student()
    run = trainer(network=network, optimizer=make(network.parameters()))
    run.run()
    assert run.teacher_step is not None and run.teacher_step.gradient_norm > 0 and run.teacher_step.skipped == 0


def test_an_optimizer_that_asks_for_the_loss_again_is_refused_even_for_a_frozen_teacher(
    trainer: Build, student: Any
) -> None:
    network = student()
    with pytest.raises(UnsupportedOptimizerError, match=r"LBFGS .*\(a closure\).*torch.optim.AdamW"):
        trainer(network=network, optimizer=torch.optim.LBFGS(network.parameters()), teacher_optimizer=None)


def test_images_of_many_sizes_make_lessons_one_by_one(trainer: Build, items: Any) -> None:
    data = [item for size in (8, 12, 10) for item in items(n=4, shape=(size, 8))]
    run = trainer(
        train_data_loader=DataLoader(Dataset(data), batch_size=1, shuffle=True), teacher=PolicyTeacher(2, 3, 2)
    )
    shapes = []
    run.add_event_handler(GMCLEvents.LESSON_COMPLETED, lambda: shapes.append(run.state.lesson.images.shape))
    run.run()
    assert len(shapes) == 24 and {shape[2] for shape in shapes} == {8, 12, 10}
    by_size = [data[i : i + 4] for i in (0, 4, 8)]
    batches = [{key: torch.stack([item[key] for item in part]) for key in ("image", "label")} for part in by_size]
    run = trainer(train_data_loader=batches, weighting=LookAheadWeighting())
    run.run()
    assert run.state.iteration == 6 and run.state.lesson.images.shape[0] == 4


@pytest.mark.parametrize("index", [-100, 255, 1])
def test_images_whose_label_is_ignored_are_no_sources(index: int, trainer: Build, items: Any) -> None:
    data = items()
    for item in data[::3]:
        item["label"] = torch.tensor(index)
    loss = nn.CrossEntropyLoss(ignore_index=index)
    run = trainer(train_data_loader=DataLoader(Dataset(data), batch_size=5), loss_function=loss)
    run.run()
    assert index not in run.sources.buffer.classes and index not in run.curriculum.class_sampler.state_dict()["counts"]
    # A batch may have no label at all for a loss that takes that.
    none = [{"image": torch.rand(5, 3, 8, 8), "label": torch.full((5,), index)}]
    known = [{"image": torch.rand(5, 3, 8, 8), "label": torch.zeros(5, dtype=torch.int64)}]
    summed = nn.CrossEntropyLoss(ignore_index=index, reduction="sum")
    run = trainer(train_data_loader=known + none + known, loss_function=summed)
    run.run()
    assert run.state.iteration == 6
    with pytest.raises(
        NonFiniteLossError, match=f"All labels of the batch are the ignored value, {index}, so the loss has no mean"
    ):
        trainer(train_data_loader=none, loss_function=loss).run()


def test_further_heads_of_a_student_do_not_mislead_the_teacher(trainer: Build, student: Any) -> None:
    class Two(student):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            self.other = nn.Linear(6, 4)

        def forward(self, images: Tensor) -> Any:
            features = self.body(images).flatten(2).mean(2)
            return {"logits": self.head(features), "other": self.other(features)}

    class Picking(SimpleInferer):
        def __call__(self, inputs: Any, network: Any, *args: Any, **kwargs: Any) -> Any:
            return network(inputs, *args, **kwargs)["logits"]

    run = trainer(network=Two(), inferer=Picking())
    run.run()
    assert run.state.lesson.head.name == "head" and run.teacher_step.gradient_norm > 0


def test_without_a_trained_head_the_whole_student_is_heard_by_default(
    trainer: Build, student: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def frozen() -> Any:
        network = student()
        network.head.requires_grad_(False)
        return network

    run = trainer(network=frozen())
    run.run()
    assert isinstance(run.hypergradient, ExactHypergradient) and run.teacher_step.gradient_norm > 0
    assert caplog.text.count("ExactHypergradient() updates the teacher") == 1
    resumed = trainer(network=frozen())
    resumed.load_state_dict(run.state_dict())
    assert isinstance(resumed.hypergradient, ExactHypergradient) and len(resumed.pending_lessons) == 1
    with pytest.raises(HeadNotFoundError, match="needs a trained linear layer"):
        trainer(network=frozen(), hypergradient=HeadHypergradient()).run()


def test_a_loss_that_learns_does_so_from_real_images_alone(trainer: Build, student: Any) -> None:
    class Tempered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.temperature = nn.Parameter(torch.ones(()))

        def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
            return nn.functional.cross_entropy(outputs / self.temperature, labels)

    network, loss = student(), Tempered()
    run = trainer(
        network=network,
        loss_function=loss,
        optimizer=torch.optim.Adam([*network.parameters(), *loss.parameters()], lr=0.01),
        hypergradient=ExactHypergradient(),
    )
    run.run()
    assert loss.temperature != 1 and run.teacher_step.gradient_norm > 0


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
