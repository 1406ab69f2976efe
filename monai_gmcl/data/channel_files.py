# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Volumes with one file for each channel, written as one path: ``case_{0000,0001}.nii.gz``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["CHANNEL", "files_of", "join_cases", "join_channels"]

CHANNEL = re.compile(r"_\d{4}$")
"""Suffix of image names in nnU-Net: the number of the channel."""
NNUNET_FOLDERS = ("imagestr", "imagests", "imagesva", "imagesval")
ENDINGS = (".nii.gz", ".nii")
JOINED = re.compile(r"(.*)\{(.+,.+)\}(.*)", re.DOTALL)


def join_channels(paths: Sequence[str]) -> str | None:
    """Return one path for the channel files of a volume, in their order; None if the files cannot form one volume.

    The files must be NIfTI files with the same suffix, and the parts of their names that differ must not contain braces
    or commas.
    """
    ending = next((each for each in ENDINGS if all(path.lower().endswith(each) for path in paths)), None)
    if ending is None or len(set(paths)) < len(paths):
        return None
    before = re.sub(r"[^\W_]+$", "", os.path.commonprefix(paths))
    rests = [path[len(before) : -len(ending)] for path in paths]
    if any(letter in rest for rest in rests for letter in "{},"):
        return None
    return f"{before}{{{','.join(rests)}}}{paths[0][-len(ending) :]}"


def files_of(path: str | os.PathLike[str]) -> list[str]:
    """Return the channel files of a path, or the path itself."""
    match = JOINED.fullmatch(str(path))
    if match is None or os.path.lexists(path):
        return [str(path)]
    before, rests, after = match.groups()
    return [f"{before}{rest}{after}" for rest in rests.split(",")]


def join_cases(paths: Iterable[str]) -> list[str]:
    """Join the channel files of each case in nnU-Net's folders, such as ``imagesTs``; other files are not changed."""
    cases: dict[str, list[str]] = {}
    for path in map(Path, paths):
        ending = next((each for each in ENDINGS if path.name.lower().endswith(each)), "")
        stem = path.name.removesuffix(path.name[-len(ending) :]) if ending else ""
        numbered = ending and path.parent.name.casefold() in NNUNET_FOLDERS and CHANNEL.search(stem)
        case = str(path.with_name(CHANNEL.sub("", stem) + ending)) if numbered else str(path)
        cases.setdefault(case, []).append(str(path))
    return [files[0] if len(files) == 1 else join_channels(files) or case for case, files in cases.items()]
