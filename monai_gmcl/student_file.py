# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of trained students: weights with their description."""

from __future__ import annotations

import io
import json
import os
import textwrap
import zipfile
from pathlib import Path
from typing import Any, TypeVar

import monai
import torch
from torch import Tensor, nn

from monai_gmcl.atomic_file import write_whole
from monai_gmcl.content_hash import content_hash
from monai_gmcl.exceptions import CheckpointError, ConfigurationError
from monai_gmcl.student_description import StudentDescription

__all__ = ["describe_student", "load_student", "save_student", "student_bytes"]

RECORD = "archive/extra/monai_gmcl.student.json"
"""Name of the description in the file, which readers of torch.save ignore."""
FORMAT_VERSION = 1
ACCEPTED = "accepted are files of monai_gmcl.save_student, such as model.pt of a training"

Network = TypeVar("Network", bound=nn.Module)


def save_student(network: nn.Module, path: str | os.PathLike[str], description: StudentDescription) -> Path:
    """Write a student to one file: its weights as a state dict of ``torch.save``, and its description.

    Every tool that loads a state dict can load the file: ``torch.load(path, weights_only=True)``,
    ``monai.handlers.CheckpointLoader``, ``python -m monai.bundle ckpt_export``. The file also has the description and a
    SHA-256 of everything, for :func:`load_student` and :func:`describe_student`. An existing file is replaced
    atomically.

    Args:
        network: the student; its state must be tensors.
        path: path of the file, usually ``model.pt``; its folder must exist.
        description: description of the student.

    Returns:
        The path.

    Raises:
        ConfigurationError: a state that is more than tensors.
    """
    path = Path(path)
    write_whole(path, student_bytes(network, description))
    return path


def student_bytes(network: nn.Module, description: StudentDescription) -> bytes:
    """Return the content of the file that :func:`save_student` writes; the same student gives the same bytes."""
    from monai_gmcl import __version__  # the package imports this module

    tensors = {}
    for name, tensor in network.state_dict().items():
        if not isinstance(tensor, Tensor):
            raise ConfigurationError(
                f"The student's state has {name!r}, a {type(tensor).__name__}; only tensors can be saved."
            )
        # clones: torch.save writes the whole storage of a view
        tensors[name] = torch.as_tensor(tensor.detach()).as_subclass(Tensor).cpu().clone().contiguous()
    versions = {"monai_gmcl": __version__, "monai": monai.__version__, "torch": torch.__version__}
    told = {"format_version": FORMAT_VERSION, **description.told(), "versions": versions}
    told["sha256"] = content_hash(told, tensors)
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(zipfile.ZipInfo(RECORD), json.dumps(told, sort_keys=True))
    return buffer.getvalue()


def load_student(network: Network, path: str | os.PathLike[str], expected: StudentDescription | None = None) -> Network:
    """Load the weights that :func:`save_student` wrote into a network, and return the network.

    Args:
        network: a network that is built as in the training.
        path: path of the file.
        expected: the description that the file must match, such as that of the labels to propose.

    Raises:
        CheckpointError: no such file, a damaged or changed file, another kind of file, or weights of another network.
        ConfigurationError: the description of the file differs from ``expected``.
    """
    description, tensors = _read(Path(path))
    if expected is not None:
        description.check(**expected.told())
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} does not fit the network, a {type(network).__name__}: {textwrap.shorten(str(error), 400)} Build "
            "the network (network_def) as in the training."
        ) from error
    return network


def describe_student(path: str | os.PathLike[str]) -> StudentDescription:
    """Read the description in a student's file.

    Raises:
        CheckpointError: no such file, a damaged or changed file, another kind of file.
    """
    return _read(Path(path))[0]


def _read(path: Path) -> tuple[StudentDescription, dict[str, Tensor]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"The student's file {path} cannot be read ({error.strerror}). Check the path."
        ) from error
    told = _told(path, content)
    tensors = _tensors(path, content)
    if told.get("sha256") != content_hash(told, tensors):
        raise CheckpointError(
            f"{path} is damaged or was changed: the SHA-256 of its content differs from the recorded one. Copy the "
            "file again."
        )
    values = {name: value for name, value in told.items() if name not in ("format_version", "sha256", "versions")}
    try:
        return StudentDescription(**values, source=str(path)), tensors
    except (TypeError, ConfigurationError) as error:
        raise CheckpointError(f"{path} has an invalid description ({error}); {ACCEPTED}.") from error


def _told(path: Path, content: bytes) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            known = RECORD in archive.namelist()
            told = json.loads(archive.read(RECORD)) if known else None
    # zipfile may raise any error for damaged files
    except Exception as error:
        raise CheckpointError(f"{path} is damaged or is not a file of torch.save ({error}); {ACCEPTED}.") from error
    if not known:
        raise CheckpointError(
            f"{path} has no description of its images and outputs, or is damaged; {ACCEPTED}. To convert other "
            "weights, load them and call save_student(network, path, StudentDescription(...))."
        )
    described: dict[str, Any] = told if isinstance(told, dict) else {}
    version = described.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has the format version {version!r}; this monai_gmcl reads version {FORMAT_VERSION}: {ACCEPTED}."
        )
    return described


def _tensors(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    # torch.load may, too
    except Exception as error:
        raise CheckpointError(f"{path} is damaged ({textwrap.shorten(str(error), 200)}); {ACCEPTED}.") from error
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CheckpointError(f"{path} has more than the weights of one network; {ACCEPTED}.")
    return dict(state)
