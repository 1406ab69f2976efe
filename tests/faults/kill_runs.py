# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""Kills a run and resumes it until it ends; run by test_kills.py in a process of its own.

    python kill_runs.py FOLDER KILLS SEED WORKERS [WORKERS ...]

The run tells when: it counts the calls of Python and C functions in each part of its work, and ends itself at one drawn
at random of the part whose turn it is, so that the speed of the machine does not matter. Kills take turns: a SIGKILL, a
SIGTERM, and a SIGKILL at the instant at which a file, drawn at random, takes its place.
Prints JSON for each number of workers: in which part of the run each kill fell, and in what the last checkpoint and all
files differ from those of an uninterrupted run.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from ignite.metrics import Accuracy
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.handlers import ValidationHandler
from monai.networks.nets import Classifier
from monai.transforms import Compose, RandFlipd, RandGaussianNoised

from monai_gmcl import Curriculum, GMCLTrainer, ImageTeacher, StudentDescription
from monai_gmcl.engines.teacher_step import TeacherStep
from monai_gmcl.handlers import (
    BestModelSaver,
    CheckpointFolder,
    CheckpointKeeper,
    CurriculumLog,
    CurvesHandler,
    ImageGridHandler,
    LabelLeakLog,
    LessonWeightsLog,
    RunReport,
    TeacherSaver,
    UnseenAccuracy,
    newest_checkpoint,
)

PARTS = ("rest", "student", "teacher", "save", "files")
ENDS = (-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM)
PART, FILES, CALLS = 0, 1, 2
"""Places in what a run tells: the part that it is in, files that it has written, calls in each part."""


def run(folder: Path, workers: int, told: Any) -> None:
    """Train for two epochs with all that writes files; ``told[PART]`` says what is being done."""
    told[PART] = PARTS.index("rest")
    random.seed(1)  # python seeds it anew in each child
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(5)
    images = 0.1 + 0.8 * torch.rand(20, 3, 16, 16, generator=generator)
    data = [{"image": image, "label": torch.tensor(i % 2)} for i, image in enumerate(images)]
    transform = Compose([RandFlipd("image", prob=0.5, spatial_axis=1), RandGaussianNoised("image", prob=0.5, std=0.01)])
    student = Classifier((3, 16, 16), 2, (8, 16), (2, 2), dropout=0.2)
    teacher = ImageTeacher(spatial_dims=2, in_channels=3, num_classes=2, condition_on_label=True)
    validation = SupervisedEvaluator(
        "cpu",
        DataLoader(data[::3], batch_size=4),
        student,
        key_val_metric={"val_accuracy": Accuracy(columns)},
        val_handlers=[BestModelSaver(folder / "model.pt", student, StudentDescription(["even", "odd"], 2, 3))],
    )
    handlers = [
        CurriculumLog(folder, evaluator=validation),
        ValidationHandler(1, validation, epoch_level=True),
        UnseenAccuracy(validation),
        ImageGridHandler(folder, per_class=6),
        LessonWeightsLog(folder, per_class=2),
        LabelLeakLog(folder),
        TeacherSaver(folder),
        CurvesHandler(folder),
        RunReport(folder, validation, model_file=folder / "model.pt"),
    ]
    optimizer = torch.optim.AdamW(student.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
    trainer = GMCLTrainer(
        "cpu",
        2,
        DataLoader(Dataset(data, transform), batch_size=5, shuffle=True, num_workers=workers),
        student,
        optimizer,
        torch.nn.CrossEntropyLoss(),
        key_train_metric={"train_accuracy": Accuracy(columns)},
        train_handlers=[
            *handlers,
            CheckpointKeeper(
                folder / "checkpoints", {"scheduler": scheduler}, interval=2, epoch_level=False, resume=True
            ),
        ],
        teacher=teacher,
        teacher_optimizer=torch.optim.Adam(teacher.parameters(), lr=0.01),
        curriculum=Curriculum(hardness=0.2),
        seed=11,
    )
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: scheduler.step())
    marked(TeacherStep, "__call__", told, "teacher")
    marked(CheckpointFolder, "save", told, "save")
    marked(GMCLTrainer, "_iteration", told, "student")
    marked(TeacherSaver, "_save", told, "files")
    marked(RunReport, "_write", told, "files")
    trainer.run()


def marked(owner: type, name: str, told: Any, mark: str) -> None:
    """Let a method tell that it is being run."""
    method: Callable[..., Any] = getattr(owner, name)

    def telling(*args: Any, **kwargs: Any) -> Any:
        before, told[PART] = told[PART], PARTS.index(mark)
        result = method(*args, **kwargs)
        told[PART] = before
        return result

    setattr(owner, name, telling)


def columns(output: Any) -> Any:
    return torch.stack([item["pred"] for item in output]), torch.as_tensor([int(item["label"]) for item in output])


def ends_at_file(number: int, told: Any) -> None:
    """Let this process die just before the nth file takes its place; count the files."""
    replace = os.replace

    def dying(*places: Any) -> None:
        told[FILES] += 1
        if told[FILES] == number:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*places)

    os.replace = dying  # type: ignore[assignment]


def ends_at_call(number: int, part: int, by: int, told: Any) -> None:
    """Let this process send itself a signal at the nth beginning or end of a call in a part; count all of them."""

    def counting(*_: Any) -> None:
        now = told[PART]
        told[CALLS + now] += 1
        if now == part and told[CALLS + now] == number:
            os.kill(os.getpid(), by)

    os.register_at_fork(after_in_child=lambda: sys.setprofile(None))  # Workers of a data loader.
    sys.setprofile(counting)


def forked(folder: Path, workers: int, told: Any, *prepare: Callable[[Any], None]) -> int:
    """Run in a child that is prepared to be killed; return how the child ended."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for place in range(len(told)):
                told[place] = 0
            for step in prepare:
                step(told)
            run(folder, workers, told)
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def differences(first: Any, second: Any, name: str = "") -> list[str]:
    """Names of all that is not equal bit for bit."""
    if isinstance(first, dict) and isinstance(second, dict) and list(first) == list(second):
        return [found for key in first for found in differences(first[key], second[key], f"{name}/{key}")]
    if isinstance(first, list | tuple) and len(first) == len(second):
        pairs = enumerate(zip(first, second, strict=True))
        return [found for index, (a, b) in pairs for found in differences(a, b, f"{name}/{index}")]
    equal = torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second
    return [] if equal else [name]


def kill(folder: Path, kills: int, workers: int, instants: random.Random, told: Any) -> dict[str, Any]:
    """Kill runs until there were as many kills as asked for; each run is then let to its end."""
    whole, killed = folder / f"whole_{workers}", folder / f"killed_{workers}"
    assert forked(whole, workers, told, partial(ends_at_call, 0, 0, 0), partial(ends_at_file, 0)) == 0
    written, calls = told[FILES], list(told[CALLS:])
    wanted, files = torch.load(newest_checkpoint(whole / "checkpoints"), weights_only=True), contents(whole)
    parts: list[str] = []
    found: list[str] = []
    while len(parts) < kills:
        for again in range(1, 1 + min(3, kills - len(parts))):
            kind, part = len(parts) % 3, len(parts) % len(PARTS)
            # A run that was killed before has less to do, and ends where it comes to no such call or file.
            if kind == 2:
                prepare = partial(ends_at_file, instants.randint(1, 1 + written // again))
            else:
                call = instants.randint(1, 1 + calls[part] // again)
                prepare = partial(ends_at_call, call, part, signal.SIGTERM if kind else signal.SIGKILL)
            if forked(killed, workers, told, prepare) in ENDS:
                parts.append(PARTS[told[PART] if kind == 2 else part])
        for _ in range(2):
            # The second time there is nothing left to do.
            assert forked(killed, workers, told) == 0
            found += differences(wanted, torch.load(newest_checkpoint(killed / "checkpoints"), weights_only=True))
            found += differences(files, contents(killed))
        shutil.rmtree(killed)
    return {"parts": parts, "differences": found, "compared": [*wanted, *files]}


def contents(folder: Path) -> dict[str, Any]:
    """All files of a folder, hidden ones too, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def main(folder: str, kills: str, seed: str, *workers: str) -> None:
    told, instants = memoryview(mmap.mmap(-1, 8 * (CALLS + len(PARTS)))).cast("q"), random.Random(int(seed))
    # Once in this process: its children find all modules imported, and the kills do not all fall on that.
    run(Path(folder) / "warm", 0, told)
    print(json.dumps({number: kill(Path(folder), int(kills), int(number), instants, told) for number in workers}))


if __name__ == "__main__":
    main(*sys.argv[1:])
