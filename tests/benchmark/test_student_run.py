# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.engines.trainer import SupervisedTrainer

from monai_gmcl.benchmark.arms import ARMS
from monai_gmcl.benchmark.augmentations import no_augmentation
from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.benchmark.label_kinds import BATCH
from monai_gmcl.benchmark.student_run import Setup, StudentRun
from monai_gmcl.metrics.classification import classification_measures

OPTIONS = DataOptions("shades", 1, size=8)


def images(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(n) % 2
    noise = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return 0.5 * noise + 0.5 * labels[:, None, None, None], labels


def plain(setup: Setup) -> SupervisedTrainer:
    return SupervisedTrainer(**setup.arguments(no_augmentation()))


@pytest.fixture(scope="module")
def run() -> StudentRun:
    found = StudentRun(plain, OPTIONS, images(20, 0), images(30, 1), seed=0, steps=40)
    found.run()
    return found


def test_a_run_keeps_chosen_and_final_weights_raw_and_averaged(run: StudentRun) -> None:
    assert set(run.weights) == set(run.valid_scores) == {"chosen", "final", "ema_chosen", "ema_final"}
    assert all(run.valid_scores[f"{kind}chosen"] >= run.valid_scores[f"{kind}final"] for kind in ("", "ema_"))
    probabilities = run.probabilities("final", images(50, 2)[0])
    assert probabilities.shape == (50, 2) and torch.allclose(probabilities.sum(1), torch.ones(50))


def test_what_the_student_learned_from_last_is_kept(run: StudentRun) -> None:
    (seen,) = run.seen
    known = images(20, 0)[0]
    assert len(seen) == BATCH and all(any(torch.equal(image, one) for one in known) for image in seen)


def test_a_student_of_gmcl_learned_from_real_images_and_a_lesson() -> None:
    found = StudentRun(ARMS["gmcl"].build, OPTIONS, images(20, 0), images(30, 1), seed=0, steps=4)
    found.run()
    assert [len(seen) for seen in found.seen] == [BATCH, BATCH]


def test_a_student_learns_what_is_easy(run: StudentRun) -> None:
    held_out, labels = images(50, 2)
    assert run.valid_scores["chosen"] > 0.95 and run.valid_scores["final"] > 0.95
    assert classification_measures(run.probabilities("chosen", held_out), labels)["auc"] > 0.95


@pytest.mark.parametrize(
    ("given", "highest"), [({}, 4e-4), ({"learning_rate": 2e-3}, 2e-3), ({"learning_rate": 0.01}, 0.01)]
)
def test_the_schedule_reaches_the_learning_rate_that_is_asked_for(given: dict[str, float], highest: float) -> None:
    rates: list[float] = []

    def build(setup: Setup) -> Any:
        trainer = SupervisedTrainer(**setup.arguments(no_augmentation()))
        trainer.add_event_handler(Events.ITERATION_STARTED, lambda: rates.append(setup.optimizer.param_groups[0]["lr"]))
        return trainer

    StudentRun(build, OPTIONS, images(20, 0), images(30, 1), seed=0, steps=29, **given).run()
    assert max(rates) == pytest.approx(highest, rel=0.01) and rates[0] < 0.1 * highest


def test_kept_weights_are_those_of_the_moment(run: StudentRun) -> None:
    final = run.weights["final"]
    assert any(not torch.equal(value, final[key]) for key, value in run.weights["ema_final"].items())
    student = run.with_weights("final")
    assert not student.training and all(torch.equal(v, final[k]) for k, v in student.state_dict().items())


def test_a_run_takes_its_steps_on_full_batches_whatever_the_number_of_images() -> None:
    sizes: list[int] = []

    def build(setup: Setup) -> Any:
        trainer = SupervisedTrainer(**setup.arguments(no_augmentation()))
        trainer.network.register_forward_pre_hook(
            lambda module, inputs: sizes.append(len(inputs[0])) if module.training else None
        )
        return trainer

    StudentRun(build, OPTIONS, images(20, 0), images(30, 1), seed=0, steps=7).run()
    assert sizes == [BATCH] * 7


def test_every_image_comes_as_often() -> None:
    seen: list[float] = []

    def prepare(batch: Any, *_: Any, **__: Any) -> Any:
        seen.extend(batch[0].flatten(1).sum(1).tolist())
        return batch

    def build(setup: Setup) -> Any:
        return SupervisedTrainer(**setup.arguments(no_augmentation()), prepare_batch=prepare)

    StudentRun(build, OPTIONS, images(16, 0), images(30, 1), seed=0, steps=6).run()
    counts = [seen.count(value) for value in set(seen)]
    assert counts == [12] * 16


def test_the_cost_is_counted(run: StudentRun) -> None:
    assert run.cost["student_passes"] == 40 * BATCH and run.cost["flops"] == 40 * run.flops_per_step > 0
    assert run.cost["wall_seconds"] > 0 and run.cost["cpu_seconds"] > 0 and run.cost["peak_memory_bytes"] >= 0
