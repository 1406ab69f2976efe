# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Faults that are found by comparing splits: common images or patients, and classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai_gmcl.data.faults import Fault
from monai_gmcl.data.listing import Item
from monai_gmcl.data.splits import classes_of, groups_of
from monai_gmcl.data_check.looks import Look

__all__ = ["class_faults", "group_faults", "split_faults", "twin_faults"]

Parts = Mapping[str, Sequence[Item]]


def twin_faults(parts: Parts, looks: Mapping[str, Look]) -> list[Fault]:
    """Find identical images, by pixels or file: in two splits, with two labels, or repeated.

    Constant images are identical only if they are the same file.
    """
    faults = []
    first: dict[Hashable, tuple[str, Item]] = {}
    for part, items in parts.items():
        for item in items:
            path = item["image"]
            look = looks.get(path)
            key = path if look is None else look.twin(path)
            if key not in first:
                first[key] = (part, item)
                continue
            faults.append(_twin_fault(*first[key], part, item))
    return faults


def _twin_fault(part: str, item: Item, other_part: str, other: Item) -> Fault:
    what = "the same file" if item["image"] == other["image"] else f"the pixels of {item['image']!r}"
    if part != other_part:
        differ = "trusted" in (part, other_part) and item["label"] != other["label"]
        labels = f", with label {item['label']} instead of {other['label']}" if differ else ""
        return Fault("leak", other["image"], f"images that only the part {other_part} has", f"{what} in {part}{labels}")
    if item["label"] != other["label"]:
        labels = f"{what} labeled {item['label']} and {other['label']}"
        return Fault("two_labels", other["image"], "one label for an image", labels)
    return Fault("duplicate", other["image"], "each image once", f"{what} twice")


def group_faults(parts: Parts) -> list[Fault]:
    """Find patients and slides in two splits; each is reported once for each additional split."""
    faults = []
    first: dict[Any, str] = {}
    told = set()
    for part, items in parts.items():
        for item in items:
            group = item.get("group")
            if group is None or first.setdefault(group, part) == part or (group, part) in told:
                continue
            told.add((group, part))
            found = f"{group!r} also in {first[group]}"
            faults.append(
                Fault("group_leak", item["image"], f"a patient or slide that only the part {part} has", found)
            )
    return faults


def split_faults(parts: Parts, twins: Mapping[str, Hashable], source: str) -> list[Fault]:
    """Report a fault if missing splits cannot be drawn from the training images."""
    missing = [part for part in ("validation", "test") if not parts.get(part)]
    training = parts.get("training") or []
    groups = len(groups_of(training, twins=twins))
    # an empty training split is already reported
    if not training or groups > len(missing):
        return []
    wanted = (
        f"at least {len(missing) + 1} different images, patients or slides, so that {', '.join(missing)} can be split "
        "off,"
    )
    return [Fault("too_few", source, wanted, str(groups))]


def class_faults(parts: Parts, class_names: Sequence[str], source: str) -> list[Fault]:
    """Find classes without images or with a single one, and names that differ in case or blanks only.

    Names of classes, and of patients and slides.
    """
    faults = []
    for part, items in parts.items():
        counts: Counter[Any] = Counter(label for item in items for label in classes_of(item["label"]))
        rows = bool(items) and isinstance(items[0]["label"], list)
        for label, name in enumerate(class_names):
            where = f"images of {name!r} in {part}"
            # a column without a name in a multi-label table is not a class
            asked = part in ("training", "trusted") and not (name == str(label) and rows)
            if counts[label] == 0:
                faults.append(Fault("empty_class" if asked else "absent_class", source, where, "none"))
            elif counts[label] == 1:
                faults.append(Fault("single_image", source, f"several {where}", "one image"))
    groups = dict.fromkeys(item["group"] for items in parts.values() for item in items if "group" in item)
    for names in (class_names, groups):
        similar: dict[str, str] = {}
        for name in names:
            other = similar.setdefault("".join(name.casefold().split()), name)
            if other != name:
                faults.append(Fault("similar_names", source, "clearly different names", f"{other!r} and {name!r}"))
    return faults
