# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data.meta_tensor import MetaTensor
from PIL import Image

from monai_gmcl.exceptions import ConfigurationError, DataError, LabelError
from monai_gmcl.handlers import LabelAudit
from monai_gmcl.ranks import Ranks
from monai_gmcl.reporting.image_sheet import GAP, HEADING, TILE

PROBABILITIES = [[0.9, 0.1], [0.6, 0.4], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.7, 0.3]]
LABELS = [0, 0, 0, 1, 1, 1]
FILES = [f"{letter}.png" for letter in "abcdef"]


def items(files: list[str] = FILES, labels: list[int] = LABELS, one_hot: bool = False) -> list[dict[str, Any]]:
    """Decollated outputs of an evaluator; image i is of grey i / 10."""
    return [
        {
            "image": MetaTensor(torch.full((1, 4, 4), index / 10), meta={"filename_or_obj": file}),
            "label": torch.eye(2)[label] if one_hot else torch.tensor([label]),
            "pred": torch.tensor(probabilities),
        }
        for index, (file, label, probabilities) in enumerate(zip(files, labels, PROBABILITIES, strict=True))
    ]


def evaluated(audit: LabelAudit, judged: list[dict[str, Any]]) -> None:
    engine = Engine(lambda engine, batch: batch)
    audit.attach(engine)
    engine.run([judged[:4], judged[4:]])


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / "label_audit.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("one_hot", [False, True])
def test_images_stand_in_the_table_with_the_most_suspicious_first(tmp_path: Path, one_hot: bool) -> None:
    evaluated(LabelAudit(tmp_path / "new", ["healthy, so far", "=ill"]), items(one_hot=one_hot))
    rows = table(tmp_path / "new")
    assert [row["image"] for row in rows] == ["c.png", "f.png", "b.png", "e.png", "d.png", "a.png"]
    assert rows[0] == {
        "image": "c.png",
        "given_label": "healthy, so far",
        "student_class": "'=ill",
        "self_confidence": "0.100000",
        "score": "-0.800000",
        "suspected_class": "'=ill",
    }
    assert [row["suspected_class"] for row in rows[1:]] == ["healthy, so far", "", "", "", ""]


def test_the_summary_tells_the_share_its_interval_and_whose_probabilities_they_are(tmp_path: Path) -> None:
    evaluated(LabelAudit(tmp_path, ["a", "b"], "five students", resamples=100, seed=3), items())
    told = json.loads((tmp_path / "label_audit.json").read_text(encoding="utf-8"))
    assert (told["students"], told["images"], told["suspected"]) == ("five students", 6, 2)
    share = told["false_label_share"]
    assert share["share"] == pytest.approx(1 / 3, abs=1e-6) and 0 <= share["low"] < 1 / 3 < share["high"] <= 1
    assert told["interval"] == "95 % percentile bootstrap, 100 resamples, seed 3"
    np.testing.assert_allclose(told["joint"], [[1 / 3, 1 / 6], [1 / 6, 1 / 3]], atol=1e-6)


def test_the_contact_sheet_has_a_row_for_each_pair_of_given_label_and_class(tmp_path: Path) -> None:
    evaluated(LabelAudit(tmp_path, ["a", "b"]), items())
    page = np.asarray(Image.open(tmp_path / "label_audit.png").convert("L"))
    assert page.shape[0] == GAP + 2 * (HEADING + TILE + GAP)
    tiles = [page[GAP + row * (HEADING + TILE + GAP) + HEADING + 1, GAP + 1] for row in range(2)]
    assert tiles == [round(0.2 * 255), round(0.5 * 255)]  # c.png, then f.png


def test_of_a_pair_the_ten_most_suspicious_images_are_shown(tmp_path: Path) -> None:
    audit = LabelAudit(tmp_path, ["a", "b"], resamples=10)
    for index in range(14):
        audit.add(
            f"{index}.png", 0, torch.tensor([0.4 - index / 50, 0.6 + index / 50]), torch.full((1, 4, 4), index / 20)
        )
    audit.add("right.png", 1, torch.tensor([0.3, 0.7]), torch.zeros(1, 4, 4))
    audit.write()
    page = np.asarray(Image.open(tmp_path / "label_audit.png").convert("L"))
    shown = [page[GAP + HEADING + 1, GAP + column * (TILE + GAP) + 1] for column in range(10)]
    assert shown == [round(index / 20 * 255) for index in range(13, 3, -1)]


def test_a_student_that_doubts_no_label_gives_a_sheet_that_says_so_in_place_of_an_earlier_one(tmp_path: Path) -> None:
    evaluated(LabelAudit(tmp_path, ["a", "b"], resamples=10), items())
    evaluated(LabelAudit(tmp_path, ["a", "b"], resamples=10), items(labels=[0, 0, 1, 1, 1, 0]))
    assert all(row["suspected_class"] == "" for row in table(tmp_path))
    page = np.asarray(Image.open(tmp_path / "label_audit.png").convert("L"))
    assert page.shape[0] == GAP + HEADING + TILE + GAP and (page[HEADING + GAP :] == 255).all()


def test_the_part_of_each_image_is_a_column_where_it_is_known(tmp_path: Path) -> None:
    parts = {**dict.fromkeys(FILES, "training"), "c.png": "test"}
    evaluated(LabelAudit(tmp_path, ["a", "b"], parts=parts, resamples=10), items())
    assert [row["part"] for row in table(tmp_path)] == ["test"] + ["training"] * 5


def test_each_run_begins_anew(tmp_path: Path) -> None:
    audit = LabelAudit(tmp_path, ["a", "b"], resamples=10)
    for files in (FILES, [f"new_{file}" for file in FILES]):
        evaluated(audit, items(files))
    assert sorted(row["image"] for row in table(tmp_path)) == [f"new_{file}" for file in FILES]


@pytest.mark.parametrize(
    ("names", "changed", "error", "message"),
    [
        (["a", "b", "c"], {}, ConfigurationError, "3 class names .a, b, c. for probabilities of shape .2,."),
        (["a", "b"], {"image": torch.zeros(1, 4, 4)}, ConfigurationError, "has no file name"),
        (["a", "b"], {"pred": torch.tensor([3.0, -1.0])}, ConfigurationError, "apply softmax to logits"),
        (["a", "b"], {"pred": torch.tensor([float("nan")] * 2)}, ConfigurationError, "rows of numbers from 0"),
        (["a", "b"], {"image": items()[1]["image"]}, DataError, "'b.png' was added twice"),
        (
            ["a", "b"],
            {"label": torch.tensor(7)},
            LabelError,
            "has the label 7; expected 0 to 1, a class of a, b",
        ),
        (["a", "b"], {"label": torch.tensor(-1)}, LabelError, "'a.png' has the label -1"),
    ],
    ids=["names", "no file", "logits", "NaN", "twice", "label", "negative label"],
)
def test_what_would_be_a_wrong_table_is_an_error(
    names: list[str], changed: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    judged = items()
    judged[0].update(changed)
    with pytest.raises(error, match=message):
        evaluated(LabelAudit(tmp_path, names, resamples=10), judged)
    assert not list(tmp_path.iterdir())


def test_one_class_or_no_image_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="two classes or more"):
        LabelAudit(tmp_path, ["a"])
    with pytest.raises(DataError, match="no image was added"):
        LabelAudit(tmp_path, ["a", "b"]).write()


def test_several_ranks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ranks, "alone", property(lambda self: False))
    with pytest.raises(ConfigurationError, match="several ranks"):
        evaluated(LabelAudit(tmp_path, ["a", "b"]), items())
