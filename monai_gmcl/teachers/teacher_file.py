# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of teachers: safetensors with the configuration in the metadata."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from monai_gmcl.atomic_file import write_whole
from monai_gmcl.content_hash import content_hash
from monai_gmcl.exceptions import CheckpointError, ConfigurationError
from monai_gmcl.teachers.base import Teacher
from monai_gmcl.teachers.policy import PolicyTeacher
from monai_gmcl.teachers.policy_of_version_2 import policy_of_version_2

__all__ = ["TeacherDescription", "describe_teacher", "load_teacher", "save_teacher"]

FORMAT = "monai_gmcl.teacher"
"""Key of the teacher's description (JSON) in the file's metadata."""
FORMAT_VERSION = 3
ACCEPTED_VERSIONS = (2, 3)
"""Policies of version 2 had no flips, and other bounds: they are converted."""
OWN_PACKAGE = "monai_gmcl.teachers"


@dataclass(frozen=True)
class TeacherDescription:
    """The metadata of a teacher's file.

    Attributes:
        architecture: dotted name of the class.
        config: the constructor's arguments.
        label_names: names of the classes or labels, in their order; None if they were not passed.
        training: summary of the training, by name.
        versions: versions of monai_gmcl, monai and torch that wrote the file.
        sha256: SHA-256 of all other attributes and of the tensors.
    """

    architecture: str
    config: dict[str, Any]
    label_names: list[str] | None
    training: dict[str, Any]
    versions: dict[str, str]
    sha256: str


def save_teacher(
    teacher: Teacher,
    path: str | os.PathLike[str],
    label_names: Sequence[str] | None = None,
    training: Mapping[str, Any] | None = None,
) -> Path:
    """Write a teacher to one safetensors file: its parameters, its class's name and its constructor's arguments.

    The file also has the versions of the libraries and a SHA-256 of everything, which is verified on loading. An
    existing file is replaced atomically.

    Args:
        teacher: the teacher; its constructor's arguments must be numbers, strings, lists and mappings of them.
        path: path of the file, usually ``*.safetensors``; its folder must exist.
        label_names: names of the classes or labels, in their order.
        training: a summary of the training, which is stored in the file: numbers, strings, lists and mappings of them.
            ``python -m monai_gmcl synthesize`` uses the value of ``difficulty``, if it is given.

    Returns:
        The path.

    Raises:
        ConfigurationError: not a Teacher, arguments or a summary that cannot be written as JSON, or another number of
            label names than of classes.
    """
    if not isinstance(teacher, Teacher):
        raise ConfigurationError(f"save_teacher needs a monai_gmcl.Teacher, got {type(teacher).__name__}.")
    if label_names is not None and len(label_names) != teacher.num_classes:
        raise ConfigurationError(
            f"save_teacher takes a name for each of the teacher's {teacher.num_classes} classes, got {len(label_names)}"
            f": {', '.join(map(str, label_names))}."
        )
    path = Path(path)
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in teacher.state_dict().items()}
    content = save(tensors, {FORMAT: _described(teacher, tensors, label_names, training or {})})
    write_whole(path, content)
    return path


def load_teacher(path: str | os.PathLike[str], classes: Mapping[str, type[Teacher]] | None = None) -> Teacher:
    """Read a teacher that :func:`save_teacher` wrote, on the CPU, bit for bit.

    A :class:`monai_gmcl.PolicyTeacher` of format version 2 is converted (:func:`policy_of_version_2`).

    No code in the file is run or imported. The class is found by its name in ``monai_gmcl.teachers`` or in ``classes``.

    Args:
        path: path of the file.
        classes: other subclasses of Teacher by name, such as ``"MyTeacher"``, or by dotted name.

    Raises:
        CheckpointError: no such file, a damaged or changed file, another kind of file, another format version, an
            unknown class, or arguments or tensors that do not fit the class.
    """
    path = Path(path)
    description, tensors, version = _read(path)
    teacher_class = _find_class(path, description.architecture, classes or {})
    config = description.config
    try:
        if version == 2 and issubclass(teacher_class, PolicyTeacher):
            config, tensors = policy_of_version_2(config, tensors)
        if teacher_class.__module__.startswith(f"{OWN_PACKAGE}."):
            # First on the meta device, because a wrong configuration could need more memory than available.
            with torch.device("meta"):
                teacher_class(**config).load_state_dict(tensors, assign=True)
        teacher = teacher_class(**config)
        # buffers that are not saved, such as mean and std, get the dtype of the saved tensors
        dtypes = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
        if len(dtypes) == 1:
            teacher.to(dtypes.pop())
        teacher.load_state_dict(tensors, assign=True)
    except Exception as error:  # a class may raise any error for wrong arguments
        raise CheckpointError(f"{path} does not fit {teacher_class.__name__} of this version: {error}") from error
    names = description.label_names
    if names is not None and len(names) != teacher.num_classes:
        raise CheckpointError(f"{path} has {len(names)} label_names for a teacher of {teacher.num_classes} classes.")
    return teacher


def describe_teacher(path: str | os.PathLike[str]) -> TeacherDescription:
    """Read the metadata of a teacher's file, without building the teacher.

    Raises:
        CheckpointError: no such file, a damaged or changed file, another kind of file, or another format version.
    """
    return _read(Path(path))[0]


def _described(
    teacher: Teacher, tensors: Mapping[str, Tensor], label_names: Sequence[str] | None, training: Mapping[str, Any]
) -> str:
    from monai_gmcl import __version__  # the package imports this module

    description = {
        "format_version": FORMAT_VERSION,
        "class": f"{type(teacher).__module__}.{type(teacher).__qualname__}",
        "config": teacher.config,
        "label_names": None if label_names is None else [str(name) for name in label_names],
        "training": dict(training),
        "versions": {"monai_gmcl": __version__, "monai": monai.__version__, "torch": torch.__version__},
    }
    try:
        plain = json.loads(json.dumps(description, default=_plain))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{type(teacher).__name__} cannot be saved: its constructor's arguments and the training summary must be "
            f"numbers, strings, lists and mappings of them ({error})."
        ) from error
    # one entry, because safetensors writes several entries in random order, and equal teachers should give equal files
    return json.dumps({**plain, "sha256": content_hash(plain, tensors)}, sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Set):
        return sorted(value)
    raise TypeError(f"got a {type(value).__name__}")


def _read(path: Path) -> tuple[TeacherDescription, dict[str, Tensor], int]:
    if not path.is_file():
        raise CheckpointError(f"There is no teacher file {path}. Check the path.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # clones, because the tensors are memory-mapped, and another process may rewrite the file
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no mapping)
        told = json.loads(metadata.get(FORMAT, "null"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is damaged or is not a safetensors file ({error}); accepted are files of save_teacher."
        ) from error
    _check_version(path, told, sorted(metadata))
    if told.get("sha256") != content_hash(told, tensors):
        raise CheckpointError(
            f"{path} is damaged or was changed: the SHA-256 of its content differs from the recorded one. Copy the "
            "file again."
        )
    for name, kind in (("class", str), ("config", dict), ("training", dict), ("versions", dict)):
        if not isinstance(told.get(name), kind):
            raise CheckpointError(f"{path} has the {name} {told.get(name)!r}; expected a {kind.__name__}.")
    names = told.get("label_names")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise CheckpointError(f"{path} has the label_names {names!r}; expected a list of names, or null.")
    return (
        TeacherDescription(told["class"], told["config"], names, told["training"], told["versions"], told["sha256"]),
        tensors,
        told["format_version"],
    )


def _check_version(path: Path, told: Any, found: Sequence[str]) -> None:
    version = told.get("format_version") if isinstance(told, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has the newer format version {version}; this monai_gmcl reads versions "
            f"{' and '.join(map(str, ACCEPTED_VERSIONS))}. Update monai_gmcl."
        )
    if version not in ACCEPTED_VERSIONS:
        raise CheckpointError(
            f"{path} has the metadata {list(found)} and format version {version}; accepted are {FORMAT!r}, "
            f"versions {' and '.join(map(str, ACCEPTED_VERSIONS))}, as save_teacher writes them."
        )


def _find_class(path: Path, dotted: str, classes: Mapping[str, type[Teacher]]) -> type[Teacher]:
    module_name, _, name = dotted.rpartition(".")
    found: Any = classes.get(dotted) or classes.get(name)
    if found is None and f"{module_name}.".startswith(f"{OWN_PACKAGE}."):
        try:
            found = getattr(importlib.import_module(module_name), name, None)
        except ImportError:
            found = None
    if not (isinstance(found, type) and issubclass(found, Teacher)):
        given = (
            f" and the given classes {', '.join(classes)}"
            if classes
            else "; give other classes with the argument `classes`"
        )
        raise CheckpointError(
            f"{path} has a teacher of the class {dotted!r}; accepted are classes of {OWN_PACKAGE}{given}."
        )
    return found
