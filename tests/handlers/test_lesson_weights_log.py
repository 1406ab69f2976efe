# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from monai_gmcl import GMCLEvents, Lesson, LessonWeighting, LookAheadWeighting
from monai_gmcl.exceptions import ConfigurationError, DataError
from monai_gmcl.handlers import LessonWeightsLog
from monai_gmcl.handlers import lesson_weights_log as module

UNLABELED = [torch.full((1, 8, 8), value) for value in (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)]


class ByBrightness(LessonWeighting):
    """Weighs an image with its source's brightness; nothing below .6."""

    def __call__(self, lesson: Lesson, look_ahead: Mapping[str, Tensor], update: Mapping[str, Tensor]) -> Tensor:
        assert lesson.sources is not None
        bright = lesson.sources.flatten(1).mean(1)
        return bright * (bright > 0.6)


def propose(images: Tensor) -> tuple[Tensor, Tensor]:
    return torch.ones(len(images), dtype=torch.long), torch.ones(len(images))


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "lesson_weights.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_means_and_shares_of_zero_are_written_by_origin_and_class(make_trainer: Any, tmp_path: Path) -> None:
    seen: list[Lesson] = []

    class Keep:
        def attach(self, engine: Any) -> None:
            engine.add_event_handler(GMCLEvents.LESSON_COMPLETED, lambda: seen.append(engine.state.lesson))

    make_trainer(
        [LessonWeightsLog(tmp_path, ["healthy", "ill"]), Keep()],
        weighting=ByBrightness(),
        unlabeled_data_loader=torch.utils.data.DataLoader(UNLABELED, batch_size=2),  # type: ignore[arg-type]
        label_proposal=propose,
    ).run()
    written = rows(tmp_path)
    assert [row["epoch"] for row in written] == ["1", "2"]
    assert float(written[0]["mean_proposed"]) == pytest.approx((0.7 + 0.9 + 1.0) / 6)
    assert float(written[0]["zero_proposed"]) == 0.5
    first = seen[: len(seen) // 2]
    weights, labels = (torch.cat([getattr(lesson, name) for lesson in first]) for name in ("weights", "labels"))
    given = torch.cat([lesson.weights[: lesson.labeled] for lesson in first])  # type: ignore[index]
    assert float(written[0]["mean_given"]) == pytest.approx(float(given.mean()))
    for label, name in enumerate(("healthy", "ill")):
        assert float(written[0][f"mean_{name}"]) == pytest.approx(float(weights[labels == label].mean()))
        assert float(written[0][f"zero_{name}"]) == pytest.approx(float((weights[labels == label] == 0).float().mean()))


def test_the_proposed_images_at_both_ends_are_drawn(
    make_trainer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(module, "draw_grid", lambda path, rows, **_: drawn.append((path.name, rows)))
    make_trainer(
        [LessonWeightsLog(tmp_path, per_class=2, interval=2)],
        weighting=ByBrightness(),
        unlabeled_data_loader=torch.utils.data.DataLoader(UNLABELED, batch_size=2),  # type: ignore[arg-type]
        label_proposal=propose,
    ).run()
    ((name, grid),) = drawn
    assert name == "epoch_0002.png"
    assert [row.name for row in grid] == ["1, highest: 0.9 to 1", "1, lowest: 0 to 0"]
    assert grid[0].real.flatten(1).mean(1).tolist() == pytest.approx([1.0, 0.9])
    assert set(grid[1].real.flatten(1).mean(1).round(decimals=3).tolist()) < set(torch.tensor([0.1, 0.3, 0.5]).tolist())


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_without_unlabeled_images_those_with_given_labels_are_drawn(
    make_trainer: Any, tmp_path: Path, spatial_dims: int
) -> None:
    make_trainer([LessonWeightsLog(tmp_path)], spatial_dims=spatial_dims, weighting=LookAheadWeighting()).run()
    for epoch in (1, 2):
        with Image.open(tmp_path / "weights" / f"epoch_{epoch:04d}.png") as picture:
            assert picture.width > 500
    assert "mean_proposed" not in rows(tmp_path)[0]


@pytest.mark.parametrize("wrong", ["per_class", "interval"])
def test_numbers_below_one_are_refused(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=f"LessonWeightsLog: {wrong} must be a positive integer, got 0"):
        LessonWeightsLog(tmp_path, **{wrong: 0})


def test_a_file_that_is_no_such_table_is_named_before_training(make_trainer: Any, tmp_path: Path) -> None:
    (tmp_path / "lesson_weights.csv").write_text("other,things\n1,2\n")
    with pytest.raises(DataError, match="lesson_weights.csv must have a column 'epoch'"):
        make_trainer([LessonWeightsLog(tmp_path)])
