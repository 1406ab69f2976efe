# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from monai_gmcl.benchmark.data_sets import BenchmarkData, DataOptions
from monai_gmcl.benchmark.student_run import StudentRun
from monai_gmcl.engines import GMCLEvents
from studies.proof.arms import ARMS

OPTIONS = DataOptions("shades", 1, size=8)


def shades(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Bright and dark noise."""
    labels = torch.arange(n) % 2
    noise = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return 0.4 * noise + 0.5 * labels[:, None, None, None], labels


def run_of(name: str, steps: int, unlabeled: tuple[Tensor, Tensor] | None = None) -> StudentRun:
    pool = shades(40, 2) if unlabeled is None else unlabeled
    return StudentRun(ARMS[name].build, OPTIONS, shades(8, 0), shades(12, 1), 0, steps, unlabeled=pool)


LABELS_UNKNOWN = [name for name, arm in ARMS.items() if arm.unlabeled and name != "gmcl_unlabeled_true"]


@pytest.mark.parametrize("name", LABELS_UNKNOWN)
def test_true_labels_of_unlabeled_images_are_not_looked_at(name: str) -> None:
    images, labels = shades(40, 2)
    final = []
    for given in (labels, 1 - labels):
        run = run_of(name, 3, (images, given))
        run.run()
        final.append(run.weights["final"])
    assert all(torch.equal(a, b) for a, b in zip(*(weights.values() for weights in final), strict=True))


def test_the_bound_knows_them() -> None:
    images, labels = shades(40, 2)
    run = run_of("gmcl_unlabeled_true", 5, (images, labels))
    seen: list[bool] = []
    known = {float(image.sum()): int(label) for image, label in zip(images, labels, strict=True)}

    def look() -> None:
        lesson = run.trainer.state.lesson
        bright = lesson.sources[lesson.num_labeled :].flatten(1).mean(1) > 0.45
        seen.append(bool((lesson.labels[lesson.num_labeled :] == bright.long()).all()))

    run.trainer.add_event_handler(GMCLEvents.LESSON_COMPLETED, look)
    run.run()
    assert len(known) == 40 and len(seen) == 5 and all(seen)


def test_a_first_student_is_the_one_that_validation_chose_and_learns_no_more() -> None:
    run = run_of("gmcl_first_student_head", 6)
    labeler = run.trainer.sources.unlabeled.propose
    before = [parameter.clone() for parameter in labeler.network.parameters()]
    run.run()
    assert labeler.network is not run.network
    assert all(torch.equal(a, b) for a, b in zip(before, labeler.network.parameters(), strict=True))


def test_images_that_are_measured_on_are_not_in_the_pool(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_gmcl.benchmark.data_sets.HELD_OUT", 20)
    data = BenchmarkData(DataOptions(str(folder), channels=1))

    def keys(images: Any) -> set[float]:
        return set(images[0].double().flatten(1).pow(2).sum(1).tolist())

    labeled, held_out = (keys(part) for part in data.draw(4, 0))
    apart, all_others = (keys(data.unlabeled(4, 0, measured)) for measured in (True, False))
    assert len(labeled) == 8 and len(held_out) == 20 and len(apart) == 80 - 28 and len(all_others) == 72
    assert not apart & (labeled | held_out) and not all_others & labeled and held_out < all_others
