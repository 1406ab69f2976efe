# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m monai_gmcl synthesize``: labeled synthetic images of a trained teacher, as files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_gmcl.data.intensities import check_intensity_range
from monai_gmcl.data.labeled_sources import read_label
from monai_gmcl.data.mask_parts import has_masks
from monai_gmcl.data.synthetic_dataset import SyntheticDataset
from monai_gmcl.exceptions import CheckpointError, ConfigurationError
from monai_gmcl.student_description import StudentDescription
from monai_gmcl.synthesis.out_folder import OutFolder
from monai_gmcl.synthesis.real_images import RealImages, read_items, read_masked_items
from monai_gmcl.synthesis.review import check_review_dir
from monai_gmcl.synthesis.synthetic_set import SyntheticSet
from monai_gmcl.teachers.base import Teacher
from monai_gmcl.teachers.teacher_file import TeacherDescription, describe_teacher, load_teacher

__all__ = ["synthesize"]


def synthesize(
    teacher: str,
    out: str,
    source: str | None = None,
    per_class: int = 100,
    difficulty: float | None = None,
    seed: int = 0,
    crop: int | Sequence[int] | None = None,
    size: int | Sequence[int] | None = None,
    intensity_range: Sequence[float] | None = None,
    spacing: float | Sequence[float] | None = None,
    group_column: str | None = None,
    mask_values: Sequence[int] | None = None,
    review_dir: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write labeled synthetic images of a trained teacher: PNG or NIfTI, datalist, manifest, contact sheet, data card.

    An interrupted run continues when it is called again with the same arguments, and writes the same bytes. Class
    names, crop, size, intensity range and spacing are read from the teacher's file if it has them, as the files of
    :class:`monai_gmcl.handlers.TeacherSaver` in the bundle do. Other values are then errors.

    Args:
        teacher: file of ``save_teacher``.
        out: folder of the synthetic images, outside the source folder.
        source: real images, as a folder of class folders (or a folder with such a folder ``train``), a CSV table or a
            MONAI JSON datalist; or images with masks, as for ``monai_gmcl.data.open_segmentation_data``, whose
            synthetic images get masks, too. A teacher that changes images needs them. A teacher that makes images from
            labels alone does not; its images are compared with them.
        per_class: number of images of each class. For multi-label data, of each combination of labels in the source;
            for masks, of all images.
        difficulty: strength of the change. Default: the difficulty at the end of the teacher's training if its file has
            it, otherwise 1.
        seed: seed of all images.
        crop: side of the center crop of the real images, in pixels. Default: as in the training.
        size: side to which the real images are resized, in pixels. Default: as in the training.
        intensity_range: the lowest and highest file value, which become 0 and 1 and are converted back for writing. A
            PNG has 16 bits if the highest value is above 255. By default the range of the training is used. If the
            training has none, it is 0 to 255 for 8-bit images and the range of each volume, which is written from 0
            to 1.
        spacing: NIfTI voxel spacing in millimeters to which real volumes are resampled. Default: as in the training.
        group_column: column of the CSV table with the patient or slide. Its images get one group in the datalist.
        mask_values: values of the classes in the source's masks. Default: 0, 1, 2, ..., or 0 and 255.
        review_dir: folder for pictures of the synthetic images that are closest to real images. It must be outside
            ``out``, because these pictures show real images.
        overwrite: whether to replace earlier images in ``out`` and an earlier review in ``review_dir``.

    Raises:
        CheckpointError: the teacher's file cannot be used.
        ConfigurationError: arguments exclude each other or do not fit the teacher.
        DataError: images or folders cannot be used.
        LabelError: a label is not among the teacher's classes.
    """
    source, review_dir = source or None, review_dir or None  # a configuration may use '' instead of None
    description, loaded = describe_teacher(str(teacher)), load_teacher(str(teacher))
    _check_numbers(per_class=per_class, seed=seed, crop=crop, size=size)
    images = _as_trained(
        teacher, description, loaded, image_crop=crop, image_size=size, intensity_range=intensity_range, spacing=spacing
    )
    crop, size, spacing = (images[key] for key in ("image_crop", "image_size", "spacing"))
    limits = check_intensity_range(images["intensity_range"])
    _check_for_teacher(loaded, source, limits, review_dir)
    target = Path(str(out))
    _check_apart(target, source, review_dir)
    folder = OutFolder(target, overwrite)
    names = description.label_names or [str(label) for label in range(loaded.num_classes)]
    real = None
    if source is not None:
        place, given = Path(str(source)), (loaded.num_classes, description.label_names, group_column)
        values = None
        if has_masks(place):
            items, names, values = read_masked_items(place, *given, mask_values)
        else:
            items, names = read_items(place, *given)
        for item in items:
            _check_outside(Path(item["image"]), "the source's image", target)
        real = RealImages(items, loaded, crop, size, limits, spacing, values)
    strength = _difficulty(description, difficulty)
    dataset = SyntheticDataset(loaded, per_class, real if loaded.needs_images else None, _rows(real), strength, seed)
    wanted = SyntheticSet(description, dataset, names, (real, real.survey()) if real else None, limits)
    wanted.try_sources()
    record = wanted.record({"crop": crop, "size": size, "intensity_range": limits, "spacing": spacing})
    if review_dir is not None:
        check_review_dir(Path(str(review_dir)), overwrite or folder.begun)
    folder.begin(record)
    wanted.write_images(folder)
    wanted.finish(folder, record, None if review_dir is None else Path(str(review_dir)))
    print(
        f"{len(dataset)} images were written to {str(target)!r}. Its README.md describes them; contact_sheet.png "
        "shows some."
    )


def _check_numbers(**arguments: Any) -> None:
    for name, value in arguments.items():
        least = 0 if name == "seed" else 1
        several = isinstance(value, list | tuple) and name in ("crop", "size")
        if value is None and name in ("crop", "size"):
            continue
        for number in value if several else [value]:
            if not isinstance(number, int) or isinstance(number, bool) or number < least:
                raise ConfigurationError(
                    f"synthesize: {name} must be a whole number of at least {least}, got {value!r}."
                )


def _as_trained(file: str, description: TeacherDescription, teacher: Teacher, **given: Any) -> dict[str, Any]:
    """Return the preprocessing of real images, from the teacher's file or otherwise from the arguments."""
    told = description.training.get("image_reading")
    if told is None:
        return given
    names = description.label_names or [str(label) for label in range(teacher.num_classes)]
    try:
        training = StudentDescription(names, teacher.spatial_dims, teacher.in_channels, **told, source=str(file))
    except (TypeError, ConfigurationError) as error:
        raise CheckpointError(
            f"{file} has an invalid description of its images ({error}). Train or save the teacher again."
        ) from error
    training.check(**{name: value for name, value in given.items() if value is not None})
    return training.reading()


def _check_for_teacher(
    teacher: Teacher, source: str | None, intensity_range: tuple[float, float] | None, review_dir: str | None
) -> None:
    kind = type(teacher).__name__
    if teacher.needs_images and source is None:
        raise ConfigurationError(
            f"synthesize: the teacher, {kind}, changes real images. Give real images with --source."
        )
    if review_dir is not None and source is None:
        raise ConfigurationError(
            "synthesize: a review compares synthetic with real images. Give real images with --source."
        )
    if teacher.spatial_dims == 2 and teacher.in_channels not in (1, 3):
        raise ConfigurationError(
            f"synthesize: the teacher, {kind}, makes images of {teacher.in_channels} channels. A PNG can have 1 or 3 "
            "channels."
        )
    if intensity_range is None or teacher.spatial_dims == 3:
        return
    most = 65535 if teacher.in_channels == 1 else 255
    if intensity_range[0] < 0 or intensity_range[1] > most:
        raise ConfigurationError(
            f"synthesize: a PNG of {teacher.in_channels} channel(s) has values from 0 to {most}, got the "
            f"intensity_range {intensity_range}."
        )


def _check_apart(out: Path, source: str | None, review_dir: str | None) -> None:
    if source is not None:
        place = Path(str(source))
        _check_outside(place, "source", out)
        if place.is_dir():
            _check_outside(out, "out", place)
            if review_dir is not None:
                _check_outside(Path(str(review_dir)), "review_dir", place)
    if review_dir is not None:
        _check_outside(Path(str(review_dir)), "review_dir", out)


def _check_outside(path: Path, name: str, folder: Path) -> None:
    if path.resolve().is_relative_to(folder.resolve()):
        raise ConfigurationError(f"synthesize: {name} must be outside of {str(folder)!r}, got {str(path)!r}.")


def _difficulty(description: TeacherDescription, given: float | None) -> float:
    value = description.training.get("difficulty", 1.0) if given is None else given
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ConfigurationError(f"synthesize: difficulty must be a number of at least 0, got {value!r}.")
    return float(value)


def _rows(real: RealImages | None) -> list[Any] | None:
    """Return the combinations of labels in the real images of a multi-label task."""
    labels: set[Any] = {read_label(item["label"]) for item in real.data} if real and not real.of_masks else set()
    return sorted(labels) if any(isinstance(label, tuple) for label in labels) else None
