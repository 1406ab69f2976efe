# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of images and of masks, and the assignment of masks to images."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from monai_gmcl.data.channel_files import CHANNEL, join_channels
from monai_gmcl.data.faults import Fault, OnFault, ignore
from monai_gmcl.data.listing import IMAGE_SUFFIXES, Item, folder_entries, folder_files, foreign_fault, is_image
from monai_gmcl.data.part_lists import PARTS, part_name

__all__ = ["MaskFolders", "find_mask_folders", "pair_masks"]

IMAGES = ("images", "image", "imgs", "img")
MASKS = ("labels", "label", "masks", "mask", "segmentations", "segmentation", "annotations", "groundtruth", "gt")
ENDINGS = {"": "training", "tr": "training", "va": "validation", "val": "validation", "ts": "test"}
"""Suffixes of folder names in the Medical Segmentation Decathlon and nnU-Net: ``imagesTr``, ``labelsTs``."""
MASK_WORDS = re.compile(r"[ _.-](masks?|seg|segmentation|labels?|gt|annotation)$", re.IGNORECASE)
"""Accepted suffixes of the names of masks."""


class MaskFolders(NamedTuple):
    """The folders of the images and masks of a split."""

    part: str
    images: Path
    masks: Path


def find_mask_folders(folder: Path, on_fault: OnFault) -> list[MaskFolders]:
    """Find the folders of images and masks of each split; return none for folders of another kind.

    Accepted layouts: ``images`` and ``labels`` (or ``masks``) in the folder or in each split's folder, or with a
    subfolder for each split; or ``imagesTr``, ``labelsTr`` and, optionally, ``imagesTs`` and ``labelsTs``. A split
    that is not read, for example because it has no masks, is a fault.
    """
    places = [path for path in _folders(folder, on_fault) if not _parts(path, (*IMAGES, *MASKS))]
    found = {each.part: each for each in _pairs(folder, on_fault)}
    left_out = []
    for path in places:
        part = part_name(path.name)
        pairs = _pairs(path, ignore if part is None else on_fault)
        if part is not None and pairs and part not in found:
            found[part] = MaskFolders(part, *pairs[0][1:])
        else:
            left_out.append((part, path, pairs))
    for part, path, pairs in left_out if found else ():
        if part is None:
            if pairs:
                wanted = "a folder named as a part (train, valid, test)"
                on_fault(Fault("unread_list", str(path), wanted, f"images and masks in {path.name!r}"))
        elif pairs:
            on_fault(Fault("layout_of_masks", str(path), f"one place for {part}", f"also {str(found[part].images)!r}"))
        elif any(map(is_image, folder_files(path, ignore))):
            on_fault(Fault("unread_list", str(path), "folders of images and of masks", _names(path)))
    return [found[part] for part in PARTS if part in found]


def _pairs(folder: Path, on_fault: OnFault) -> list[MaskFolders]:
    """Return the folders of images and masks with a common parent folder."""
    children = _folders(folder, on_fault)
    images, masks = ({part: path for path in children for part in _parts(path, names)} for names in (IMAGES, MASKS))
    both = [MaskFolders(part, images[part], masks[part]) for part in images if part in masks]
    if not both:
        return []
    for path in children:
        for part in (*_parts(path, IMAGES), *_parts(path, MASKS)):
            if path not in (images.get(part), masks.get(part)):
                wanted = f"one folder of images and one of masks for {part}"
                on_fault(Fault("layout_of_masks", str(folder), wanted, _names(folder)))
            elif part not in images or part not in masks:
                on_fault(_without_other(path, part in images))
    if [pair.part for pair in both] != ["training"]:
        return both
    # images/train and masks/train
    inner = [
        {split: path for path in _folders(place, on_fault) if (split := part_name(path.name)) is not None}
        for place in both[0][1:]
    ]
    pairs = [MaskFolders(part, inner[0][part], inner[1][part]) for part in inner[0] if part in inner[1]]
    for part in {*inner[0], *inner[1]} if pairs else ():
        if part not in inner[0] or part not in inner[1]:
            on_fault(_without_other((inner[0].get(part) or inner[1][part]), part in inner[0]))
    return pairs or both


def _without_other(folder: Path, has_images: bool) -> Fault:
    wanted, missing = ("masks for these images", "masks") if has_images else ("images for these masks", "images")
    return Fault("unread_list", str(folder), wanted, f"no folder of {missing} for {folder.name!r}")


def _names(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())[:10])


def _folders(folder: Path, on_fault: OnFault) -> list[Path]:
    return [path for path in folder_entries(folder, on_fault) if path.is_dir()]


def _parts(folder: Path, names: tuple[str, ...]) -> list[str]:
    """Return the split that a folder's name denotes, such as ``imagesTr``, ``Masks`` or ``test_images``."""
    letters = "".join(letter for letter in folder.name.casefold() if letter.isalnum())
    for name in names:
        if name in (letters[: len(name)], letters[-len(name) :]):
            rest = letters.removeprefix(name) if letters.startswith(name) else letters.removesuffix(name)
            part = ENDINGS.get(rest) or part_name(rest)
            if part is not None:
                return [part]
    return []


def pair_masks(folders: MaskFolders, on_fault: OnFault) -> list[Item]:
    """List the images of a split with their masks, sorted by name: ``image``, ``label`` and, if known, ``group``.

    A mask has the name of its image, in the same subfolder. File suffixes may differ, the name of the mask may end in
    ``_mask`` or ``_seg``, and that of the image in ``_0000``. NIfTI files that end in ``_0000``, ``_0001``, ... are the
    channels of one image (one path, see :mod:`monai_gmcl.data.channel_files`). If all images are in subfolders, the
    subfolder is the ``group``.
    """
    images, masks = (_by_name(place, on_fault) for place in (folders.images, folders.masks))
    items: list[Item] = []
    cases: dict[str, list[Path]] = {}
    for name, image in images.items():
        case = name if name in masks else CHANNEL.sub("", name)
        if case in masks:
            cases.setdefault(case, []).append(image)
        else:
            found = f"no file named {Path(name).name!r} in {folders.masks.name!r}"
            on_fault(Fault("no_mask", str(image), "a mask", found))
    for case, channels in cases.items():
        joined = join_channels([str(path) for path in channels]) if len(channels) > 1 else str(channels[0])
        if joined is None:
            found = f"another channel of {case!r}"
            on_fault(Fault("several_channels", str(channels[1]), "one file for each image", found))
        items.append({"image": joined or str(channels[0]), "label": str(masks[case])})
    for name, mask in masks.items():
        if name not in cases:
            found = f"no file named {Path(name).name!r} in {folders.images.name!r}"
            on_fault(Fault("no_image", str(mask), "an image", found))
    between = [Path(item["image"]).relative_to(folders.images).parts[:-1] for item in items]
    if all(between):
        for item, place in zip(items, between, strict=True):
            item["group"] = place[0]
    return items


def _by_name(folder: Path, on_fault: OnFault) -> dict[str, Path]:
    """Return files by subfolder and name without suffix; for masks, also without ``_mask``."""
    named: dict[str, Path] = {}
    for path in folder_files(folder, on_fault):
        if not is_image(path):
            on_fault(foreign_fault(path, "in folders of images and masks"))
            continue
        ending = next(suffix for suffix in sorted(IMAGE_SUFFIXES, key=len)[::-1] if path.name.lower().endswith(suffix))
        place = path.relative_to(folder).parent / path.name[: -len(ending)]
        name = MASK_WORDS.sub("", place.as_posix())
        if name in named:
            on_fault(Fault("layout_of_masks", str(path), "one file of each name", f"also {named[name].name!r}"))
        else:
            named[name] = path
    return named
