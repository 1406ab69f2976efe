# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""SupervisedTrainer and GMCLTrainer side by side: the same case, the same outcome, but for what the docstring lists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import EventEnum, Events
from ignite.handlers import (
    BasicTimeProfiler,
    Checkpoint,
    DiskSaver,
    EarlyStopping,
    EMAHandler,
    EpochOutputStore,
    FastaiLRFinder,
    HandlersTimeProfiler,
    ModelCheckpoint,
    PiecewiseLinear,
    TerminateOnNan,
    Timer,
)
from ignite.handlers.state_param_scheduler import ExpStateScheduler
from ignite.metrics import Accuracy, RunningAverage
from monai.data import DataLoader, Dataset, IterableDataset, MetaTensor, SmartCacheDataset, ThreadDataLoader
from monai.engines import PrepareBatchExtraInput, SupervisedEvaluator, SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.handlers import (
    ROCAUC,
    CheckpointLoader,
    CheckpointSaver,
    ClassificationSaver,
    EarlyStopHandler,
    GarbageCollector,
    LogfileHandler,
    LrScheduleHandler,
    MetricLogger,
    MetricsSaver,
    ParamSchedulerHandler,
    SmartCacheHandler,
    StatsHandler,
    TensorBoardImageHandler,
    TensorBoardStatsHandler,
    ValidationHandler,
    from_engine,
)
from monai.losses import FocalLoss
from monai.optimizers import generate_param_groups
from monai.transforms import Activationsd, AsDiscreted, Compose
from torch import Tensor, nn
from torch.nn import functional

from monai_gmcl import GMCLTrainer
from monai_gmcl.exceptions import (
    CheckpointError,
    ConfigurationError,
    ImageRangeError,
    LabelError,
    NonFiniteLossError,
    StudentOutputError,
)
from monai_gmcl.teachers import PolicyTeacher

IMAGES, CLASSES, SIDE = 16, 3, 8
Make = Callable[..., Any]
Case = Callable[[Make, Path], Any]
CASES: dict[str, Case] = {}
LOSS = from_engine(["loss"], first=True)


class Net(nn.Module):
    def __init__(self, outputs: int = CLASSES) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, outputs)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images).mean((2, 3)))
        return logits


def items(label: Callable[[int], Any] = lambda k: k, n: int = IMAGES) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(n, 1, SIDE, SIDE, generator=generator)
    return [{"image": image, "label": label(i % CLASSES), "index": i} for i, image in enumerate(images)]


def loader(label: Callable[[int], Any] = lambda k: k, n: int = IMAGES) -> DataLoader:
    return DataLoader(Dataset(items(label, n)), batch_size=4)


def build(gmcl: bool, **changes: Any) -> SupervisedTrainer:
    torch.manual_seed(0)
    network = changes.pop("network", None) or Net()
    optimizer = changes.pop("optimizer", lambda net: torch.optim.Adam(net.parameters(), 0.01))
    arguments = {
        "device": "cpu",
        "max_epochs": 2,
        "train_data_loader": loader(),
        "network": network,
        "optimizer": optimizer(network),
        "loss_function": nn.CrossEntropyLoss(),
        **changes,
    }
    if not gmcl:
        return SupervisedTrainer(**arguments)
    teacher = PolicyTeacher(2, 1, CLASSES)
    return GMCLTrainer(**arguments, teacher=teacher, teacher_optimizer=torch.optim.Adam(teacher.parameters(), 0.01))


def outcome(case: Case, gmcl: bool, folder: Path) -> Any:
    """What comes of a case: its value, or the kind of its error."""
    folder.mkdir()
    try:
        return "value", case(lambda **changes: build(gmcl, **changes), folder)
    except Exception as error:
        return "error", type(error)


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


def parts(run: Any) -> dict[str, Any]:
    return {"network": run.network, "optimizer": run.optimizer, "trainer": run}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def accuracy() -> Accuracy:
    return Accuracy(lambda o: (torch.stack([x["pred"] for x in o]), torch.tensor([int(x["label"]) for x in o])))


def runs(**changes: Any) -> Case:
    """A case that only has to run to its end."""

    def ran(make: Make, folder: Path) -> tuple[int, int]:
        run = make(**{name: change() if callable(change) else change for name, change in changes.items()})
        run.run()
        return run.state.epoch, run.state.iteration

    return ran


def attached(*handlers: Callable[[Any, Path], Any], **changes: Any) -> Case:
    """A case of handlers: they run to the end and leave the same files."""

    def ran(make: Make, folder: Path) -> Any:
        run = make(**changes)
        for handler in handlers:
            handler(run, folder).attach(run)
        run.run()
        kept = [name.split(".")[0] if "tfevents" in name else name for name in names(folder)]
        return run.state.epoch, run.state.iteration, run.optimizer.param_groups[0]["lr"], kept

    return ran


KEY = {"key_train_metric": {"accuracy": accuracy()}}
ONE_HOT = Compose([Activationsd(keys="pred", softmax=True), AsDiscreted(keys="label", to_onehot=CLASSES)])
CASES |= {
    # MONAI's handlers
    "checkpoints by epoch": attached(lambda run, d: CheckpointSaver(d, parts(run), save_interval=1, n_saved=2)),
    "checkpoints by iteration": attached(
        lambda run, d: CheckpointSaver(d, parts(run), save_interval=3, epoch_level=False)
    ),
    "a key metric's checkpoint": attached(
        lambda run, d: CheckpointSaver(d, {"net": run.network}, save_key_metric=True, key_metric_filename="best.pt"),
        **KEY,
    ),
    "a schedule by epoch": attached(
        lambda run, d: LrScheduleHandler(torch.optim.lr_scheduler.StepLR(run.optimizer, 1), print_lr=False)
    ),
    "a schedule by loss": attached(
        lambda run, d: LrScheduleHandler(
            torch.optim.lr_scheduler.ReduceLROnPlateau(run.optimizer), print_lr=False, step_transform=lambda e: 1.0
        )
    ),
    "statistics": attached(lambda run, d: StatsHandler(output_transform=LOSS), **KEY),
    "a log file": attached(lambda run, d: LogfileHandler(output_dir=str(d))),
    "TensorBoard's numbers": attached(lambda run, d: TensorBoardStatsHandler(log_dir=str(d), output_transform=LOSS)),
    "TensorBoard's images": attached(
        lambda run, d: TensorBoardImageHandler(
            log_dir=str(d), batch_transform=from_engine(["image", "image"]), output_transform=from_engine(["image"])
        )
    ),
    "a logger of metrics": attached(lambda run, d: MetricLogger(loss_transform=LOSS), **KEY),
    "saved metrics": attached(lambda run, d: MetricsSaver(save_dir=str(d), metrics="*"), **KEY),
    "saved predictions": attached(
        lambda run, d: ClassificationSaver(
            output_dir=str(d),
            batch_transform=lambda b: [{"filename_or_obj": f"f{int(x['index'])}"} for x in b],
            output_transform=from_engine("pred"),
        )
    ),
    "garbage collection": attached(lambda run, d: GarbageCollector("epoch"), max_epochs=1),
    "early stopping": attached(
        lambda run, d: EarlyStopHandler(patience=2, score_function=lambda e: -e.state.epoch, trainer=run), max_epochs=9
    ),
    "early stopping without a trainer": attached(
        lambda run, d: EarlyStopHandler(patience=2, score_function=lambda e: 0.0), max_epochs=9
    ),
    # ignite's
    "times": attached(lambda run, d: BasicTimeProfiler(), lambda run, d: HandlersTimeProfiler()),
    # arguments
    "an area under the curve": runs(
        postprocessing=lambda: ONE_HOT,
        key_train_metric={"auc": ROCAUC(output_transform=from_engine(["pred", "label"]))},
    ),
    "no decollating": runs(decollate=False),
    "accumulation": runs(accumulation_steps=3),
    "no accumulation at all": runs(accumulation_steps=0),
    "arguments of the transfer": runs(to_kwargs={"memory_format": torch.preserve_format}, optim_set_to_none=True),
    "names of events in a tuple": runs(event_names=("one",)),
    "a comparison of metrics": runs(metric_cmp_fn=lambda: lambda new, best: True, **KEY),
    "an iteration around the trainer's": runs(iteration_update=lambda: lambda run, batch: run._iteration(run, batch)),
    "a shorter epoch": runs(epoch_length=3),
    "a longer epoch": runs(epoch_length=6),
    # data
    "an empty loader": runs(train_data_loader=[]),
    "a list of batches": runs(train_data_loader=lambda: list(loader())),
    "an iterable data set": runs(train_data_loader=lambda: DataLoader(IterableDataset(items()), batch_size=4)),
    "threads": runs(train_data_loader=lambda: ThreadDataLoader(Dataset(items()), batch_size=4, num_workers=0)),
    "a last batch of one": runs(train_data_loader=lambda: loader(n=9)),
    "no labels": runs(train_data_loader=lambda: DataLoader(Dataset([{"image": i["image"]} for i in items()]))),
    # labels and losses
    "labels of 8 bits": runs(train_data_loader=lambda: loader(lambda k: torch.tensor(k, dtype=torch.uint8))),
    "one-hot labels": runs(train_data_loader=lambda: loader(lambda k: torch.eye(CLASSES)[k])),
    "one-hot integers": runs(
        train_data_loader=lambda: loader(lambda k: torch.eye(CLASSES)[k].long()),
        loss_function=lambda: lambda o, y: functional.cross_entropy(o, y.float()),
    ),
    "labels in a column": runs(
        train_data_loader=lambda: loader(lambda k: torch.tensor([k])),
        loss_function=lambda: FocalLoss(to_onehot_y=True, use_softmax=True),
    ),
    "labels to be ignored": runs(train_data_loader=lambda: loader(lambda k: -100 if k == 1 else k)),
    "one logit in a row": runs(
        network=lambda: nn.Sequential(Net(1), nn.Flatten(0)),
        train_data_loader=lambda: loader(lambda k: float(k > 0)),
        loss_function=lambda: lambda o, y: functional.binary_cross_entropy_with_logits(o, y.float()),
    ),
    "masks": runs(
        network=lambda: nn.Conv2d(1, 1, 1),
        loss_function=nn.BCEWithLogitsLoss,
        train_data_loader=lambda: loader(lambda k: torch.ones(1, SIDE, SIDE)),
    ),
    # optimizers
    "Rprop": runs(optimizer=lambda: lambda net: torch.optim.Rprop(net.parameters())),
    "rates by layer": runs(
        optimizer=lambda: (
            lambda net: torch.optim.Adam(generate_param_groups(net, [lambda n: n.head], ["select"], [0.1]))
        )
    ),
}


@case
def going_on_from_a_checkpoint(make: Make, folder: Path) -> Any:
    run = make()
    CheckpointSaver(str(folder), parts(run), save_final=True, final_filename="final.pt").attach(run)
    run.run()
    again = make(max_epochs=4)
    CheckpointLoader(str(folder / "final.pt"), parts(again), map_location="cpu").attach(again)
    again.run()
    return again.state.epoch, again.state.iteration


@case
def ignites_checkpoints(make: Make, folder: Path) -> Any:
    run = make()
    saver = Checkpoint(parts(run), DiskSaver(str(folder), require_empty=False), n_saved=1)
    run.add_event_handler(Events.EPOCH_COMPLETED, saver)
    best = ModelCheckpoint(str(folder), "best", require_empty=False, score_function=lambda e: e.state.epoch)
    run.add_event_handler(Events.EPOCH_COMPLETED, best, {"net": run.network})
    run.run()
    again = make(max_epochs=4)
    Checkpoint.load_objects(parts(again), str(folder / str(saver.last_checkpoint)))
    again.state.max_epochs = 4
    again.run()
    return names(folder), again.state.iteration


@case
def terminate_on_nan_lets_a_healthy_run_go_on(make: Make, folder: Path) -> Any:
    run = make(decollate=False)
    run.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())
    run.run()
    return run.state.iteration


@case
def handlers_of_ignite_follow_a_run(make: Make, folder: Path) -> Any:
    run = make(decollate=False)
    ema = EMAHandler(run.network, momentum=0.1)
    ema.attach(run, name="momentum")
    RunningAverage(output_transform=lambda o: o["loss"]).attach(run, "average")
    timer, store = Timer(average=True), EpochOutputStore(output_transform=lambda o: o["loss"].item())
    timer.attach(run, start=Events.STARTED, step=Events.ITERATION_COMPLETED)
    store.attach(run, "losses")
    ExpStateScheduler("rate", 1.0, 0.5).attach(run, Events.EPOCH_COMPLETED)
    stopping = EarlyStopping(patience=9, score_function=lambda e: 0.0, trainer=run)
    run.add_event_handler(Events.EPOCH_COMPLETED, stopping)
    run.add_event_handler(Events.ITERATION_STARTED, PiecewiseLinear(run.optimizer, "lr", [(0, 0.1), (8, 0.0)]))
    run.run()
    rate, averaged = run.optimizer.param_groups[0]["lr"], ema.ema_model.head.weight
    assert not torch.equal(averaged, run.network.head.weight)
    return sorted(run.state.metrics), timer.step_count, len(run.state.losses), run.state.rate, rate


@case
def the_rate_is_searched_and_the_state_put_back(make: Make, folder: Path) -> Any:
    run, finder = make(max_epochs=3), FastaiLRFinder()
    save = {"network": run.network, "optimizer": run.optimizer}
    with finder.attach(run, save, num_iter=6, end_lr=0.5, output_transform=lambda o: float(o[0]["loss"])) as search:
        search.run()
    run.run()
    return len(finder.get_results()["lr"]), run.state.epoch, run.state.iteration


@case
def validation_follows_the_training(make: Make, folder: Path) -> Any:
    run = make(max_epochs=3)
    judge = SupervisedEvaluator("cpu", loader(), run.network, key_val_metric={"accuracy": accuracy()})
    ValidationHandler(interval=2, validator=judge, exec_at_start=True).attach(run)
    run.run()
    return sorted(judge.state.metrics)


@case
def a_smart_cache_changes_its_images(make: Make, folder: Path) -> Any:
    cache = SmartCacheDataset(items(), replace_rate=0.5, cache_num=8, progress=False, shuffle=False)
    run, seen = make(train_data_loader=DataLoader(cache, batch_size=4), max_epochs=3), []
    SmartCacheHandler(cache).attach(run)
    run.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append([int(x["index"]) for x in e.state.batch]))
    run.run()
    return seen


@case
def parameters_are_scheduled(make: Make, folder: Path) -> Any:
    run, seen = make(), []
    options = {"initial_value": 1.0, "gamma": 0.9}
    ParamSchedulerHandler(seen.append, "exponential", options, epoch_level=True).attach(run)
    run.run()
    return seen


@case
def extra_inputs_reach_the_network(make: Make, folder: Path) -> Any:
    class Scaled(Net):
        def forward(self, images: Tensor, scale: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(images) * scale.view(-1, 1).float().clamp(0.5, 2)

    return runs(network=Scaled(), prepare_batch=lambda: PrepareBatchExtraInput(extra_keys=["index"]))(make, folder)


@case
def layers_join_the_optimizer(make: Make, folder: Path) -> Any:
    network = Net()
    run = make(network=network, optimizer=lambda net: torch.optim.Adam(net.head.parameters()))
    before = network.body[0].weight.clone()
    run.add_event_handler(
        Events.EPOCH_STARTED(once=2), lambda e: e.optimizer.add_param_group({"params": list(network.body.parameters())})
    )
    run.run()
    return torch.equal(before, network.body[0].weight)


@case
def attributes_set_on_a_built_trainer(make: Make, folder: Path) -> Any:
    run = make()
    second = Net()
    run.network = second
    run.optimizer = torch.optim.SGD(second.parameters(), lr=0.0)
    run.loss_function = lambda outputs, labels: outputs.square().mean()
    before = second.head.weight.clone()
    run.run()
    return torch.equal(before, second.head.weight), float(run.state.output[0]["loss"]) >= 0


@case
def events_come_in_one_order(make: Make, folder: Path) -> Any:
    class Own(EventEnum):
        SAID = "said"

    run, seen = make(max_epochs=1, event_names=[Own, "word"], event_to_attr={Own.SAID: "count"}), []
    for event in [*Events, *IterationEvents, Own.SAID, "word"]:
        if event is not Events.TERMINATE:
            run.add_event_handler(event, lambda engine, event=event: seen.append(str(event)))
    run.add_event_handler(Events.EPOCH_COMPLETED, lambda e: (e.fire_event(Own.SAID), e.fire_event("word")))
    run.run()
    return seen


@case
def stopping_and_going_on(make: Make, folder: Path) -> Any:
    run, places = make(max_epochs=3), []
    run.add_event_handler(Events.ITERATION_COMPLETED(once=5), lambda e: e.interrupt())
    run.add_event_handler(Events.ITERATION_COMPLETED(once=9), lambda e: e.terminate_epoch())
    for _ in range(3):
        run.run()
        places.append((run.state.epoch, run.state.iteration))
    run.state.max_epochs = 5
    run.run()
    return places, run.state.iteration


@case
def other_data_in_the_run(make: Make, folder: Path) -> Any:
    run, seen = make(), []
    run.add_event_handler(Events.EPOCH_COMPLETED(once=1), lambda e: e.set_data(loader(n=4)))
    run.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(int(e.state.batch[0]["index"])))
    run.run()
    return seen


@case
def what_handlers_see(make: Make, folder: Path) -> Any:
    data = [
        {**item, "image": MetaTensor(item["image"], meta={"filename_or_obj": str(i)})} for i, item in enumerate(items())
    ]
    run, seen = make(train_data_loader=DataLoader(Dataset(data), batch_size=4)), []
    run.add_event_handler(
        Events.EPOCH_STARTED, lambda e: seen.append(isinstance(e.state.dataloader, torch.utils.data.DataLoader))
    )
    run.run()
    output = run.state.output[0]
    kinds = {key: type(output[key]).__name__ for key in ("image", "label", "pred", "loss")}
    shapes = {key: tuple(output[key].shape) for key in ("image", "pred")}
    return seen, kinds, shapes, output["pred"].meta["filename_or_obj"], sorted(str(k) for k in run.get_stats("output"))


@case
def pairs_and_gradients_after_the_iteration(make: Make, folder: Path) -> Any:
    pairs = torch.utils.data.DataLoader([(item["image"], item["label"]) for item in items()], batch_size=4)
    run, seen = make(train_data_loader=pairs, decollate=False), []
    run.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: seen.append(all(p.grad is not None for p in e.network.parameters()))
    )
    run.run()
    return seen


@pytest.mark.parametrize("name", CASES)
def test_the_outcome_is_that_of_supervised_trainer(name: str, tmp_path: Path) -> None:
    plain, ours = (outcome(CASES[name], gmcl, tmp_path / str(gmcl)) for gmcl in (False, True))
    if plain[0] == "error":
        assert ours[0] == "error", ours
    else:
        assert plain == ours


def regression(scale: float) -> Case:
    targets = loader(lambda k: torch.tensor([scale * k]))
    return runs(network=lambda: Net(1), loss_function=nn.MSELoss, train_data_loader=lambda: targets)


LISTED: dict[str, tuple[Case, type[Exception]]] = {
    "targets of a regression": (regression(5.3), LabelError),
    "targets of a regression from 0 to 1": (regression(0.3), LabelError),
    "images out of range": (
        runs(train_data_loader=lambda: DataLoader(Dataset([{**i, "image": i["image"] * 9} for i in items()]))),
        ImageRangeError,
    ),
    "several outputs": (
        runs(network=lambda: Several(), loss_function=lambda: lambda o, y: functional.cross_entropy(o[0], y)),
        StudentOutputError,
    ),
    "more logits than classes": (runs(network=lambda: Net(7)), StudentOutputError),
    "a loss of more than one image": (
        runs(loss_function=lambda: lambda o, y: functional.cross_entropy(o, y, reduction="none").topk(2)[0].mean()),
        ConfigurationError,
    ),
    "a loss that is not a number": (
        runs(loss_function=lambda: lambda o, y: functional.cross_entropy(o, y) * float("nan")),
        NonFiniteLossError,
    ),
    "a network compiled in place": (runs(network=lambda: in_place()), ConfigurationError),
    "the state of a SupervisedTrainer": (
        lambda make, d: make(max_epochs=4).load_state_dict({"epoch_length": 4, "iteration": 8, "max_epochs": 2}),
        CheckpointError,
    ),
}


class Several(Net):
    def forward(self, images: Tensor) -> Any:
        logits = super().forward(images)
        return logits, logits


def in_place() -> nn.Module:
    network = Net()
    network.compile(backend="eager")
    return network


@pytest.mark.parametrize("name", LISTED)
def test_what_only_supervised_trainer_takes_is_listed_with_its_error(name: str, tmp_path: Path) -> None:
    listed, error = LISTED[name]
    assert outcome(listed, False, tmp_path / "plain")[0] == "value"
    assert outcome(listed, True, tmp_path / "gmcl") == ("error", error)
    assert error.__name__ in str(GMCLTrainer.__doc__).partition("What differs from SupervisedTrainer")[2]
