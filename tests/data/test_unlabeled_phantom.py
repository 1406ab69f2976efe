# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from monai_gmcl.data import make_unlabeled_phantom, unlabeled_datalist
from monai_gmcl.exceptions import ConfigurationError, DataError


def pixels(path: Path) -> Any:
    return np.asarray(Image.open(path)).astype(int)


def test_grades_come_as_often_and_some_images_are_foreign(tmp_path: Path) -> None:
    images = make_unlabeled_phantom(tmp_path / "pool", count=20, foreign_share=0.2, size=16)
    kinds = json.loads((tmp_path / "pool" / "unlabeled_phantom.json").read_text())["kinds"]
    assert {kind: kinds.count(kind) for kind in (0, 1, 2, 3, "foreign")} == dict.fromkeys((0, 1, 2, 3, "foreign"), 4)
    for item, kind in zip(unlabeled_datalist(images), kinds, strict=True):
        image = pixels(Path(item["image"]))
        grey = bool((image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all())
        assert image.shape == (16, 16, 3) and grey == (kind == "foreign")


def test_the_seed_decides(tmp_path: Path) -> None:
    first, second, other = (
        make_unlabeled_phantom(tmp_path / name, 6, 0.5, 16, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    names = [f"{i:05d}.png" for i in range(6)]
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)
    assert all((first / name).read_bytes() != (other / name).read_bytes() for name in names)


def test_what_stands_there_is_taken_or_refused(tmp_path: Path) -> None:
    images = make_unlabeled_phantom(tmp_path / "pool", 4, size=16)
    before = (images / "00000.png").stat().st_mtime_ns
    assert make_unlabeled_phantom(tmp_path / "pool", 4, size=16) == images
    assert (images / "00000.png").stat().st_mtime_ns == before
    with pytest.raises(DataError, match="the same unlabeled phantom"):
        make_unlabeled_phantom(tmp_path / "pool", 5, size=16)
    with pytest.raises(DataError, match="the same unlabeled phantom"):
        make_unlabeled_phantom(images, 4, size=16)


@pytest.mark.parametrize("wrong", [{"count": 0}, {"foreign_share": 1.1}, {"size": 8}, {"seed": -1}])
def test_arguments_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="Expected count >= 1"):
        make_unlabeled_phantom(tmp_path / "pool", **wrong)
