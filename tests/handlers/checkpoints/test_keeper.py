# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import math
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.data.dataloader import DataLoader
from monai.engines import SupervisedTrainer
from monai.handlers import CheckpointLoader
from torch import nn

from monai_gmcl import GMCLTrainer
from monai_gmcl.exceptions import CheckpointError, ConfigurationError
from monai_gmcl.handlers import CheckpointFolder, CheckpointKeeper, newest_checkpoint

Make = Callable[..., GMCLTrainer]


def last(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(newest_checkpoint(folder), weights_only=True)
    return state


def iterations(folder: Path) -> list[int]:
    return [entry.iteration for entry in CheckpointFolder(folder).entries()]


def same_weights(first: Any, second: Any) -> bool:
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def stop(engine: Any, iteration: int, number: int = signal.SIGTERM) -> None:
    engine.add_event_handler(Events.ITERATION_STARTED(once=iteration), lambda: signal.raise_signal(number))


def supervised(*handlers: Any, max_epochs: int = 2, **changes: Any) -> SupervisedTrainer:
    """MONAI's own trainer, three iterations an epoch."""
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(0)
    data = [{"image": torch.rand(2, generator=generator), "label": torch.tensor(i % 2)} for i in range(6)]
    network = nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5), nn.Linear(4, 2))
    return SupervisedTrainer(
        **{
            "device": torch.device("cpu"),
            "max_epochs": max_epochs,
            "train_data_loader": DataLoader(data, batch_size=2, shuffle=True),
            "network": network,
            "optimizer": torch.optim.Adam(network.parameters(), 0.1),
            "loss_function": nn.CrossEntropyLoss(),
            "train_handlers": list(handlers),
            **changes,
        }
    )


def test_ctrl_c_saves_and_interrupts(make_trainer: Make, tmp_path: Path) -> None:
    run = make_trainer([CheckpointKeeper(tmp_path)])
    stop(run, 2, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert iterations(tmp_path) == [2]


def test_a_signal_in_the_last_iteration_of_an_epoch_waits_for_the_epochs_end(
    make_trainer: Make, tmp_path: Path
) -> None:
    run = make_trainer([CheckpointKeeper(tmp_path)])
    ends: list[int] = []
    run.add_event_handler(Events.EPOCH_COMPLETED, lambda: ends.append(run.state.epoch))
    stop(run, 3)
    with pytest.raises(SystemExit):
        run.run()
    assert ends == [1] and iterations(tmp_path) == [3]


@pytest.mark.parametrize("end", ["completed", "signal", "error"])
def test_the_handlers_of_signals_are_put_back(end: str, make_trainer: Make, tmp_path: Path) -> None:
    run = make_trainer([CheckpointKeeper(tmp_path)])
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    inside: list[Any] = []
    run.add_event_handler(Events.ITERATION_STARTED(once=1), lambda: inside.append(signal.getsignal(signal.SIGTERM)))
    if end == "signal":
        stop(run, 2)
    if end == "error":
        run.add_event_handler(Events.ITERATION_STARTED(once=2), lambda: 1 / 0)
    with pytest.raises((SystemExit, ZeroDivisionError)) if end != "completed" else nullcontext():
        run.run()
    assert inside[0] not in before
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Python's own handler of SIGINT, which a process lacks that a shell has started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_a_second_signal_finds_the_handler_of_before(make_trainer: Make, tmp_path: Path) -> None:
    run = make_trainer([CheckpointKeeper(tmp_path)])
    run.add_event_handler(Events.ITERATION_STARTED(once=2), lambda: signal.raise_signal(signal.SIGTERM))
    run.add_event_handler(Events.ITERATION_STARTED(once=2), lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert not tmp_path.joinpath(CheckpointFolder.MANIFEST).exists()


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, [3, 6]),
        ({"keep": 1}, [6]),
        ({"interval": 5}, [6]),
        ({"epoch_level": False, "keep": 9}, [1, 2, 3, 4, 5, 6]),
        ({"epoch_level": False, "interval": 4, "keep": 9}, [4, 6]),
    ],
)
def test_the_last_checkpoints_are_kept(
    options: dict[str, Any], kept: list[int], make_trainer: Make, tmp_path: Path
) -> None:
    make_trainer([CheckpointKeeper(tmp_path, **options)]).run()
    assert iterations(tmp_path) == kept
    names = {f"checkpoint_{iteration:08d}.pt" for iteration in kept}
    assert {path.name for path in tmp_path.iterdir()} == {*names, CheckpointFolder.MANIFEST}


def test_monais_loader_reads_a_checkpoint(make_trainer: Make, tmp_path: Path) -> None:
    run = make_trainer([CheckpointKeeper(tmp_path)], max_epochs=1)
    run.run()
    other = make_trainer([], max_epochs=2)
    parts = {"model": other.network, "teacher": other.teacher, "optimizer": other.optimizer, "trainer": other}
    CheckpointLoader(str(newest_checkpoint(tmp_path)), parts, map_location="cpu").attach(other)
    other.run()
    whole = make_trainer([], max_epochs=2)
    whole.run()
    assert other.state.iteration == 6
    assert same_weights(whole.network.state_dict(), other.network.state_dict())


@pytest.mark.parametrize("amp", [False, True])
def test_monais_supervised_trainer_goes_on_from_an_epochs_end_bit_for_bit(amp: bool, tmp_path: Path) -> None:
    whole = supervised(CheckpointKeeper(tmp_path / "whole"), max_epochs=3, amp=amp)
    whole.run()
    cut = supervised(CheckpointKeeper(tmp_path / "cut"), max_epochs=3, amp=amp)
    stop(cut, 3)
    with pytest.raises(SystemExit):
        cut.run()
    resumed = supervised(CheckpointKeeper(tmp_path / "cut", resume=True), max_epochs=3, amp=amp)
    resumed.run()
    assert resumed.state.iteration == 9
    assert same_weights(whole.network.state_dict(), resumed.network.state_dict())
    kept = {"model", "optimizer", "trainer", "random", "handlers", "run", *(["scaler"] if amp else [])}
    assert set(last(tmp_path / "cut")) == kept


def test_weights_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    run = supervised(CheckpointKeeper(tmp_path, epoch_level=False))

    @run.on(Events.ITERATION_COMPLETED(once=2))
    def spoil() -> None:
        run.network[2].bias.data[0] = math.nan

    with pytest.raises(CheckpointError, match=r"model is not saved: its 2.bias has NaN"):
        run.run()
    assert iterations(tmp_path) == [1]


def test_nothing_to_resume_is_said_and_the_run_begins(
    make_trainer: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_trainer([CheckpointKeeper(tmp_path, resume=True)]).run()
    assert "has no checkpoint. The run starts from the beginning" in caplog.text
    assert iterations(tmp_path) == [3, 6]


def test_a_new_run_replaces_the_checkpoints_of_the_old_one_and_says_so(
    make_trainer: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_trainer([CheckpointKeeper(tmp_path)]).run()
    assert "earlier run" not in caplog.text
    (tmp_path / "checkpoint_epoch=1.pt").write_bytes(b"the user's own")
    make_trainer([CheckpointKeeper(tmp_path)], max_epochs=1).run()
    assert "has checkpoints of an earlier run" in caplog.text
    assert iterations(tmp_path) == [3]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("outputs", "also", "message"),
    [
        (3, {}, r"checkpoint_00000006.pt does not fit this run. model: .*size mismatch"),
        (2, {"ema": nn.Linear(1, 1)}, "has no ema; found model, optimizer, teacher"),
    ],
)
def test_a_checkpoint_of_another_network_or_without_a_part_is_refused_by_name(
    outputs: int, also: dict[str, Any], message: str, make_trainer: Make, tmp_path: Path
) -> None:
    make_trainer([CheckpointKeeper(tmp_path)]).run()
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, outputs))
    other = {"network": network, "optimizer": torch.optim.SGD(network.parameters(), 0.1)}
    with pytest.raises(CheckpointError, match=message):
        make_trainer([CheckpointKeeper(tmp_path, also, resume=True)], **other).run()


def test_the_random_generators_go_on(make_trainer: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def numbers() -> list[float]:
        return [torch.rand(1).item(), np.random.rand(), random.random()]  # noqa: NPY002 (what MONAI draws from)

    drawn: list[list[float]] = []
    run = make_trainer([CheckpointKeeper(tmp_path)])
    # Told to end in its last epoch: it has no step left, and has not come to its end.
    run.add_event_handler(Events.EPOCH_COMPLETED(once=2), lambda: signal.raise_signal(signal.SIGTERM))
    run.add_event_handler(Events.EXCEPTION_RAISED, lambda *_: drawn.append(numbers()))
    with pytest.raises(SystemExit):
        run.run()
    numbers()
    resumed = make_trainer([CheckpointKeeper(tmp_path, resume=True)])
    resumed.add_event_handler(Events.COMPLETED, lambda: drawn.append(numbers()))
    with caplog.at_level(logging.INFO):
        resumed.run()
    assert drawn[0] == drawn[-1]
    assert "epoch 2, iteration 6" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep": 0}, "keep must be at least 1, got 0"),
        ({"interval": 0}, "interval must be at least 1, got 0"),
        ({"save_dict": {"model": nn.Linear(1, 1)}}, "must not have the key 'model'"),
        ({"save_dict": {"number": 3}}, r"save_dict\['number'\] is a int; expected an object with state_dict"),
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=message):
        CheckpointKeeper(tmp_path, **arguments)
