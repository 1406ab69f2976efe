# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from monai_gmcl import GMCLTrainer, ImageTeacher, PolicyTeacher, StainTeacher, UnrolledHypergradient

Build = Callable[..., GMCLTrainer]
OLD_SIZES = {"policy": 12 + 14 + 32 + 1 + 3 * 8 * 8, "image": 12 + 32 + 3 * (16 + 64 + 256), "stain": 17}
TEACHERS = {"policy": PolicyTeacher, "image": ImageTeacher, "stain": StainTeacher}


def stopped_early(trainer: Build, name: str, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A run of one epoch: the arguments of its trainer, and its state."""
    run = trainer(teacher=TEACHERS[name](2, 3, 2), max_epochs=1, **options)
    run.run()
    file = io.BytesIO()
    torch.save(run.state_dict(), file)
    file.seek(0)
    return options, torch.load(file, weights_only=True)


def went_on(trainer: Build, name: str, options: dict[str, Any], state: dict[str, Any]) -> GMCLTrainer:
    run = trainer(teacher=TEACHERS[name](2, 3, 2), max_epochs=2, **options)
    run.load_state_dict(state)
    run.state.max_epochs = 2
    return run


@pytest.mark.parametrize("name", list(TEACHERS))
@pytest.mark.parametrize("lookback", [1, 2])
def test_lessons_whose_latents_have_another_size_are_dropped_with_a_warning(
    name: str, lookback: int, trainer: Build, caplog: pytest.LogCaptureFixture
) -> None:
    options: dict[str, Any] = {"teacher_interval": lookback}
    if lookback > 1:
        options["hypergradient"] = UnrolledHypergradient(lookback)
    _, state = stopped_early(trainer, name, **options)
    lessons = state["gmcl"]["pending"]["lessons"]
    assert lessons
    lessons[-1]["latents"] = torch.zeros(len(lessons[-1]["labels"]), OLD_SIZES[name])
    with caplog.at_level(logging.WARNING):
        run = went_on(trainer, name, options, state)
    assert f"{len(lessons)} lesson(s) with latents (" in caplog.text and f", {OLD_SIZES[name]})" in caplog.text
    assert len(run._pending) == 0 and run.dropped_lessons == len(lessons)
    run.run()
    assert run.state.epoch == 2


def test_lessons_of_this_version_are_kept_without_a_warning(trainer: Build, caplog: pytest.LogCaptureFixture) -> None:
    options, state = stopped_early(trainer, "policy")
    run = went_on(trainer, "policy", options, state)
    before = torch.get_rng_state()
    run.load_state_dict(state)
    assert len(run._pending) == len(state["gmcl"]["pending"]["lessons"]) == 1
    assert run.dropped_lessons == 0 and "latents" not in caplog.text
    assert torch.equal(torch.get_rng_state(), before)


def test_lessons_of_a_plain_module_are_kept(trainer: Build) -> None:
    class Plain(nn.Module):
        def forward(self, images: Any, labels: Any, latents: Any, difficulty: float) -> Any:
            return images + self.gain * difficulty * latents[:, :1, None, None]

        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(0.01))

    run = trainer(teacher=Plain(), max_epochs=1)
    run.run()
    other = trainer(teacher=Plain(), max_epochs=1)
    other.load_state_dict(run.state_dict())
    assert len(other._pending) == 1
