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
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from monai_gmcl.exceptions import CheckpointError, ConfigurationError
from monai_gmcl.teachers.base import Teacher

__all__ = ["load_teacher", "save_teacher"]

FORMAT = "monai_gmcl.teacher"
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
    metadata, tensors = _read(path)
    teacher_class = _find_class(path, metadata.get("class", ""))
    try:
        arguments = json.loads(metadata.get("config", ""))
        teacher = teacher_class(**arguments)
        teacher.load_state_dict(tensors)
    except (ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path} does not fit {teacher_class.__name__} of this version: {error}") from error
    return teacher


def _tensors(teacher: Teacher) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in teacher.state_dict().items()}


def _metadata(teacher: Teacher) -> dict[str, str]:
    from monai_gmcl import __version__  # the package imports this module

    name = _dotted_name(type(teacher))
    try:
        config = json.dumps(teacher.config)
    except TypeError as error:
        raise ConfigurationError(
            f"{type(teacher).__name__} cannot be saved: its constructor's arguments must be numbers, strings, lists "
            f"and mappings of them ({error})."
        ) from error
    return {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "class": name,
        "config": config,
        "package_version": __version__,
    }


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged or no safetensors file ({error}); accepted are files of save_teacher."
        ) from error
    found = (metadata.get("format"), metadata.get("format_version"))
    if found != (FORMAT, str(FORMAT_VERSION)):
        raise CheckpointError(
            f"{path} has the format {found[0]!r}, version {found[1]!r}; "
            f"accepted is {FORMAT!r}, version {str(FORMAT_VERSION)!r}, as save_teacher writes it."
        )
    return metadata, tensors


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
