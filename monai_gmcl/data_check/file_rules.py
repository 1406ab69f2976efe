# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Faults that are found by comparing files: names, kinds of pixels, sizes, links."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median

from monai_gmcl.data.channel_files import files_of
from monai_gmcl.data.faults import Fault
from monai_gmcl.data.image_files import DEEPEST
from monai_gmcl.data.intensities import LEAST_SHARE as LEAST_SHARE_16_BITS
from monai_gmcl.data_check.looks import Look

__all__ = ["file_faults", "link_faults", "value_faults"]

SUFFIXES = {
    ".png": ("PNG",),
    ".jpg": ("JPEG", "MPO"),
    ".jpeg": ("JPEG", "MPO"),
    ".tif": ("TIFF",),
    ".tiff": ("TIFF",),
}
USUAL_SHARE = 0.9
"""Fraction of files with one size above which every other size is reported."""
MOST_TIMES = 4
"""Otherwise, the ratio of a side to the median above which (or below the inverse of which) a size is reported."""
LEAST_SHARE = 0.2
"""Fraction of the intensity range that most values should use."""


def file_faults(looks: Mapping[str, Look]) -> list[Fault]:
    """Compare files with each other and with their names."""
    if not looks:
        return []
    return [
        *_single_faults(looks),
        *_mix_faults(looks),
        *_size_faults({path: look for path, look in looks.items() if look.pixels != "volume"}),
        *_size_faults({path: look for path, look in looks.items() if look.pixels == "volume"}),
    ]


def link_faults(paths: Iterable[str], folder: Path) -> list[Fault]:
    """Find files outside the folder of a data set that are included by links, or by ``..`` in a table.

    Absolute paths in tables are accepted.
    """
    root = os.path.realpath(folder)
    faults = []
    for path in (file for each in paths for file in files_of(each)):
        real = os.path.realpath(path)
        if Path(path).is_relative_to(folder) and not Path(real).is_relative_to(root):
            faults.append(Fault("outside", path, f"files inside of {str(folder)!r}", repr(real)))
    return faults


def _single_faults(looks: Mapping[str, Look]) -> list[Fault]:
    faults = []
    for path, look in looks.items():
        formats = SUFFIXES.get(Path(path).suffix.lower(), (look.file_format,))
        if look.file_format not in formats:
            faults.append(Fault("wrong_suffix", path, f"{formats[0]}, as its suffix says,", look.file_format))
        if look.constant:
            faults.append(Fault("constant", path, "different pixel values", "the same value in every pixel"))
        if look.transparent:
            faults.append(Fault("transparent", path, "opaque pixels", "transparent pixels"))
    return faults


def _mix_faults(looks: Mapping[str, Look]) -> list[Fault]:
    usual = _most_common(look.pixels == "volume" for look in looks.values())
    faults = []
    for path, look in looks.items():
        if (look.pixels == "volume") != usual:
            kinds = ("volumes, like most", "an image") if usual else ("images, like most", "a volume")
            faults.append(Fault("dimensions", path, *kinds))
    alike = {path: look for path, look in looks.items() if (look.pixels == "volume") == usual}
    pixels = _most_common(look.pixels for look in alike.values())
    channels = _most_common(look.shape[0] for look in alike.values())
    for path, look in alike.items():
        if look.pixels != pixels:
            faults.append(Fault("pixel_mix", path, f"{pixels}, like most", look.pixels))
        if look.shape[0] != channels:
            faults.append(Fault("channels", path, f"{channels} channels, like most", str(look.shape[0])))
    return faults


def _size_faults(looks: Mapping[str, Look]) -> list[Fault]:
    if not looks:
        return []
    sizes = Counter(look.shape[1:] for look in looks.values())
    usual, count = sizes.most_common(1)[0]
    middle = [median(sides) for sides in zip(*(look.shape[1:] for look in looks.values()), strict=True)]
    one_size = count >= USUAL_SHARE * len(looks)
    expected = f"{_sides(usual)}, like most" if one_size else f"about {_sides(middle)}, the median,"
    faults = []
    for path, look in looks.items():
        times = [max(side / other, other / side) for side, other in zip(look.shape[1:], middle, strict=True)]
        if look.shape[1:] != usual if one_size else max(times) > MOST_TIMES:
            faults.append(Fault("size", path, expected, _sides(look.shape[1:])))
    return faults


def _most_common(values: Iterable[object]) -> object:
    return Counter(values).most_common(1)[0][0]


def _sides(shape: Iterable[float]) -> str:
    return " x ".join(f"{side:g}" for side in shape)


def value_faults(looks: Mapping[str, Look], intensity_range: tuple[float, float] | None = None) -> list[Fault]:
    """Find images whose values use little of the range that becomes 0 to 1: 12 bits stored in 16, metal in CT.

    Percentiles are compared, so that single pixels have no effect. For 8-bit images, the fault is reported if most
    images have it, because single images may be dark. For 16-bit images and volumes, one image is enough, because it is
    scaled in another way than the rest. By default, the range is that of the kind of pixels or, for a volume, from its
    minimum to its maximum.
    """
    kinds: dict[tuple[str, float], dict[str, Look]] = {}
    for path, look in looks.items():
        if not look.constant:
            volume = look.pixels == "volume"
            kinds.setdefault(("volume" if volume else "image", 0 if volume else look.values.most), {})[path] = look
    faults = []
    for (kind, most), alike in kinds.items():
        least_share = LEAST_SHARE_16_BITS if most == DEEPEST and intensity_range is None else LEAST_SHARE
        unused = [path for path, look in alike.items() if _share(look, intensity_range) < least_share]
        if not unused or (most == 255 and 2 * len(unused) < len(alike)):
            continue
        values = alike[unused[0]].values
        least, greatest = intensity_range or (values.least, values.most)
        wanted = f"values that use the range from {least:,.6g} to {greatest:,.6g}"
        found = f"98 % of the values from {values.percentiles[0]:,.6g} to {values.percentiles[-1]:,.6g}"
        if len(unused) > 1:
            found += f", and {len(unused) - 1:,} more {kind}s with such values"
        faults.append(Fault("intensities", unused[0], wanted, found))
    return faults


def _share(look: Look, intensity_range: tuple[float, float] | None) -> float:
    """Return the fraction of the range that the middle 98 percent of the values use, or 0 if nearly none are in it."""
    percentiles, *own = look.values
    least, most = intensity_range or own
    if not any(least <= value <= most for value in percentiles):
        return 0.0
    return (min(percentiles[-1], most) - max(percentiles[0], least)) / (most - least)
