# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from monai.data.meta_tensor import MetaTensor

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.handlers import PredictionsSaver
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
