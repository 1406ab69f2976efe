# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from monai_gmcl.exceptions import CheckpointError, ConfigurationError
from monai_gmcl.teachers.base import Teacher

__all__ = ["load_teacher", "save_teacher"]

FORMAT = "monai_gmcl.teacher"
"""Key of the file's metadata under which the teacher is described, as JSON."""
FORMAT_VERSION = 1


def save_teacher(teacher: Teacher, path: str | os.PathLike[str]) -> Path:
    """Write a teacher to one safetensors file: its parameters, its class's name and its constructor's arguments.

    The file is written beside its place and then moved there: a file that exists is replaced whole or not at all.

    Args:
        teacher: the teacher; its constructor's arguments must be numbers, strings, lists and mappings of them.
        path: of the file, usually ``*.safetensors``; its folder must exist.

    Returns:
        The path.

    Raises:
        ConfigurationError: not a Teacher, a class within a function or class, or arguments that are no JSON.
    """
    if not isinstance(teacher, Teacher):
        raise ConfigurationError(f"save_teacher takes a Teacher, got {type(teacher).__name__}.")
    path = Path(path)
    content = save(_tensors(teacher), _metadata(teacher))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def load_teacher(path: str | os.PathLike[str]) -> Teacher:
    """Read a teacher that :func:`save_teacher` wrote, on the CPU.

    Nothing in the file is run. Its class is looked up by name: one of monai_gmcl's, or a Teacher subclass whose module
    has been imported already.

    Raises:
        CheckpointError: no such file, a damaged or foreign one, another format version, an unknown class, or arguments
            or tensors that do not fit the class.
    """
    path = Path(path)
    description, tensors = _read(path)
    teacher_class = _find_class(path, str(description.get("class")))
    try:
        teacher = teacher_class(**description.get("config", {}))
        teacher.load_state_dict(tensors)
    except (ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path} does not fit {teacher_class.__name__} of this version: {error}") from error
    return teacher


def _tensors(teacher: Teacher) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in teacher.state_dict().items()}


def _metadata(teacher: Teacher) -> dict[str, str]:
    from monai_gmcl import __version__  # the package imports this module

    description = {
        "format_version": FORMAT_VERSION,
        "class": _dotted_name(type(teacher)),
        "config": teacher.config,
        "package_version": __version__,
    }
    try:
        # one entry: safetensors writes several in random order, and equal teachers should give equal files
        return {FORMAT: json.dumps(description, sort_keys=True, default=_plain)}
    except TypeError as error:
        raise ConfigurationError(
            f"{type(teacher).__name__} cannot be saved: its constructor's arguments must be numbers, strings, lists "
            f"and mappings of them ({error})."
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Set):
        return sorted(value)
    raise TypeError(f"got a {type(value).__name__}")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
        description = json.loads(metadata.get(FORMAT, "null"))
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged or no safetensors file ({error}); accepted are files of save_teacher."
        ) from error
    if not isinstance(description, dict) or description.get("format_version") != FORMAT_VERSION:
        version = description.get("format_version") if isinstance(description, dict) else None
        raise CheckpointError(
            f"{path} has the metadata {sorted(metadata)} and format version {version}; accepted are {FORMAT!r}, "
            f"version {FORMAT_VERSION}, as save_teacher writes it."
        )
    return description, tensors


def _find_class(path: Path, dotted: str) -> type[Teacher]:
    module_name, _, name = dotted.rpartition(".")
    module: Any = sys.modules.get(module_name)
    if module is None and module_name.startswith("monai_gmcl.teachers."):
        try:
            module = importlib.import_module(module_name)
        except ImportError:
            module = None
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, Teacher)):
        raise CheckpointError(
            f"{path} names the class {dotted!r}; accepted are monai_gmcl's teachers and subclasses of Teacher "
            "whose module has been imported."
        )
    return found


def _dotted_name(cls: type) -> str:
    if getattr(sys.modules.get(cls.__module__), cls.__qualname__, None) is not cls:
        raise ConfigurationError(
            f"{cls.__qualname__} of {cls.__module__} cannot be saved: the class must stand at the top of its module."
        )
    return f"{cls.__module__}.{cls.__qualname__}"
