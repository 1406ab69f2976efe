# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from monai_gmcl.benchmark.data_sets import DataOptions, Images
from studies.wrong_labels.noise import MOST_TRUSTED, draw


class Numbered:
    """Images whose first pixel is their number; odd ones are of class 1 and lighter, save every tenth."""

    task = SimpleNamespace(learning_rate=4e-3)
    options = DataOptions("nowhere", 1, size=8)

    def draw(self, n: int, seed: int) -> tuple[Images, Images]:
        labels = torch.arange(n + 40) % 2
        images = torch.rand(n + 40, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) / 2
        looks = torch.where(torch.arange(n + 40) // 2 % 10 == 0, 1 - labels, labels)
        images += looks.view(-1, 1, 1, 1) / 2
        images[:, 0, 0, 0] = torch.arange(n + 40) / 1000
        order = torch.cat([(labels[:n] == c).nonzero()[:, 0] for c in (0, 1)])
        return (images[order], labels[order]), (images[n:], labels[n:])


def drawn(noise: str, share: float, trusted: int = 10, seed: int = 3) -> Any:
    return draw(Numbered(), 60, trusted, noise, share, seed)  # type: ignore[arg-type]


def numbers(images: torch.Tensor) -> set[int]:
    return set((images[:, 0, 0, 0] * 1000).round().int().tolist())


@pytest.mark.parametrize("noise", ["uniform", "by_class", "by_difficulty"])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_exactly_the_share_of_labels_is_false_and_no_trusted_one(noise: str, share: float) -> None:
    labeled, _ = drawn(noise, share)
    false = labeled.doubtful[1] != labeled.right
    assert int(false.sum()) == round(share * (30 if noise == "by_class" else 60))
    for images, labels in ((labeled.doubtful[0], labeled.right), labeled.trusted):
        assert [int(label) for label in labels] == [round(float(i[0, 0, 0]) * 1000) % 2 for i in images]
    if noise == "by_class":
        assert set(labeled.right[false].tolist()) <= {1}


def test_false_labels_by_difficulty_are_on_images_that_look_like_the_other_class() -> None:
    labeled, _ = drawn("by_difficulty", 0.1)
    looks = (labeled.doubtful[0][:, 0, 1:].mean((1, 2)) > 0.5).long()
    false, odd = labeled.doubtful[1] != labeled.right, looks != labeled.right
    assert int(false.sum()) == int(odd.sum()) == 6 and int((false & odd).sum()) >= 4


def test_parts_share_no_image_and_more_trusted_images_change_no_other() -> None:
    few, held_out = drawn("uniform", 0.3, trusted=5)
    many, _ = drawn("uniform", 0.3, trusted=MOST_TRUSTED)
    parts = [numbers(images) for images in (many.doubtful[0], many.trusted[0], held_out[0])]
    assert len(set.union(*parts)) == sum(map(len, parts)) and list(map(len, parts)) == [60, MOST_TRUSTED, 40]
    assert few.trusted[1].bincount().tolist() == [3, 2] and numbers(few.trusted[0]) <= parts[1]
    assert all(torch.equal(one, other) for one, other in zip(few.doubtful, many.doubtful, strict=True))
