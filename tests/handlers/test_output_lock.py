# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from ignite.engine import Engine, Events

from monai_gmcl.exceptions import ConfigurationError, OutputError
from monai_gmcl.handlers import CheckpointKeeper, CurriculumLog, TeacherSaver
from monai_gmcl.handlers.output_lock import FolderLock, hold_output


@pytest.fixture
def other_process(tmp_path: Path) -> Any:
    """Starts a process that holds a folder's lock, and returns its number."""
    started: list[int] = []

    def start(forks: bool = False) -> int:
        reading, writing = os.pipe()
        process = os.fork()
        if process == 0:
            os.setpgid(0, 0)
            FolderLock(tmp_path).acquire()
            if not forks or os.fork() > 0:
                os.write(writing, b"held")
            time.sleep(600)
            os._exit(0)
        started.append(process)
        assert os.read(reading, 4) == b"held"
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process, 0)


@pytest.mark.parametrize("handler", [CurriculumLog, TeacherSaver, CheckpointKeeper])
def test_a_second_run_in_a_folder_is_refused_and_told_whose_it_is(
    handler: Any, make_trainer: Any, tmp_path: Path, other_process: Any
) -> None:
    process = other_process()
    trainer = make_trainer([handler(tmp_path)])
    with pytest.raises(ConfigurationError, match=rf"Another run is writing to {tmp_path} \(process {process} on "):
        trainer.run()
    assert [path.name for path in tmp_path.iterdir()] == [FolderLock.FILE_NAME]


@pytest.mark.parametrize("forks", [False, True])
def test_a_process_that_was_killed_holds_no_lock(
    forks: bool, make_trainer: Any, tmp_path: Path, other_process: Any
) -> None:
    # Its children, such as a loader's workers, live on.
    process = other_process(forks)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    assert (tmp_path / FolderLock.FILE_NAME).exists()
    make_trainer([CurriculumLog(tmp_path)]).run()
    assert [path.name for path in tmp_path.iterdir()] == ["curriculum.csv"]


@pytest.mark.parametrize("end", ["completed", "error", "terminated"])
def test_the_lock_goes_with_the_run(end: str, make_trainer: Any, tmp_path: Path) -> None:
    trainer = make_trainer([CurriculumLog(tmp_path), TeacherSaver(tmp_path)])
    held: list[bool] = []
    trainer.add_event_handler(Events.ITERATION_STARTED(once=2), lambda: held.append((tmp_path / ".lock").is_file()))
    if end == "error":
        trainer.add_event_handler(Events.ITERATION_STARTED(once=3), lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            trainer.run()
    else:
        if end == "terminated":
            trainer.add_event_handler(Events.ITERATION_STARTED(once=3), trainer.terminate)
        trainer.run()
    assert held == [True]
    assert not (tmp_path / ".lock").exists()


def test_a_run_after_another_in_the_same_process_is_none_beside_it(make_trainer: Any, tmp_path: Path) -> None:
    for _ in range(2):
        make_trainer([CurriculumLog(tmp_path)]).run()
    trainer = make_trainer([CurriculumLog(tmp_path)])
    trainer.run()
    trainer.state.max_epochs = 3
    trainer.run()


def test_errors_of_an_engine_are_still_raised(tmp_path: Path) -> None:
    engine = Engine(lambda engine, batch: 1 / 0)
    hold_output(engine, tmp_path)
    with pytest.raises(ZeroDivisionError):
        engine.run([0])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="The folder .*out cannot be created"):
        FolderLock(tmp_path / "out").acquire()


def test_two_that_wait_for_one_lock_do_not_both_get_it(tmp_path: Path, other_process: Any) -> None:
    first = FolderLock(tmp_path)
    first.acquire()
    waiting = os.open(first.path, os.O_RDWR)  # opened while the first held it, as by one that comes too late
    first.release()
    other_process()
    second = FolderLock(tmp_path)
    second._file, second._process = None, 0
    with pytest.raises(ConfigurationError):
        second.acquire()
    os.close(waiting)
