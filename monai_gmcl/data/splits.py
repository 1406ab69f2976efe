# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Splits by patient and slide with similar class frequencies, and small labeled sets by seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np

from monai_gmcl.data.listing import Item
from monai_gmcl.exceptions import DataError

__all__ = [
    "check_no_leakage",
    "classes_in",
    "classes_of",
    "draw_labeled",
    "grouped_stratified_split",
    "groups_of",
    "split_off",
]

SHOWN = 5
"""Largest number of shared patients or files in an error message."""


def grouped_stratified_split(
    items: Sequence[Item],
    fractions: Sequence[float],
    seed: int,
    group_key: str = "group",
    twins: Mapping[str, Hashable] | None = None,
) -> list[list[Item]]:
    """Split so that no patient, slide or image is in two parts, with class frequencies as similar as groups allow.

    Groups are assigned from the largest to the smallest, each to the part that lacks its classes most. An item without
    a group forms its own group, together with other items of the same image.

    Args:
        items: items with ``label`` and, if known, ``group``.
        fractions: fraction of each part, above 0, with sum 1.
        seed: seed of the order of groups of equal size.
        group_key: key of the patient or slide.
        twins: a key for each path that is equal for identical images. Default: the path.

    Returns:
        The parts, each in the order of ``items``.

    Raises:
        DataError: wrong fractions, or a part that would be empty.
    """
    if min(fractions, default=0.0) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise DataError(f"Expected fractions above 0 that sum to 1, got {list(fractions)}.")
    groups = groups_of(items, group_key, twins)
    parts = _dealt(items, groups, fractions, seed)
    if not all(parts):
        raise DataError(
            f"Expected at least {len(parts)} patients, slides or images for {len(parts)} parts, found {len(groups)}."
        )
    return [[items[i] for i in sorted(part)] for part in parts]


def _dealt(
    items: Sequence[Item], groups: Mapping[Hashable, list[int]], fractions: Sequence[float], seed: int
) -> list[list[int]]:
    classes = sorted({str(item["label"]) for item in items})
    counts = {
        name: np.array([sum(str(items[i]["label"]) == c for i in members) for c in classes], dtype=float)
        for name, members in groups.items()
    }
    wanted = np.outer(fractions, sum(counts.values(), np.zeros(len(classes))))
    names = list(groups)
    np.random.default_rng(seed).shuffle(names)
    names.sort(key=lambda name: -len(groups[name]))
    parts: list[list[int]] = [[] for _ in fractions]
    for dealt, name in enumerate(names):
        # The number of images of the group's classes that each part still lacks, relative to its size.
        need = (np.maximum(wanted, 0) @ counts[name]) / np.asarray(fractions)
        empty = np.array([not part for part in parts])
        if len(names) - dealt <= empty.sum():
            need = np.where(empty, need, -1.0)
        chosen = int(np.argmax(need))
        wanted[chosen] -= counts[name]
        parts[chosen] += groups[name]
    return parts


def groups_of(
    items: Sequence[Item], group_key: str = "group", twins: Mapping[str, Hashable] | None = None
) -> dict[Hashable, list[int]]:
    """Return the indices of items that must stay together: images of one patient or slide, and identical images."""
    above: dict[Hashable, Hashable] = {}

    def top(key: Hashable) -> Hashable:
        while above.setdefault(key, key) != key:
            key = above[key]
        return key

    keys = []
    for index, item in enumerate(items):
        image = item.get("image", index)
        key = ("image", (twins or {}).get(image, image))
        if group_key in item:
            above[top(key)] = top(("group", item[group_key]))
        keys.append(key)
    groups: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(top(key), []).append(index)
    return groups


def split_off(
    parts: Mapping[str, list[Item]],
    fractions: Sequence[float],
    seed: int,
    twins: Mapping[str, Hashable] | None = None,
) -> dict[str, list[Item]]:
    """Draw missing validation and test images from the training images; existing splits are kept."""
    wanted = dict(zip(("training", "validation", "test"), fractions, strict=True))
    missing = [name for name in wanted if name == "training" or not parts.get(name)]
    if missing == ["training"]:
        return {name: parts[name] for name in wanted}
    shares = [wanted[name] for name in missing]
    shares = shares if len(missing) == len(wanted) else [share / sum(shares) for share in shares]
    dealt = dict(zip(missing, grouped_stratified_split(parts["training"], shares, seed, twins=twins), strict=True))
    _complete(dealt, twins)
    return {name: dealt.get(name) or parts[name] for name in wanted}


def _complete(parts: dict[str, list[Item]], twins: Mapping[str, Hashable] | None) -> None:
    """Move groups to training if a rare class is in another split only."""
    known = classes_in(parts["training"])
    for name in [name for name in parts if name != "training" and not classes_in(parts[name]) <= known]:
        items, moved = parts[name], set[int]()
        for group in sorted(groups_of(items, twins=twins).values(), key=len):
            found = classes_in([items[i] for i in group])
            if not found <= known and len(moved) + len(group) < len(items):
                known |= found
                moved.update(group)
        parts["training"] = [*parts["training"], *(items[i] for i in sorted(moved))]
        parts[name] = [item for i, item in enumerate(items) if i not in moved]


def classes_of(label: int | list[float]) -> list[int]:
    """Return the classes of an image: its class, or the labels that are 1."""
    return [index for index, value in enumerate(label) if value] if isinstance(label, list) else [label]


def classes_in(items: Iterable[Item]) -> set[int]:
    """Return the classes that have at least one image."""
    return {label for item in items for label in classes_of(item["label"])}


def check_no_leakage(parts: Mapping[str, Sequence[Item]], group_key: str = "group") -> None:
    """Raise if a patient, slide or file is in two splits.

    Raises:
        DataError: the message names the splits and what they share.
    """
    for key in (group_key, "image"):
        values = {part: {item[key] for item in items if key in item} for part, items in parts.items()}
        for one, other in combinations(values, 2):
            shared = sorted(map(str, values[one] & values[other]))
            if shared:
                more = f" and {len(shared) - SHOWN} more" if len(shared) > SHOWN else ""
                raise DataError(
                    f"Expected each {key} in only one part, but {one} and {other} share: "
                    f"{', '.join(shared[:SHOWN])}{more}."
                )


def draw_labeled(items: Sequence[Item], per_class: int, seed: int) -> tuple[list[Item], list[Item]]:
    """Draw a small labeled set: ``per_class`` items of each class by seed.

    Returns:
        The drawn items and the rest, each in the order of ``items``.

    Raises:
        DataError: a class has fewer items, or the labels are not class indices (multi-label tasks).
    """
    unfit = [item["label"] for item in items if not isinstance(item["label"], int)]
    if unfit:
        raise DataError(f"Expected class indices to draw {per_class} images per class, found the label {unfit[0]!r}.")
    counts = Counter(item["label"] for item in items)
    generator = np.random.default_rng(seed)
    drawn: set[int] = set()
    for label in sorted(counts):
        if counts[label] < per_class:
            raise DataError(f"Expected at least {per_class} images of class {label}, found {counts[label]}.")
        members = [i for i, item in enumerate(items) if item["label"] == label]
        drawn.update(int(i) for i in generator.permutation(members)[:per_class])
    chosen = [item for i, item in enumerate(items) if i in drawn]
    return chosen, [item for i, item in enumerate(items) if i not in drawn]
