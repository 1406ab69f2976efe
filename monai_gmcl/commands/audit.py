# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m monai_gmcl audit``: list labels that are probably wrong, and estimate their fraction."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle.config_parser import ConfigParser
from monai.data.dataset import Dataset
from monai.transforms.compose import Compose

from monai_gmcl.commands.init import bundle_folder
from monai_gmcl.cross_fitting import DEALS, Fitting, class_probabilities, cross_fit
from monai_gmcl.data.listing import Item
from monai_gmcl.data.opening import image_kind
from monai_gmcl.data.splits import split_off
from monai_gmcl.data_check.check import DataSet, look_over
from monai_gmcl.exceptions import ConfigurationError, DataError
from monai_gmcl.handlers.label_audit import LabelAudit
from monai_gmcl.metrics.label_noise import FalseLabelShare
from monai_gmcl.paths import check_paths
from monai_gmcl.student_file import describe_student, load_student

__all__ = ["audit"]

READING = ("image_crop", "image_size", "spacing", "intensity_range")
TRAINING = ("max_epochs", "batch_size", "learning_rate", "train")
SETTINGS = (*READING, *TRAINING, "group_column", "class_names", "pixel_limit", "seed", "device", "network_def")
"""Entries of the configuration that can be replaced; other entries have no effect on an audit."""
FRACTIONS = (0.6, 0.2, 0.2)
"""Seed of the bundle's split."""


def audit(
    dataset_dir: str,
    out: str,
    folds: int | None = None,
    model_file: str | None = None,
    config_file: str | None = None,
    trusted_dir: str = "",
    overwrite: bool = False,
    **override: Any,
) -> None:
    """List the labels of a data set that are probably wrong, and estimate their fraction.

    By default, cross-validation predicts the class of each image with students that were not trained on it. Training
    and validation images are divided into ``folds`` parts. For each part, a small student is trained on the other parts
    and predicts this part. This is repeated with three random divisions, and the predictions are averaged. Test images
    are predicted by all students and used for training by none.

    Students that train for too long memorize wrong labels. The audit therefore tries three numbers of epochs and keeps
    the one whose predictions have the lowest cross-entropy on the labels of the left-out images.

    The command writes ``label_audit.csv``, ``label_audit.png`` and ``label_audit.json``; see
    :class:`monai_gmcl.handlers.LabelAudit`.

    Args:
        dataset_dir: a folder of class folders, a CSV table or a MONAI JSON datalist, as for the bundle's training.
        out: folder of the written files. It is created if it does not exist.
        folds: number of parts into which the images are divided, 2 or more. Default: 5.
        model_file: file of a trained student, such as ``model.pt`` of a training. If it is given, nothing is trained,
            and this student predicts all images, including those that it was trained on. Wrong labels that the student
            has memorized are not found. Use a student that was trained with weights, such as those of the look-ahead.
            The column ``part`` of the table shows on which images it was trained, if the data set is the same.
        config_file: configuration of the bundle's training, which reads the images and builds the student. Default: the
            configuration of the bundle that is installed with monai_gmcl.
        trusted_dir: images whose labels are known to be correct, as in the bundle's training. Tables and lists can mark
            them in a column ``trusted`` instead. Every student is trained on them, and the audit does not list them.
        overwrite: whether to replace an earlier audit in ``out``.
        override: values of the configuration to replace, such as ``--image_size 96``, ``--group_column patient`` or
            ``--network_def#layers "[2, 2, 2, 2]"``. The audit's own defaults are ``--max_epochs 20`` (it also tries a
            quarter and a half of these epochs) and ``--learning_rate 5e-4``.

    Raises:
        CheckpointError: the file of the student cannot be used.
        ConfigurationError: an argument is invalid, arguments exclude each other, ``out`` has an earlier audit, the data
            are multi-label, or the settings differ from those of the student's training.
        DataError: the data have errors or too few images.
    """
    check_paths(
        dataset_dir=dataset_dir,
        out=out,
        trusted_dir=trusted_dir,
        **({} if model_file is None else {"model_file": model_file}),
    )
    if not str(dataset_dir):
        raise ConfigurationError("audit: dataset_dir is empty. Expected a folder, a CSV table or a JSON datalist.")
    _check_settings(override, folds, model_file)
    folder = Path(out)
    earlier = folder / LabelAudit.FILE_NAME
    if earlier.exists() and not overwrite:
        raise ConfigurationError(f"audit: {str(earlier)!r} exists already. Use --overwrite or another out.")
    parser = _configuration(config_file, {**override, "trusted_dir": str(trusted_dir)})
    found = (
        _by_cross_fitting(parser, str(dataset_dir), folder, 5 if folds is None else folds)
        if model_file is None
        else _by_file(parser, str(dataset_dir), folder, str(model_file), override)
    )
    print(
        f"{found.share:.1%} of the labels are probably wrong (95 % interval {found.low:.1%} to {found.high:.1%}). "
        f"{str(earlier)!r} lists the images, the most suspicious first; {LabelAudit.SHEET_NAME} shows pictures."
    )


def _check_settings(given: Mapping[str, Any], folds: int | None, model_file: str | None) -> None:
    for name in given:
        if name.split("#")[0] not in SETTINGS:
            known = ", ".join(SETTINGS)
            raise ConfigurationError(
                f"audit: found the setting {name!r}, which audit does not use. Accepted are {known}."
            )
    unused = [name for name in given if name.split("#")[0] in TRAINING] + ([] if folds is None else ["folds"])
    if model_file is not None and unused:
        raise ConfigurationError(f"audit: nothing is trained if model_file is given. Remove {', '.join(unused)}.")


def _configuration(config_file: str | None, override: Mapping[str, Any]) -> ConfigParser:
    file = Path(config_file) if config_file is not None else bundle_folder() / "configs" / "train.yaml"
    if not file.is_file():
        raise ConfigurationError(f"audit: expected a bundle configuration (JSON or YAML), found no file {str(file)!r}.")
    parser = ConfigParser()
    parser.read_config(file)
    own = {"max_epochs": 20, "learning_rate": 5e-4}
    parser.update({"bundle_root": str(file.resolve().parent.parent), **own, **override})
    return parser


def _by_cross_fitting(parser: ConfigParser, source: str, folder: Path, folds: int) -> FalseLabelShare:
    data = _data(parser, source, parser.get_parsed_content("class_names"), parser.get_parsed_content("group_column"))
    _built_for(parser, data)
    torch.manual_seed(parser.get_parsed_content("seed"))
    fitting = Fitting(
        network=parser.get_parsed_content("network_def"),
        load=Compose(list(parser.get_parsed_content("load_image"))),
        random_transforms=parser.get_parsed_content("train#random_transforms"),
        device=torch.device(parser.get_parsed_content("device")),
        **{name: parser.get_parsed_content(name) for name in ("max_epochs", "batch_size", "learning_rate", "seed")},
    )
    parts = _each_once(data.parts)
    students = f"cross-fitting with {folds} folds and {DEALS} splits: no student predicts an image that it trained on"
    trusted = parts.pop("trusted", [])
    if trusted:
        students += f"; all students trained on {len(trusted)} trusted images, which are not listed"
    further = parts.get("test", [])
    if further:
        students += "; for images of the test part, the mean of all students, none of which trained on them"
    listed = LabelAudit(folder, data.class_names, students, _part_of(parts), seed=fitting.seed)
    learned = [item for part, items in parts.items() if part != "test" for item in items]
    epochs = cross_fit(
        learned,
        folds,
        fitting,
        lambda item, probabilities, image: listed.add(item["image"], item["label"], probabilities, image),
        further,
        data.twins,
        trusted,
    )
    listed.students += f"; {epochs} epochs, the best of {fitting.lengths} in predicting the labels of left-out images"
    return listed.write()


def _by_file(
    parser: ConfigParser, source: str, folder: Path, model_file: str, given: Mapping[str, Any]
) -> FalseLabelShare:
    student = describe_student(model_file)
    student.check(**{name: given[name] for name in (*READING, "class_names") if name in given})
    parser.update(student.reading())
    split = student.split
    data = _data(parser, source, student.class_names, given.get("group_column", split.get("group_column")))
    dims, channels = _built_for(parser, data)
    student.check(spatial_dims=dims, channels=channels, class_names=data.class_names, task="classification")
    device = torch.device(parser.get_parsed_content("device"))
    network = load_student(parser.get_parsed_content("network_def"), model_file).to(device)
    whole = split_off(data.parts, FRACTIONS, given.get("seed", split.get("seed", 0)), data.twins)
    parts = _each_once(whole)
    students = f"the student of {model_file}, which trained on the part 'training' of its split"
    listed = LabelAudit(folder, data.class_names, students, _part_of(parts))
    items = [item for part in parts.values() for item in part]
    images = Dataset(items, Compose(list(parser.get_parsed_content("load_image"))))
    for index, probabilities, image in class_probabilities(network, images, range(len(items)), device):
        listed.add(items[index]["image"], items[index]["label"], probabilities, image)
    return listed.write()


def _data(parser: ConfigParser, source: str, class_names: Any, group_column: Any) -> DataSet:
    """Check every file, and return the labeled images."""
    names = [class_names] if isinstance(class_names, str) else class_names
    given = {name: parser.get_parsed_content(name) for name in ("pixel_limit", "intensity_range", "trusted_dir")}
    data = look_over(source, group_column, names and list(map(str, names)), bar_after=1.0, **given)
    data.report.stop()
    if len(data.class_names) < 2:
        raise DataError(f"audit: expected images of two classes or more in {source!r}, found {data.class_names}.")
    if any(isinstance(item["label"], list) for items in data.parts.values() for item in items):
        raise ConfigurationError(f"audit: expected one class for each image, found several labels in {source!r}.")
    return data


def _built_for(parser: ConfigParser, data: DataSet) -> tuple[int, int]:
    """Set up the configuration for these images and their student; return their dimensions and channels."""
    dims, channels = image_kind(item["image"] for items in data.parts.values() for item in items)
    parser.update({"spatial_dims": dims, "channels": channels, "num_classes": len(data.class_names)})
    return dims, channels


def _each_once(parts: Mapping[str, list[Item]]) -> dict[str, list[Item]]:
    """Return the items without repeated files, about which the check has logged a warning."""
    return {part: list({item["image"]: item for item in items}.values()) for part, items in parts.items()}


def _part_of(parts: Mapping[str, list[Item]]) -> dict[str, str]:
    return {item["image"]: part for part, items in parts.items() for item in items}
