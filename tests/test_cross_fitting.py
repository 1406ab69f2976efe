# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from monai_gmcl.cross_fitting import DEALS, Fitting, class_probabilities, cross_fit, folds_of
from monai_gmcl.exceptions import ConfigurationError, DataError


def items(count: int, classes: int = 2, group_of: int | None = None) -> list[dict[str, Any]]:
    """Items whose image is their number; so many in a row are of one patient."""
    return [
        {
            "image": str(index),
            "label": index % classes,
            **({} if group_of is None else {"group": f"patient {index // group_of}"}),
        }
        for index in range(count)
    ]


class Learner(nn.Module):
    """Linear: a class for each half of the image."""

    def __init__(self, outputs: int = 2) -> None:
        super().__init__()
        self.layer = nn.Linear(2, outputs)
        self.trained_on: set[int] = set()

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.trained_on |= {round(float(image[0, 0]) * 1000) for image in images}
        return self.layer(images.flatten(1)[:, :2])  # type: ignore[no-any-return]


def load(item: dict[str, Any]) -> dict[str, Any]:
    number = int(item["image"])
    return {**item, "image": torch.tensor([[number / 1000, float(number % 2)]])}


FITTING = Fitting(Learner(), load, max_epochs=30, batch_size=4, learning_rate=0.1)


def test_images_of_several_shapes_are_an_error_that_names_the_setting() -> None:
    def load_differently(item: dict[str, Any]) -> dict[str, Any]:
        return {**item, "image": torch.zeros(1, 2 + (item["image"] == "3"))}

    fitting = Fitting(Learner(), load_differently, max_epochs=1, batch_size=4, learning_rate=0.1)
    with pytest.raises(DataError, match=r"found \(1, 2\) and \(1, 3\).*image_size"):
        cross_fit(items(8), 2, fitting, lambda *judged: None)


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_each_image_is_judged_once_by_a_student_that_did_not_train_on_it(
    folds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, Learner]] = []
    probabilities = class_probabilities

    def watched(network: Learner, images: Any, indices: list[int], *rest: Any) -> Any:
        asked.extend((index, network) for index in indices)
        yield from probabilities(network, images, indices, *rest)

    monkeypatch.setattr("monai_gmcl.cross_fitting.class_probabilities", watched)
    judged: list[str] = []
    cross_fit(items(23), folds, FITTING, lambda item, found, image: judged.append(item["image"]))
    assert judged == [str(index) for index in range(23)]
    times = len(FITTING.lengths) + DEALS - 1
    assert sorted(index for index, _ in asked) == sorted([*range(23)] * times)
    assert all(index not in student.trained_on and len(student.trained_on) > 4 for index, student in asked)
    assert len({id(student) for _, student in asked}) == folds * times


def test_the_students_judge_whose_length_of_training_foresees_labels_best(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Fitting(Learner(), load, max_epochs=20).lengths == [5, 10, 20] and FITTING.lengths == [7, 15, 30]
    assert [Fitting(Learner(), load, max_epochs=epochs).lengths for epochs in (1, 2, 3)] == [[1], [1, 2], [1, 3]]

    def known(fitting: Fitting, images: Any, indices: Any, epochs: int) -> nn.Module:
        """Of each number of epochs another student: how sure it is of the class that it finds, rightly or not."""
        student, sureness = Learner(), {7: 0.5, 15: 2.0, 30: -3.0}[epochs]
        student.layer.weight.data = torch.tensor([[0.0, -sureness], [0.0, sureness]])
        student.layer.bias.data = torch.tensor([sureness, -sureness]) / 2
        return student

    monkeypatch.setattr("monai_gmcl.cross_fitting._fitted", known)
    found: list[Tensor] = []
    assert cross_fit(items(24), 3, FITTING, lambda item, chances, _: found.append(chances)) == 15
    torch.testing.assert_close(torch.stack(found).amax(1), torch.sigmoid(torch.full((24,), 2.0)).double())


def test_students_learn_and_the_image_comes_with_its_probabilities() -> None:
    found: dict[int, tuple[Tensor, Tensor]] = {}
    cross_fit(items(24), 3, FITTING, lambda item, chances, image: found.update({int(item["image"]): (chances, image)}))
    for number, (chances, image) in found.items():
        assert int(chances.argmax()) == number % 2 and float(chances.sum()) == pytest.approx(1)
        assert float(image[0, 0]) == pytest.approx(number / 1000)


def test_further_images_are_judged_by_the_mean_of_all_students_none_of_which_learns_from_them() -> None:
    found: dict[str, Tensor] = {}
    data = items(24)
    further = [{"image": "500", "label": 1}, {"image": "501", "label": 0}]  # labeled wrongly
    cross_fit(data, 3, FITTING, lambda item, chances, image: found.update({item["image"]: chances}), further)
    assert int(found["500"].argmax()) == 0 and int(found["501"].argmax()) == 1
    alone: dict[str, Tensor] = {}
    cross_fit(data, 3, FITTING, lambda item, chances, image: alone.update({item["image"]: chances}))
    assert all(torch.equal(alone[name], found[name]) for name in alone)


def test_images_whose_labels_are_sure_teach_every_student_and_are_not_judged() -> None:
    # Half of the labels that are judged are false: students learn from the sure ones.
    doubtful = [{"image": str(index), "label": index // 2 % 2} for index in range(24)]
    found: dict[int, int] = {}
    sure = [{"image": str(500 + index), "label": index % 2} for index in range(40)]
    cross_fit(doubtful, 3, FITTING, lambda item, p, _: found.update({int(item["image"]): int(p.argmax())}), always=sure)
    assert found == {index: index % 2 for index in range(24)}


def test_the_same_seed_gives_the_same_numbers_and_leaves_the_callers_generator_alone() -> None:
    runs = []
    for seed in (0, 0, 1):
        found: list[Tensor] = []
        fitting = Fitting(FITTING.network, load, max_epochs=1, batch_size=4, seed=seed)
        torch.manual_seed(9)
        cross_fit(items(12), 2, fitting, lambda _, chances, image, kept=found: kept.append(chances))  # type: ignore[misc]
        runs.append(torch.stack(found))
        drawn = torch.rand(1)
        torch.manual_seed(9)
        assert torch.equal(drawn, torch.rand(1))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def test_patients_and_equal_images_stay_in_one_fold_and_classes_keep_their_share() -> None:
    numbers = folds_of(items(60, group_of=3), 5, 0)
    assert all(len(set(numbers[start : start + 3])) == 1 for start in range(0, 60, 3))
    assert sorted(map(numbers.count, range(5))) == [12] * 5
    assert numbers == folds_of(items(60, group_of=3), 5, 0)
    twins = {str(index): index // 2 for index in range(20)}
    paired = folds_of(items(20, classes=1), 3, 0, twins)
    assert paired[::2] == paired[1::2]


@pytest.mark.parametrize("folds", [1, 0, -2, True, 2.0, "5"])
def test_what_is_no_number_of_folds_is_refused(folds: Any) -> None:
    with pytest.raises(ConfigurationError, match="folds: expected a whole number of at least 2"):
        folds_of(items(20), folds, 0)


@pytest.mark.parametrize(
    ("data", "folds", "message"),
    [
        (items(3), 5, "at least 5 patients"),
        ([*items(12, classes=1), {"image": "12", "label": 1}], 3, "each class in two folds or more, found class 1"),
        (items(20, group_of=10), 3, "at least 3 patients, slides or images for 3 parts, found 2"),
    ],
    ids=["few images", "a class of one image", "few patients"],
)
def test_too_few_images_or_patients_are_an_error(data: list[dict[str, Any]], folds: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        folds_of(data, folds, 0)


@pytest.mark.parametrize(
    "options",
    [{"max_epochs": 0}, {"max_epochs": True}, {"batch_size": 1}, {"batch_size": 2.5}, {"learning_rate": 0.0}],
)
def test_a_fitting_that_cannot_be_is_refused(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"^{next(iter(options))}: expected"):
        Fitting(Learner(), load, **options)


def test_a_batch_of_one_image_is_left_out_of_an_epoch() -> None:
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(2), nn.Linear(2, 2))
    found: list[Tensor] = []
    fitting = Fitting(network, load, max_epochs=2, batch_size=4)
    cross_fit(items(10), 2, fitting, lambda item, chances, image: found.append(chances))  # 5 of 10 in each fold
    assert len(found) == 10
