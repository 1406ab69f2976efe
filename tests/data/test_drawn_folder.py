# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_gmcl.data.drawn_folder import draw_once
from monai_gmcl.exceptions import DataError


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
