# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from monai_gmcl.data import (
    make_mask_phantom,
    make_phantom,
    make_unlabeled_phantom,
    make_volume_mask_phantom,
    make_volume_phantom,
)
from monai_gmcl.data.drawn_folder import draw_once
from monai_gmcl.exceptions import ConfigurationError, DataError


def draw(place: Path) -> None:
    (place / "image.txt").write_text("drawn", encoding="utf-8")


def never(place: Path) -> None:
    raise AssertionError(f"drawn again in {place}")


def test_it_is_drawn_with_a_record_of_its_parameters(tmp_path: Path) -> None:
    draw_once(tmp_path / "set", "set.json", "set", {"seed": 1}, draw, {"kinds": [0]})

    assert (tmp_path / "set" / "image.txt").read_text(encoding="utf-8") == "drawn"
    assert json.loads((tmp_path / "set" / "set.json").read_text(encoding="utf-8")) == {"seed": 1, "kinds": [0]}
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_the_same_set_is_drawn_once(tmp_path: Path) -> None:
    draw_once(tmp_path / "set", "set.json", "set", {"seed": 1}, draw)
    draw_once(tmp_path / "set", "set.json", "set", {"seed": 1}, never)


def test_a_run_cut_off_while_drawing_leaves_nothing(tmp_path: Path) -> None:
    def cut(place: Path) -> None:
        draw(place)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_once(tmp_path / "set", "set.json", "set", {"seed": 1}, cut)
    assert not list(tmp_path.iterdir())


def test_one_that_another_process_finished_meanwhile_is_taken(tmp_path: Path) -> None:
    def together(place: Path) -> None:
        draw(place)
        draw_once(tmp_path / "set", "set.json", "set", {"seed": 1}, draw)

    draw_once(tmp_path / "set", "set.json", "set", {"seed": 1}, together)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "empty folder or the same set, found other files"),
        ("no json", "found invalid JSON"),
        ("[]", r"found one with \[\]"),
        ('{"seed": 2, "kinds": [1]}', r"\{'seed': 1\}, in .* found one with \{'seed': 2\}"),
    ],
)
def test_another_set_in_its_place_is_refused_and_kept(content: str | None, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "mine.txt").touch()
    if content is not None:
        (folder / "set.json").write_text(content, encoding="utf-8")

    with pytest.raises(DataError, match=message):
        draw_once(folder, "set.json", "set", {"seed": 1}, never, {"kinds": [0]})
    assert (folder / "mine.txt").exists()


Make = Callable[..., Path]
FEW, MORE = {"train": 1, "valid": 1}, {"train": 2, "valid": 1}
PHANTOMS: dict[Make, tuple[str, Any, Any]] = {
    make_phantom: ("images_per_class", FEW, MORE),
    make_volume_phantom: ("volumes_per_class", FEW, MORE),
    make_mask_phantom: ("images", FEW, MORE),
    make_volume_mask_phantom: ("volumes", FEW, MORE),
}
each_phantom = pytest.mark.parametrize("make", PHANTOMS)


def arrays(folder: Path) -> dict[str, bytes]:
    """The pixels of each file; the header of a compressed volume holds the time."""
    read: dict[str, Callable[[Path], Any]] = {".png": Image.open, ".gz": lambda path: nibabel.load(path).dataobj}
    files = [path for path in folder.rglob("*") if path.suffix in read]
    return {str(path.relative_to(folder)): np.asarray(read[path.suffix](path)).tobytes() for path in files}


@each_phantom
def test_a_seed_always_draws_the_same_images_and_a_larger_set_holds_the_smaller(make: Make, tmp_path: Path) -> None:
    name, few, more = PHANTOMS[make]
    first, again, larger, other = (
        arrays(make(tmp_path / str(place), **{name: count}, seed=seed))
        for place, (count, seed) in enumerate([(few, 0), (few, 0), (more, 0), (few, 1)])
    )
    assert first == again and first.items() < larger.items()
    images = [pixels for found in (first, other) for file, pixels in found.items() if "labels" not in file]
    assert len(set(images)) == len(images)


def test_a_seed_draws_the_same_unlabeled_images(tmp_path: Path) -> None:
    first, again, other = (
        arrays(make_unlabeled_phantom(tmp_path / name, 6, 0.5, 16, seed))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again and not {*first.values()} & {*other.values()}


@each_phantom
def test_a_phantom_is_drawn_once_and_one_with_other_parameters_is_refused(make: Make, tmp_path: Path) -> None:
    name, few, _ = PHANTOMS[make]
    folder = make(tmp_path / "set", **{name: few})
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert make(folder, **{name: few}) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    with pytest.raises(DataError, match="Expected the same .*phantom"):
        make(folder, **{name: few}, seed=4)


@pytest.mark.parametrize(
    ("make", "wrong", "message"),
    [
        *((make, {name: {}}, r"\{\}") for make, (name, *_) in PHANTOMS.items()),
        *((make, {name: {"train": 1, "valid": 0}}, "'valid': 0") for make, (name, *_) in PHANTOMS.items()),
        *((make, {"seed": -1}, "seed >= 0.*seed -1") for make in PHANTOMS),
        (make_phantom, {"size": 15}, "size >= 16.*size 15"),
        (make_mask_phantom, {"size": 15}, "size of at least 16 pixels, got 15"),
        *(
            (make_unlabeled_phantom, wrong, "Expected count >= 1")
            for wrong in ({"count": 0}, {"foreign_share": 1.1}, {"size": 8}, {"seed": -1})
        ),
    ],
)
def test_arguments_out_of_range_are_refused(make: Make, wrong: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make(tmp_path / "set", **wrong)
    assert not list(tmp_path.iterdir())
