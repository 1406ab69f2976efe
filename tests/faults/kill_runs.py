# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""Kills a run at random instants and resumes it until it ends; run by test_kills.py in a process of its own.

    python kill_runs.py FOLDER KILLS SEED WORKERS [WORKERS ...]

Every third kill is a SIGTERM, every third falls on the instant at which a file, drawn at random, takes its place.
Prints JSON for each number of workers: in which part of the run each kill fell, and in what the last checkpoint and all
files differ from those of an uninterrupted run.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
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

PARTS = ("begin", "student", "teacher", "save", "files")
ENDS = (-signal.SIGKILL, 128 + signal.SIGTERM)


def run(folder: Path, workers: int, part: Any) -> None:
    """Train for two epochs with all that writes files; ``part[0]`` tells what is being done."""
    part[0] = PARTS.index("begin")
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
    marked(TeacherStep, "__call__", part, "teacher")
    marked(CheckpointFolder, "save", part, "save")
    marked(GMCLTrainer, "_iteration", part, "student")
    marked(TeacherSaver, "_save", part, "files")
    marked(RunReport, "_write", part, "files")
    trainer.run()


def marked(owner: type, name: str, part: Any, mark: str) -> None:
    """Let a method tell that it is being run."""
    method: Callable[..., Any] = getattr(owner, name)

    def telling(*args: Any, **kwargs: Any) -> Any:
        before, part[0] = part[0], PARTS.index(mark)
        result = method(*args, **kwargs)
        part[0] = before
        return result

    setattr(owner, name, telling)


def columns(output: Any) -> Any:
    return torch.stack([item["pred"] for item in output]), torch.as_tensor([int(item["label"]) for item in output])


def killed_at_file(number: int, part: Any) -> None:
    """Let this process die just before the nth file takes its place; count the files."""
    replace = os.replace

    def dying(*places: Any) -> None:
        part[1] += 1
        if part[1] == number:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*places)

    os.replace = dying  # type: ignore[assignment]


def forked(
    folder: Path, workers: int, part: Any, kill_after: float | None, by: int = signal.SIGKILL, at_file: int = 0
) -> int:
    """Run in a child, killed after some seconds or at a file unless it ends before; return how the child ended."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            part[1] = 0
            killed_at_file(at_file, part)
            run(folder, workers, part)
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        finally:
            os._exit(status)
    if kill_after is not None:
        end = time.monotonic() + kill_after
        while time.monotonic() < end:
            if os.waitpid(child, os.WNOHANG)[0]:
                return 0
            time.sleep(0.0005)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, by)
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


def kill(folder: Path, kills: int, workers: int, instants: random.Random, part: Any) -> dict[str, Any]:
    """Kill runs at random instants until there were as many kills as asked for; each run is then let to its end."""
    whole, killed = folder / f"whole_{workers}", folder / f"killed_{workers}"
    began = time.monotonic()
    assert forked(whole, workers, part, None) == 0
    length, written = time.monotonic() - began, part[1]
    wanted, files = torch.load(newest_checkpoint(whole / "checkpoints"), weights_only=True), contents(whole)
    parts: list[str] = []
    found: list[str] = []
    while len(parts) < kills:
        for _ in range(min(3, kills - len(parts))):
            kind = instants.randrange(3)
            if kind == 2:
                ended = forked(killed, workers, part, None, at_file=instants.randint(1, written))
            else:
                by = signal.SIGTERM if kind else signal.SIGKILL
                ended = forked(killed, workers, part, instants.uniform(0, length), by)
            if ended in ENDS:
                parts.append(PARTS[part[0]])
        for _ in range(2):
            # The second time there is nothing left to do.
            assert forked(killed, workers, part, None) == 0
            found += differences(wanted, torch.load(newest_checkpoint(killed / "checkpoints"), weights_only=True))
            found += differences(files, contents(killed))
        shutil.rmtree(killed)
    return {"seconds": length, "parts": parts, "differences": found, "compared": [*wanted, *files]}


def contents(folder: Path) -> dict[str, Any]:
    """All files of a folder, hidden ones too, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def main(folder: str, kills: str, seed: str, *workers: str) -> None:
    part, instants = mmap.mmap(-1, 2), random.Random(int(seed))
    # Once in this process: its children find all modules imported, and the kills do not all fall on that.
    run(Path(folder) / "warm", 0, part)
    print(json.dumps({number: kill(Path(folder), int(kills), int(number), instants, part) for number in workers}))


if __name__ == "__main__":
    main(*sys.argv[1:])
