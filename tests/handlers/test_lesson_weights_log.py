# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from monai_gmcl import GMCLEvents, Lesson, LessonWeighting, LookAheadWeighting, PolicyTeacher
from monai_gmcl.exceptions import ConfigurationError, DataError
from monai_gmcl.handlers import ImageGridHandler, LessonWeightsLog
from monai_gmcl.handlers import lesson_weights_log as module

UNLABELED = [torch.full((1, 8, 8), value) for value in (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)]


class ByBrightness(LessonWeighting):
    """Weighs an image with its source's brightness; nothing below .6."""

    def __call__(self, lesson: Lesson, look_ahead: Mapping[str, Tensor], update: Mapping[str, Tensor]) -> Tensor:
        assert lesson.sources is not None
        bright = lesson.sources.flatten(1).mean(1)
        return bright * (bright > 0.6)


class Keep:
    """Keeps the lessons of a run."""

    def __init__(self) -> None:
        self.lessons: list[Lesson] = []

    def attach(self, engine: Any) -> None:
        engine.add_event_handler(GMCLEvents.LESSON_COMPLETED, lambda: self.lessons.append(engine.state.lesson))


def propose(images: Tensor) -> tuple[Tensor, Tensor]:
    return torch.ones(len(images), dtype=torch.long), torch.ones(len(images))


def propose_several(images: Tensor) -> tuple[Tensor, Tensor]:
    """The first label above .2, the second above .6, the third never."""
    bright = images.flatten(1).mean(1, keepdim=True)
    return (bright > torch.tensor([0.2, 0.6, 2.0])).float(), torch.ones(len(images))


def unlabeled(proposal: Any = propose) -> dict[str, Any]:
    loader = torch.utils.data.DataLoader(UNLABELED, batch_size=2)  # type: ignore[arg-type]
    return {"weighting": ByBrightness(), "unlabeled_data_loader": loader, "label_proposal": proposal}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The rows of each picture, in place of drawing them."""
    pages: list[Any] = []
    monkeypatch.setattr(module, "image_sheet", lambda rows, *_: pages.append(rows) or b"")
    return pages


def several_labels() -> dict[str, Any]:
    """What a trainer takes for images of several labels; a quarter of them has none."""
    numbers = torch.Generator().manual_seed(1)
    labels = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    data = [
        {"image": torch.rand((1, 8, 8), generator=numbers) ** (i % 2 + 0.5), "label": labels[i % 4]} for i in range(12)
    ]
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    return {
        "train_data_loader": torch.utils.data.DataLoader(data, batch_size=4, shuffle=True),  # type: ignore[arg-type]
        "network": network,
        "optimizer": torch.optim.SGD(network.parameters(), 0.1),
        "loss_function": nn.BCEWithLogitsLoss(),
        "teacher": PolicyTeacher(2, 1, 3),
        **unlabeled(propose_several),
    }


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "lesson_weights.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_means_and_shares_of_zero_are_written_by_origin_and_class(make_trainer: Any, tmp_path: Path) -> None:
    keep = Keep()
    make_trainer([LessonWeightsLog(tmp_path, ["healthy", "ill"]), keep], **unlabeled()).run()
    written = rows(tmp_path)
    assert [row["epoch"] for row in written] == ["1", "2"]
    assert float(written[0]["mean_proposed"]) == pytest.approx((0.7 + 0.9 + 1.0) / 6)
    assert float(written[0]["zero_proposed"]) == 0.5
    first = keep.lessons[: len(keep.lessons) // 2]
    weights, labels = (torch.cat([getattr(lesson, name) for lesson in first]) for name in ("weights", "labels"))
    given = torch.cat([lesson.weights[: lesson.num_labeled] for lesson in first])  # type: ignore[index]
    assert float(written[0]["mean_given"]) == pytest.approx(float(given.mean()))
    for label, name in enumerate(("healthy", "ill")):
        assert float(written[0][f"mean_{name}"]) == pytest.approx(float(weights[labels == label].mean()))
        assert float(written[0][f"zero_{name}"]) == pytest.approx(float((weights[labels == label] == 0).float().mean()))


def test_an_image_of_several_labels_counts_under_each_and_one_of_none_under_none(
    make_trainer: Any, tmp_path: Path
) -> None:
    names, keep = ["nodule", "mass", "hernia"], Keep()
    make_trainer([LessonWeightsLog(tmp_path, names), keep], **several_labels()).run()
    first = keep.lessons[: len(keep.lessons) // 2]
    images = [pair for lesson in first for pair in zip(lesson.weights.tolist(), lesson.labels.tolist(), strict=True)]  # type: ignore[union-attr]
    assert {sum(labels) for _, labels in images} == {0, 1, 2}
    row = rows(tmp_path)[0]
    assert len(row) == 1 + 2 * (2 + len(names))
    for number, name in enumerate(names):
        weights = [weight for weight, labels in images if labels[number] == 1]
        assert float(row[f"mean_{name}"]) == pytest.approx(sum(weights) / len(weights), rel=1e-5)
        assert float(row[f"zero_{name}"]) == pytest.approx(weights.count(0) / len(weights), rel=1e-5)
    assert len({row[f"mean_{name}"] for name in names}) == 3


def test_one_logit_has_two_classes(make_trainer: Any, tmp_path: Path) -> None:
    numbers = torch.Generator().manual_seed(1)
    data = [{"image": torch.rand((1, 8, 8), generator=numbers), "label": torch.tensor([i % 2.0])} for i in range(8)]
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    make_trainer(
        [LessonWeightsLog(tmp_path, ["healthy", "ill"])],
        train_data_loader=torch.utils.data.DataLoader(data, batch_size=4, shuffle=True),  # type: ignore[arg-type]
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.1),
        loss_function=nn.BCEWithLogitsLoss(),
        teacher=PolicyTeacher(2, 1, 1),
    ).run()
    columns = [f"{kind}_{name}" for name in ("given", "healthy", "ill") for kind in ("mean", "zero")]
    assert list(rows(tmp_path)[0]) == ["epoch", *columns]


def test_pictures_show_an_image_of_several_labels_under_each(
    make_trainer: Any, tmp_path: Path, drawn: list[Any]
) -> None:
    log = LessonWeightsLog(tmp_path, ["nodule", "mass", "hernia"], per_class=2)
    make_trainer([log], max_epochs=1, **several_labels()).run()
    shown = {row.name: row.blocks[0].flatten(1).mean(1).tolist() for row in drawn[0]}
    # No row of a label that no image has; the darkest image has no label.
    assert shown == {
        "nodule, highest: 0.9 to 1": pytest.approx([1.0, 0.9]),
        "nodule, lowest: 0 to 0": pytest.approx([0.3, 0.5]),
        "mass, highest: 1 to 1": pytest.approx([1.0]),
        "mass, lowest: 0.7 to 0.7": pytest.approx([0.7]),
    }


def test_the_proposed_images_at_both_ends_are_drawn(make_trainer: Any, tmp_path: Path, drawn: list[Any]) -> None:
    make_trainer([LessonWeightsLog(tmp_path, per_class=2, interval=2)], **unlabeled()).run()
    (grid,) = drawn
    assert [file.name for file in (tmp_path / "weights").iterdir()] == ["epoch_0002.png"]
    assert [row.name for row in grid] == ["1, highest: 0.9 to 1", "1, lowest: 0 to 0"]
    assert grid[0].blocks[0].flatten(1).mean(1).tolist() == pytest.approx([1.0, 0.9])
    assert set(grid[1].blocks[0].flatten(1).mean(1).round(decimals=3).tolist()) < set(
        torch.tensor([0.1, 0.3, 0.5]).tolist()
    )


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_without_unlabeled_images_those_with_given_labels_are_drawn(
    make_trainer: Any, tmp_path: Path, spatial_dims: int
) -> None:
    make_trainer([LessonWeightsLog(tmp_path)], spatial_dims=spatial_dims, weighting=LookAheadWeighting()).run()
    for epoch in (1, 2):
        with Image.open(tmp_path / "weights" / f"epoch_{epoch:04d}.png") as picture:
            assert picture.width > 500
    assert "mean_proposed" not in rows(tmp_path)[0]


@pytest.mark.parametrize("handler", [ImageGridHandler, LessonWeightsLog])
@pytest.mark.parametrize("wrong", ["per_class", "interval"])
def test_numbers_below_one_are_refused(tmp_path: Path, handler: Any, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{handler.__name__}: {wrong} must be a positive integer, got 0"):
        handler(tmp_path, **{wrong: 0})


def test_a_file_that_is_no_such_table_is_named_before_training(make_trainer: Any, tmp_path: Path) -> None:
    (tmp_path / "lesson_weights.csv").write_text("other,things\n1,2\n")
    with pytest.raises(DataError, match="lesson_weights.csv must have a column 'epoch'"):
        make_trainer([LessonWeightsLog(tmp_path)])
