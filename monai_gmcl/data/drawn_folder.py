# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Phantoms: data sets that are drawn on first use and written to a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from monai_gmcl.exceptions import DataError

__all__ = ["draw_classes", "draw_once"]


def draw_once(
    folder: Path,
    record: str,
    what: str,
    parameters: Mapping[str, Any],
    draw: Callable[[Path], None],
    told: Mapping[str, Any] | None = None,
) -> None:
    """Draw a data set into a folder, or use the existing one; DataError if the folder contains something else.

    The JSON file ``record`` in the folder contains all parameters on which the images depend, and further information.
    """
    whole = {**parameters, **(told or {})}
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        _check_same(folder / record, what, parameters, whole)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Drawn in a temporary folder and then moved, so that an interrupted or a second run leaves no incomplete data set.
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
        drawn = Path(beside) / folder.name
        drawn.mkdir()
        draw(drawn)
        (drawn / record).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
        try:
            drawn.replace(folder)
        except OSError:
            # Either another process has finished first, or the move has failed.
            if not (folder / record).is_file():
                raise
            _check_same(folder / record, what, parameters, whole)


def draw_classes(
    folder: Path,
    counts: Mapping[str, int],
    names: Sequence[str],
    seed: int,
    draw: Callable[[int, np.random.Generator, Path], None],
) -> None:
    """Draw the files of each class in each split; a file depends only on (seed, split, class, index).

    The drawing function gets the class index, a generator and the path ``<split>/<class>/<index>`` without suffix.
    """
    for split, count in counts.items():
        split_key = int.from_bytes(split.encode(), "big")
        for label, name in enumerate(names):
            target = folder / split / name
            target.mkdir(parents=True)
            for index in range(count):
                draw(label, np.random.default_rng([seed, split_key, label, index]), target / f"{index:04d}")


def _check_same(record: Path, what: str, parameters: Mapping[str, Any], whole: Mapping[str, Any]) -> None:
    folder = str(record.parent)
    if not record.is_file():
        raise DataError(f"Expected an empty folder or the same {what}, found other files in {folder!r}.")
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(
            f"Expected the parameters of a {what} in {str(record)!r}, found invalid JSON: {error}."
        ) from error
    if found != whole:
        told = set(whole) - set(parameters)
        shown = {key: value for key, value in found.items() if key not in told} if isinstance(found, dict) else found
        raise DataError(
            f"Expected the same {what}, {dict(parameters)}, in {folder!r}, found one with {shown}. Use another folder "
            "or remove it."
        )
