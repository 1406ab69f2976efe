# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics.rocauc import compute_roc_auc
from torch import Tensor

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.metrics.label_noise import (
    class_thresholds,
    confident_classes,
    false_label_share,
    label_joint,
    normalized_margin,
    self_confidence,
)

# Six images, two classes. Thresholds: class 0: (.9 + .6 + .1) / 3 = 8/15; class 1: (.8 + .7 + .3) / 3 = .6.
BY_HAND = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.7, 0.3]], dtype=torch.float64)
GIVEN = torch.tensor([0, 0, 0, 1, 1, 1])


def independent_joint(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The joint: how the surest images of each class are labeled, and how often the class is true."""
    classes = probabilities.shape[1]
    given = np.array([np.mean(labels == j) for j in range(classes)])
    transitions = np.zeros((classes, classes))
    for k in range(classes):
        count = max(int(np.ceil(0.3 * np.sum(labels == k))), 10)
        for i in sorted(range(len(labels)), key=lambda i: -probabilities[i, k])[:count]:
            transitions[k, labels[i]] += 1 / count
    true = np.linalg.solve(transitions.T, given)
    return (transitions * true[:, None]).T


def noisy(images: int, flips: Tensor, sharpness: float = 3.0, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities of a student that knows the classes, given labels and true labels.

    ``flips`` holds in row i the shares of the given labels of images whose true label is i. The student has the
    posterior of the *given* labels, as one that learned from them on other images.
    """
    generator = torch.Generator().manual_seed(seed)
    classes = len(flips)
    true = torch.arange(images) % classes
    logits = torch.randn(images, classes, generator=generator, dtype=torch.float64)
    logits[torch.arange(images), true] += 2 * sharpness
    given = torch.multinomial(flips[true], 1, generator=generator)[:, 0]
    return logits.softmax(1) @ flips, given, true


def uniform_flips(classes: int, share: float) -> Tensor:
    flips = torch.full((classes, classes), share / (classes - 1), dtype=torch.float64)
    return flips.fill_diagonal_(1 - share)


def test_scores_of_a_matrix_by_hand() -> None:
    expected = torch.tensor([0.9, 0.6, 0.1, 0.8, 0.7, 0.3], dtype=torch.float64)
    assert torch.equal(self_confidence(BY_HAND, GIVEN), expected)
    torch.testing.assert_close(normalized_margin(BY_HAND, GIVEN), 2 * expected - 1)
    three = torch.tensor([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2]], dtype=torch.float64)
    margins = torch.tensor([0.2, -0.2, -0.3], dtype=torch.float64)
    torch.testing.assert_close(normalized_margin(three, torch.tensor([0, 1, 2])), margins)


def test_the_joint_of_a_matrix_by_hand() -> None:
    torch.testing.assert_close(class_thresholds(BY_HAND, GIVEN), torch.tensor([8 / 15, 0.6], dtype=torch.float64))
    assert confident_classes(BY_HAND, GIVEN).tolist() == [0, 0, 1, 1, 1, 0]
    # Of each class all three images, as there are no ten: of class 0 those of .9, .7 and .6, labeled 0, 1 and 0.
    torch.testing.assert_close(
        label_joint(BY_HAND, GIVEN), torch.tensor([[1 / 3, 1 / 6], [1 / 6, 1 / 3]], dtype=torch.float64)
    )
    assert false_label_share(BY_HAND, GIVEN).share == pytest.approx(1 / 3, abs=1e-12)


def test_an_image_of_which_the_student_is_sure_of_no_class_does_not_count() -> None:
    # Thresholds .8 and .8: the last two images reach none.
    unsure = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.4], [0.4, 0.6]], dtype=torch.float64)
    labels = torch.tensor([0, 1, 0, 1])
    assert confident_classes(unsure, labels).tolist() == [0, 1, -1, -1]
    torch.testing.assert_close(label_joint(unsure, labels), torch.eye(2, dtype=torch.float64) / 2)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_joint_is_that_of_a_computation_class_by_class(classes: int) -> None:
    probabilities, given, _ = noisy(60 * classes, uniform_flips(classes, 0.25), 1.5, classes)
    joint = independent_joint(probabilities.numpy(), given.numpy())
    assert (joint >= 0).all()
    np.testing.assert_allclose(label_joint(probabilities, given).numpy(), joint, atol=1e-12)
    assert false_label_share(probabilities, given, 10).share == pytest.approx(1 - np.trace(joint), abs=1e-12)


def test_images_that_are_all_alike_count_somewhere() -> None:
    # The mean of such numbers can be rounded above each of them.
    for value in np.linspace(0.01, 0.99, 99):
        alike = torch.tensor([[value, 1 - value]] * 7, dtype=torch.float64)
        joint = label_joint(alike, torch.tensor([0, 0, 0, 1, 1, 1, 1]))
        assert torch.isfinite(joint).all() and float(joint.sum()) == pytest.approx(1)


@pytest.mark.parametrize(
    "flips",
    [uniform_flips(2, 0.1), uniform_flips(2, 0.3), uniform_flips(4, 0.3)],
    ids=["two classes, .1", "two classes, .3", "four classes, .3"],
)
def test_false_labels_of_simulated_noise_are_ranked_and_their_share_is_in_the_interval(flips: Tensor) -> None:
    inside = 0
    for seed in range(10):
        probabilities, given, true = noisy(600, flips, seed=seed)
        false = given != true
        for score in (self_confidence, normalized_margin):
            assert torch.as_tensor(compute_roc_auc(-score(probabilities, given), false.long())) > 0.95
        found = false_label_share(probabilities, given, 200, seed=seed)
        assert found.low <= found.share <= found.high and found.high - found.low < 0.2
        assert found.share == pytest.approx(float(false.double().mean()), abs=0.09)
        inside += found.low <= float(false.double().mean()) <= found.high
    assert inside >= 9


def test_false_labels_of_one_class_alone_are_told_as_such() -> None:
    flips = torch.tensor([[1.0, 0.0], [0.3, 0.7]], dtype=torch.float64)
    errors = []
    for seed in range(20):
        probabilities, given, true = noisy(600, flips, seed=seed)
        false = given != true
        assert torch.as_tensor(compute_roc_auc(-normalized_margin(probabilities, given), false.long())) > 0.95
        errors.append(false_label_share(probabilities, given, 1).share - float(false.double().mean()))
        joint = label_joint(probabilities, given)
        assert joint[0, 1] > 0.05 and joint[1, 0] < 0.01  # given 0, truly 1
    assert abs(np.mean(errors)) < 0.03 and np.std(errors) < 0.06


def test_the_mistakes_of_a_weak_student_hardly_count_as_false_labels() -> None:
    # Its accuracy is .75, its AUC .8; of 400 labels 120 are false. Confident learning says .42, on average.
    found = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        true = torch.arange(400) % 2
        logits = 1.2 * (torch.randn(400, generator=generator, dtype=torch.float64) + 1.2 * (true - 0.5))
        given = torch.where(torch.rand(400, generator=generator) < 0.3, 1 - true, true)
        right = torch.sigmoid(logits)
        probabilities = torch.stack([1 - right, right], 1) @ uniform_flips(2, 0.3)
        found.append(false_label_share(probabilities, given, 1).share)
    assert np.mean(found) == pytest.approx(0.3, abs=0.1)


def test_right_labels_of_a_student_that_knows_them_have_no_share_of_false_ones() -> None:
    probabilities, given, _ = noisy(300, uniform_flips(3, 0.0), 6.0)
    assert false_label_share(probabilities, given, 50) == (0, 0, 0)


def test_the_interval_comes_again_with_its_seed_widens_with_its_level_and_narrows_with_more_images() -> None:
    probabilities, given, _ = noisy(200, uniform_flips(2, 0.3))
    first = false_label_share(probabilities, given, 300, seed=4)
    assert false_label_share(probabilities, given, 300, seed=4) == first
    assert false_label_share(probabilities, given, 300, seed=5) != first
    narrow = false_label_share(probabilities, given, 300, 0.5, seed=4)
    assert first.low < narrow.low < narrow.high < first.high
    many = false_label_share(*noisy(5000, uniform_flips(2, 0.3))[:2], 300)
    assert many.high - many.low < (first.high - first.low) / 3


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (BY_HAND * 3, GIVEN, "rows of numbers from 0 that sum to 1"),
        (torch.full((6, 2), torch.nan), GIVEN, "rows of numbers from 0"),
        (BY_HAND[:, :1], GIVEN, "K of 2 or more"),
        (BY_HAND, GIVEN[:5], "labels .N,., found shapes"),
        (BY_HAND, torch.zeros(6, dtype=torch.int64), "images of each class, 0 to 1, found classes .0."),
        (BY_HAND, GIVEN + 1, "images of each class, 0 to 1, found classes .1, 2."),
        (BY_HAND[:0], GIVEN[:0], "images of each class, 0 to 1, found classes .."),
    ],
    ids=["logits", "NaN", "one class", "fewer labels", "a class missing", "labels from 1", "no image"],
)
def test_what_are_no_probabilities_or_labels_is_refused_by_all(
    probabilities: Tensor, labels: Tensor, message: str
) -> None:
    for function in (
        self_confidence,
        normalized_margin,
        class_thresholds,
        confident_classes,
        label_joint,
        false_label_share,
    ):
        with pytest.raises(ConfigurationError, match=message):
            function(probabilities, labels)


@pytest.mark.parametrize(
    "options", [{"resamples": 0}, {"resamples": True}, {"resamples": 1.5}, {"level": 1.0}, {"level": float("nan")}]
)
def test_an_interval_that_cannot_be_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=f"^{next(iter(options))}: expected"):
        false_label_share(BY_HAND, GIVEN, **options)  # type: ignore[arg-type]
