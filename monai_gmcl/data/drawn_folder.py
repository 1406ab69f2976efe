# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from monai_gmcl.exceptions import DataError

__all__ = ["draw_once"]


def draw_once(
    folder: Path,
    record: str,
    what: str,
    parameters: Mapping[str, Any],
    draw: Callable[[Path], None],
    told: Mapping[str, Any] | None = None,
) -> None:
    """Draw a data set into a folder, or take the one that stands there already.

    Args:
        folder: of the data set; made if there is none.
        record: name of the JSON file in it that says what was drawn.
        what: the data set, for messages.
        parameters: all that the images depend on.
        draw: makes the images in a folder that it is given.
        told: what else the record says.

    Raises:
        DataError: the folder holds something else, or the data set with other parameters.
    """
    whole = {**parameters, **(told or {})}
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        _check_same(folder / record, what, parameters, whole)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Drawn beside and moved in one step: a run that was cut off, or a second one, leaves no half of it.
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
        drawn = Path(beside) / folder.name
        drawn.mkdir()
        draw(drawn)
        (drawn / record).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
        try:
            drawn.replace(folder)
        except OSError:
            # Unless another process finished it meanwhile, the move itself went wrong.
            if not (folder / record).is_file():
                raise
            _check_same(folder / record, what, parameters, whole)


def _check_same(record: Path, what: str, parameters: Mapping[str, Any], whole: Mapping[str, Any]) -> None:
    folder = str(record.parent)
    if not record.is_file():
        raise DataError(f"Expected an empty folder or the same {what}, found something else at {folder!r}.")
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"Expected the parameters of a {what} in {str(record)!r}, found no JSON: {error}.") from error
    if found != whole:
        told = set(whole) - set(parameters)
        shown = {key: value for key, value in found.items() if key not in told} if isinstance(found, dict) else found
        raise DataError(
            f"Expected the same {what}, {dict(parameters)}, in {folder!r}, found one with {shown}; take another folder "
            "or remove it."
        )
