# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs that are stopped and resumed: their files, and what a resumed run may change."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from ignite.handlers import EarlyStopping
from ignite.metrics import Accuracy
from monai.data.dataloader import DataLoader
from monai.data.dataset import Dataset
from monai.engines import SupervisedEvaluator
from monai.handlers import ROCAUC, LrScheduleHandler, ValidationHandler
from monai.transforms import Compose, Lambdad, RandGaussianNoised, ScaleIntensityd
from torch import nn

from monai_gmcl import Curriculum, GMCLTrainer, StudentDescription
from monai_gmcl.exceptions import CheckpointError
from monai_gmcl.handlers import (
    BestModelSaver,
    CheckpointKeeper,
    CurriculumLog,
    CurvesHandler,
    ImageGridHandler,
    LessonWeightsLog,
    RunReport,
    TeacherSaver,
)

Make = Callable[..., GMCLTrainer]
STUDENT = StudentDescription(["even", "odd"], 2, 1)


def columns(output: Any) -> Any:
    return torch.stack([item["pred"] for item in output]), torch.as_tensor([int(item["label"]) for item in output])


def one_hot(output: Any) -> Any:
    predictions, labels = columns(output)
    return list(predictions), list(nn.functional.one_hot(labels, 2))


def evaluator(network: nn.Module, *handlers: Any) -> SupervisedEvaluator:
    numbers = torch.Generator().manual_seed(9)
    data = [{"image": torch.rand(1, 8, 8, generator=numbers), "label": i % 2} for i in range(6)]
    loader, metric = DataLoader(data, batch_size=3), {"val_accuracy": Accuracy(columns)}
    return SupervisedEvaluator("cpu", loader, network, key_val_metric=metric, val_handlers=list(handlers))


def with_files(make_trainer: Make, folder: Path, resume: bool = False, **arguments: Any) -> GMCLTrainer:
    """A trainer with every handler that writes a file, metrics in training and validation each second epoch."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    with torch.no_grad():
        network[1].weight.copy_(torch.linspace(-0.1, 0.1, 128).view(2, 64))
        network[1].bias.zero_()
    # Not in the keeper's save_dict: it is found by itself.
    validation = evaluator(network, BestModelSaver(folder / "model.pt", network, STUDENT))
    handlers = [
        CheckpointKeeper(folder / "checkpoints", resume=resume),  # the first: what others write later belongs to it
        CurriculumLog(folder, evaluator=validation),
        ValidationHandler(2, validation, epoch_level=True),
        ImageGridHandler(folder, per_class=5),
        LessonWeightsLog(folder),
        TeacherSaver(folder),
        CurvesHandler(folder),
        RunReport(folder, validation, model_file=folder / "model.pt"),
    ]
    given = {
        "network": network,
        "optimizer": torch.optim.SGD(network.parameters(), 0.1),
        "key_train_metric": {"train_accuracy": Accuracy(columns)},
        "additional_metrics": {"train_auc": ROCAUC(output_transform=one_hot)},
    }
    return make_trainer(handlers, **given, **arguments)


def stop(engine: Any, iteration: int) -> None:
    engine.add_event_handler(Events.ITERATION_STARTED(once=iteration), lambda: signal.raise_signal(signal.SIGTERM))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run that nothing has stopped."""
    return tmp_path_factory.mktemp("uninterrupted") / "run"


@pytest.fixture
def whole(place: Path, make_trainer: Make) -> Path:
    """The same folder, filled."""
    if not place.exists():
        with_files(make_trainer, place).run()
        assert {"report.html", "curves.png", "model.pt", "weights/epoch_0002.png"} <= set(files(place))
    return place


def assert_same_files(folder: Path, whole: Path) -> None:
    found, wanted = files(folder), files(whole)
    assert set(found) == set(wanted)
    assert [name for name in wanted if found[name] != wanted[name]] == []


@pytest.mark.parametrize("iterations", [(1, 3), (2, 5, 6)])
def test_a_run_that_is_told_to_end_and_resumed_leaves_the_same_files(
    iterations: tuple[int, ...], make_trainer: Make, tmp_path: Path, whole: Path
) -> None:
    for iteration in iterations:
        run = with_files(make_trainer, tmp_path / "cut", resume=True)
        stop(run, iteration)
        with pytest.raises(SystemExit) as ended:
            run.run()
        assert ended.value.code == 143
    with_files(make_trainer, tmp_path / "cut", resume=True).run()
    assert_same_files(tmp_path / "cut", whole)


@pytest.mark.parametrize("handler", [CurvesHandler, TeacherSaver, RunReport])
def test_a_run_that_ends_after_its_last_checkpoint_is_brought_to_its_end(
    handler: type, make_trainer: Make, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        name = {CurvesHandler: "_draw", TeacherSaver: "_save", RunReport: "_write"}[handler]
        method = getattr(handler, name)

        def killed(self: Any, engine: Any = None, *rest: Any) -> None:
            if handler is TeacherSaver and engine.last_event_name != Events.COMPLETED:
                return method(self, engine, *rest)
            raise KeyboardInterrupt

        patched.setattr(handler, name, killed)
        with pytest.raises(KeyboardInterrupt):
            with_files(make_trainer, tmp_path / "cut").run()
    with_files(make_trainer, tmp_path / "cut", resume=True).run()
    assert_same_files(tmp_path / "cut", whole)


@pytest.mark.parametrize("epochs", [2, 1])
def test_a_finished_run_that_is_resumed_changes_no_file(
    epochs: int, make_trainer: Make, whole: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()}
    resumed = with_files(make_trainer, whole, resume=True, max_epochs=epochs)
    resumed.run()
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()} == before
    assert resumed.state.iteration == 6
    assert "was finished in epoch 2, iteration 6. Nothing is trained" in caplog.text


def test_a_run_that_a_handler_has_ended_early_stays_ended(make_trainer: Make, tmp_path: Path) -> None:
    def made(**arguments: Any) -> GMCLTrainer:
        keeper = CheckpointKeeper(tmp_path, resume=True)
        run = make_trainer([keeper], **arguments)
        run.add_event_handler(Events.EPOCH_COMPLETED, EarlyStopping(1, lambda e: -e.state.epoch, run))
        return run

    made(max_epochs=5).run()
    again = made(max_epochs=5)
    again.run()
    assert again.state.epoch == 2
    longer = made(max_epochs=6)
    longer.run()
    # What EarlyStopping has counted goes on, too.
    assert longer.state.epoch == 3


def batches(**arguments: Any) -> Callable[[], dict[str, Any]]:
    def changed() -> dict[str, Any]:
        numbers = torch.Generator().manual_seed(arguments.pop("images", 0))
        count = arguments.pop("count", 12)
        data = [{"image": torch.rand(1, 8, 8, generator=numbers), "label": i % 2} for i in range(count)]
        if "label" in arguments:
            data[3]["label"] = arguments.pop("label")
        return {"train_data_loader": DataLoader(data, **{"batch_size": 4, "shuffle": True, **arguments})}

    return changed


def optimizer(**options: Any) -> Callable[[], dict[str, Any]]:
    def changed() -> dict[str, Any]:
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
        return {"network": network, "optimizer": torch.optim.SGD(network.parameters(), **{"lr": 0.1, **options})}

    return changed


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (batches(batch_size=2), r"epoch_length was 3, is now 6; training data.batch_size was 4, is now 2"),
        (batches(batch_size=3, count=9), r"training data.items was 12, is now 9"),
        (batches(images=1), "training data.SHA-256 was "),
        (batches(label=0), "training data.SHA-256 was "),
        (batches(shuffle=False), "training data.sampler was 'RandomSampler', is now 'SequentialSampler'"),
        (optimizer(lr=0.05), r"optimizer.0.lr was 0.1, is now 0.05"),
        (optimizer(momentum=0.5), r"optimizer.0.momentum was 0, is now 0.5"),
        (lambda: {"seed": 4}, "seed was 3, is now 4"),
        (lambda: {"accumulation_steps": 2}, "accumulation_steps was 1, is now 2"),
    ],
)
def test_what_a_resumed_run_cannot_change_is_refused_by_name_before_the_first_step(
    change: Callable[[], dict[str, Any]], told: str, make_trainer: Make, tmp_path: Path
) -> None:
    make_trainer([CheckpointKeeper(tmp_path)]).run()
    before = files(tmp_path)
    other = make_trainer([CheckpointKeeper(tmp_path, resume=True)], max_epochs=3, **change())
    with pytest.raises(CheckpointError, match=f"which cannot be continued: .*{told}"):
        other.run()
    assert files(tmp_path) == before


def test_settings_that_are_given_are_compared(make_trainer: Make, tmp_path: Path) -> None:
    make_trainer([CheckpointKeeper(tmp_path, settings={"image_size": 24, "crop": None})]).run()
    keeper = CheckpointKeeper(tmp_path, resume=True, settings={"image_size": [32, 24], "crop": None})
    with pytest.raises(CheckpointError, match=r"settings.image_size was 24, is now not there; settings.image_size.0"):
        make_trainer([keeper]).run()


def test_what_a_resumed_run_can_change_is_named_and_taken(
    make_trainer: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_trainer([CurriculumLog(tmp_path), CheckpointKeeper(tmp_path / "run")]).run()
    monkeypatch.setattr("monai.__version__", "9.9")
    changes = {"curriculum": Curriculum(lesson_weight=0.25), "loss_function": nn.CrossEntropyLoss(label_smoothing=0.1)}
    handlers = [ImageGridHandler(tmp_path), CheckpointKeeper(tmp_path / "run", resume=True)]
    longer = make_trainer(handlers, max_epochs=3, **changes)
    longer.run()
    assert longer.state.curriculum["lesson_weight"] == 0.25
    for told in (
        *(
            "loss_function.label_smoothing was 0.0, is now 0.1",
            "lesson_weight was",
            "versions.monai was ",
            "is now '9.9'",
        ),
        *("ImageGridHandler was not in the checkpoint", "The checkpoint has a state of CurriculumLog"),
    ):
        assert told in caplog.text


def test_a_folder_of_images_may_be_moved_and_not_changed(make_trainer: Make, tmp_path: Path) -> None:
    def loader(folder: Path) -> DataLoader:
        read = Compose([Lambdad("image", torch.load), ScaleIntensityd("image")])
        data = [{"image": str(folder / f"{i}.pt"), "label": i % 2} for i in range(12)]
        return DataLoader(Dataset(data, read), batch_size=4, shuffle=True)

    (tmp_path / "here").mkdir()
    for i in range(12):
        torch.save(torch.rand(1, 8, 8), tmp_path / "here" / f"{i}.pt")
    make_trainer([CheckpointKeeper(tmp_path / "run")], train_data_loader=loader(tmp_path / "here")).run()
    (tmp_path / "here").rename(tmp_path / "there")
    moved = {"train_data_loader": loader(tmp_path / "there"), "max_epochs": 3}
    make_trainer([CheckpointKeeper(tmp_path / "run", resume=True)], **moved).run()
    torch.save(torch.rand(1, 20, 20), tmp_path / "there" / "5.pt")
    with pytest.raises(CheckpointError, match="training data.SHA-256"):
        make_trainer([CheckpointKeeper(tmp_path / "run", resume=True)], **moved).run()


@pytest.mark.parametrize(("std", "resize", "refused"), [(0.2, 1.0, False), (0.1, 2.0, True)])
def test_another_random_transform_is_named_another_fixed_one_is_refused(
    std: float, resize: float, refused: bool, make_trainer: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def loader(std: float, top: float) -> DataLoader:
        change = Compose(
            [ScaleIntensityd("image", maxv=top), RandGaussianNoised("image", std=std), ScaleIntensityd("image")]
        )
        numbers = torch.Generator().manual_seed(0)
        data = [{"image": torch.rand(1, 8, 8, generator=numbers), "label": i % 2} for i in range(12)]
        return DataLoader(Dataset(data, change), batch_size=4)

    make_trainer([CheckpointKeeper(tmp_path)], train_data_loader=loader(0.1, 1.0)).run()
    resumed = make_trainer(
        [CheckpointKeeper(tmp_path, resume=True)], train_data_loader=loader(std, resize), max_epochs=3
    )
    if refused:
        with pytest.raises(CheckpointError, match=r"transforms\.0\..*maxv was 1.0, is now 2.0"):
            resumed.run()
    else:
        resumed.run()
        assert "std was 0.1, is now 0.2" in caplog.text


SCHEDULES: dict[str, Callable[[Any, int], Any]] = {
    "one cycle": lambda o, epochs: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=3 * epochs + 1),
    "cosine": lambda o, epochs: torch.optim.lr_scheduler.CosineAnnealingLR(o, 3 * epochs),
    "steps": lambda o, epochs: torch.optim.lr_scheduler.MultiStepLR(o, list(range(2, 3 * epochs, 3))),
    "linear, then constant": lambda o, epochs: torch.optim.lr_scheduler.SequentialLR(
        o,
        [torch.optim.lr_scheduler.LinearLR(o, total_iters=2), torch.optim.lr_scheduler.PolynomialLR(o, 3 * epochs)],
        milestones=[2],
    ),
}


def scheduled(
    make_trainer: Make, folder: Path, kind: str, epochs: int, planned: int, resume: bool = True
) -> GMCLTrainer:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    schedule = SCHEDULES[kind](optimizer, planned)
    handlers = [
        LrScheduleHandler(schedule, False, epoch_level=False),
        CheckpointKeeper(folder, {"lr": schedule}, resume=resume),
    ]
    return make_trainer(handlers, network=network, optimizer=optimizer, max_epochs=epochs)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_schedule_that_is_built_for_more_epochs_goes_on_as_built(
    kind: str, make_trainer: Make, tmp_path: Path
) -> None:
    scheduled(make_trainer, tmp_path / "run", kind, 2, 2).run()
    longer = scheduled(make_trainer, tmp_path / "run", kind, 4, 4)
    longer.run()
    assert longer.state.iteration == 12
    whole = scheduled(make_trainer, tmp_path / "whole", kind, 4, 4)
    whole.run()
    states = [torch.load(tmp_path / name / "checkpoint_00000012.pt")["lr"] for name in ("run", "whole")]
    for key in ("total_steps", "_schedule_phases", "T_max", "milestones", "last_epoch"):
        assert states[0].get(key) == states[1].get(key)
    if kind == "one cycle":
        assert longer.optimizer.param_groups[0]["lr"] == whole.optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize(
    ("first", "second", "planned", "message"),
    [
        ("one cycle", "one cycle", 2, "lr is planned for 7 steps, of which 6 are done; 12 iterations need"),
        ("steps", "cosine", 4, "lr class was 'MultiStepLR', is now 'CosineAnnealingLR'"),
    ],
)
def test_a_schedule_that_is_too_short_or_of_another_kind_is_refused_at_the_start(
    first: str, second: str, planned: int, message: str, make_trainer: Make, tmp_path: Path
) -> None:
    scheduled(make_trainer, tmp_path, first, 2, 2).run()
    with pytest.raises(CheckpointError, match=message):
        scheduled(make_trainer, tmp_path, second, 4, planned).run()


def test_a_checkpoint_of_before_is_gone_on_with_and_said_to_tell_nothing(
    make_trainer: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = CheckpointKeeper(tmp_path)
    make_trainer([keeper]).run()
    state = torch.load(tmp_path / "checkpoint_00000006.pt")
    keeper.checkpoints.save({key: part for key, part in state.items() if key not in ("run", "handlers")}, 6, 2, [])
    make_trainer([CheckpointKeeper(tmp_path, resume=True)], max_epochs=3).run()
    assert "Settings are not compared" in caplog.text
