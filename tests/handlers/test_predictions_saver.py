# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from monai.data.meta_tensor import MetaTensor

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.handlers import ClassReport, PredictionsSaver
from monai_gmcl.metrics.classification import class_report
from monai_gmcl.ranks import Ranks


def evaluated(saver: PredictionsSaver, names: list[str], probabilities: list[list[float]], meta: bool = True) -> None:
    """Run an evaluator over single images."""

    def step(engine: Engine, index: int) -> list[dict[str, torch.Tensor]]:
        image = (
            MetaTensor(torch.zeros(1, 2, 2), meta={"filename_or_obj": names[index]}) if meta else torch.zeros(1, 2, 2)
        )
        return [{"image": image, "pred": torch.tensor(probabilities[index])}]

    engine = Engine(step)
    saver.attach(engine)
    engine.run(range(len(names)))


def read(folder: Path) -> list[list[str]]:
    with open(folder / "predictions.csv", newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_each_image_has_a_line_under_the_names_of_the_classes(tmp_path: Path) -> None:
    saver = PredictionsSaver(tmp_path / "new", ["healthy, so far", "ill"])
    evaluated(saver, ["a,b.png", "ö.png"], [[0.25, 0.75], [1.0, 0.0]])
    assert read(tmp_path / "new") == [
        ["image", "healthy, so far", "ill"],
        ["a,b.png", "0.250000", "0.750000"],
        ["ö.png", "1.000000", "0.000000"],
    ]


def test_without_names_the_headings_are_numbers_and_each_run_begins_anew(tmp_path: Path) -> None:
    saver = PredictionsSaver(tmp_path)
    for name in ("first.png", "second.png"):
        evaluated(saver, [name], [[0.2, 0.3, 0.5]])
    assert read(tmp_path) == [["image", "0", "1", "2"], ["second.png", "0.200000", "0.300000", "0.500000"]]


@pytest.mark.parametrize(
    ("meta", "names", "message"),
    [(False, None, "has no file name"), (True, ["a", "b", "c"], "3 class names .a, b, c. for 2 outputs")],
)
def test_what_would_be_a_wrong_table_is_an_error(
    meta: bool, names: list[str] | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        evaluated(PredictionsSaver(tmp_path, names), ["x.png"], [[0.5, 0.5]], meta)
    assert not (tmp_path / "predictions.csv").exists()


def test_several_ranks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ranks, "alone", property(lambda self: False))
    with pytest.raises(ConfigurationError, match="predictions of several ranks"):
        evaluated(PredictionsSaver(tmp_path), ["x.png"], [[0.5, 0.5]])


# Predicted: 0, 0, 1, 0, 1; the fourth and the fifth are wrong.
PROBABILITIES = torch.tensor([[0.9, 0.1, 0.0], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1], [0.1, 0.6, 0.3]])
LABELS = torch.tensor([0, 0, 1, 1, 2])


def test_shares_of_right_predictions_and_the_area_of_one_class_against_the_rest_are_those_by_hand() -> None:
    rows = {row["class"]: row for row in class_report(PROBABILITIES, LABELS, ["a", "b", "c"])}
    assert [rows[name]["accuracy"] for name in ("a", "b", "c", "all")] == [1.0, 0.5, 0.0, 0.6]
    assert [rows["a"]["precision"], rows["b"]["precision"]] == pytest.approx([2 / 3, 1 / 2])
    # A class that is never predicted has no precision.
    assert math.isnan(rows["c"]["precision"]) and rows["c"]["predicted"] == 0
    # Pairs (of b, of another) that are ordered rightly: .7 above .1, .3, .6, and .4 above .1, .3, of 6.
    assert [rows["b"]["auc"], rows["all"]["auc"]] == pytest.approx([5 / 6, (1 + 5 / 6 + 1) / 3])


def test_a_class_without_images_is_left_out_of_the_means() -> None:
    rows = class_report(PROBABILITIES[:4], LABELS[:4], ["a", "b", "c"])
    assert rows[2]["auc"] != rows[2]["auc"]
    assert rows[-1]["auc"] == pytest.approx((1 + 1) / 2)


@pytest.mark.parametrize("one_hot", [False, True])
def test_the_table_covers_all_batches_of_the_last_evaluation(one_hot: bool, tmp_path: Path) -> None:
    labels = torch.nn.functional.one_hot(LABELS, 3) if one_hot else LABELS
    items = [{"pred": pred, "label": label} for pred, label in zip(PROBABILITIES, labels, strict=True)]
    evaluator = Engine(lambda engine, batch: batch)
    ClassReport(tmp_path / "new", ["a", "b", "c"]).attach(evaluator)
    evaluator.run([items[:3], items[3:]], max_epochs=2)
    with open(tmp_path / "new" / "class_report.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["images"] for row in rows] == ["2", "2", "1", "5"]
    assert float(rows[-1]["accuracy"]) == 0.6


@pytest.mark.parametrize("handler", [ClassReport, PredictionsSaver])
def test_predictions_of_pixels_are_refused(handler: type[ClassReport | PredictionsSaver], tmp_path: Path) -> None:
    item = {"image": torch.zeros(1, 4, 4), "pred": torch.zeros(3, 4, 4), "label": torch.zeros(1, 4, 4)}
    evaluator = Engine(lambda engine, batch: batch)
    handler(tmp_path, ["a", "b", "c"]).attach(evaluator)
    with pytest.raises(ConfigurationError, match=r"one for each pixel \(3, 4, 4\).*MeanDice"):
        evaluator.run([[item]], max_epochs=1)
