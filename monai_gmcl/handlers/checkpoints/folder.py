# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A folder with the last complete checkpoints of a run."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from monai_gmcl.atomic_file import make_folder, write_whole
from monai_gmcl.exceptions import CheckpointError, ConfigurationError, OutputError

__all__ = ["CheckpointFolder", "newest_checkpoint", "write_atomically"]

logger = logging.getLogger(__name__)

OWN_FILES = re.compile(r"checkpoint_\d{8}(-\d+)?\.pt")
"""Only files with such names are listed, read and removed, because the folder may contain other files of the user."""
TEMPORARY = re.compile(r"\.(checkpoint_\d{8}(-\d+)?\.pt|manifest\.json)\.\d+\.tmp")


@dataclass(frozen=True)
class Entry:
    """An entry of the manifest."""

    file: str
    size: int
    sha256: str
    iteration: int
    epoch: int
    planned: bool = True
    """False: the checkpoint was written because the run was stopped; the next one removes it."""
    completed: int | None = None
    """``max_epochs`` of a finished run whose handlers have all been called."""


class CheckpointFolder:
    """The last complete checkpoints of a run, written atomically.

    A checkpoint is written to a temporary file, flushed to the disk and renamed. Then ``manifest.json``, which has its
    size and SHA-256, is written in the same way. Older checkpoints are removed last. A file that is missing in the
    manifest, or differs from it, does not count as a checkpoint: ``torch.load`` does not detect most flipped bits.

    Args:
        folder: folder of the checkpoints; it is created at the first save if it does not exist.
        keep: number of the latest checkpoints to keep, at least 1. With 2, there is a fallback if one is damaged.

    Raises:
        ConfigurationError: ``keep`` is below 1.
    """

    MANIFEST = "manifest.json"
    FORMAT_VERSION = 2
    READ_VERSIONS = (1, 2)

    def __init__(self, folder: str | os.PathLike[str], keep: int = 2) -> None:
        if keep < 1:
            raise ConfigurationError(f"keep must be at least 1, got {keep!r}.")
        self.folder = Path(folder)
        self.keep = keep

    def entries(self) -> list[Entry]:
        """Return the entries of the manifest, oldest first; none if there is no manifest.

        Raises:
            CheckpointError: the manifest is damaged or of another version.
        """
        path = self.folder / self.MANIFEST
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            if told["format_version"] not in self.READ_VERSIONS:
                raise ValueError(f"format version {told['format_version']!r}, accepted are {self.READ_VERSIONS}")
            entries = [Entry(**entry) for entry in told["checkpoints"]]
            for entry in entries:
                if not OWN_FILES.fullmatch(entry.file):
                    raise ValueError(f"the file name {entry.file!r}")
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise CheckpointError(
                f"{path} is damaged or is not a list of checkpoints ({error}). Checkpoints cannot be verified without "
                "it: remove the folder to start a new run."
            ) from error
        return entries

    def save(
        self, state: Mapping[str, Any], iteration: int, epoch: int, others: Sequence[Entry], planned: bool = True
    ) -> list[Entry]:
        """Write a checkpoint of plain tensors and numbers; return the current checkpoints of this run.

        ``others`` are the previous checkpoints, oldest first; all others are removed. A checkpoint that is not
        ``planned`` (written because the run was stopped) is removed by the next one.

        Raises:
            CheckpointError: the disk is full or cannot be written to. Earlier checkpoints are kept.
        """
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        content = buffer.getbuffer()
        try:
            make_folder(self.folder)
        except OutputError as error:
            raise CheckpointError(str(error)) from error
        sha256 = hashlib.sha256(content).hexdigest()
        entry = Entry(self._free_name(iteration), len(content), sha256, iteration, epoch, planned)
        path = self.folder / entry.file
        entries = [*(other for other in others if other.planned), entry][-self.keep :]
        try:
            write_atomically(path, content)
            self._list(entries)
        except BaseException:
            # The file is not in the manifest, so it is no checkpoint. Removing it frees space on a full disk.
            if entry not in self.entries():
                path.unlink(missing_ok=True)
            raise
        self._sweep(entries)
        return entries

    def complete(self, entries: Sequence[Entry], epochs: int) -> list[Entry]:
        """Record in the last checkpoint of a run that all epochs are finished; return all entries.

        Raises:
            CheckpointError: the disk is full or cannot be written to.
        """
        noted = [*entries[:-1], replace(entries[-1], completed=epochs)]
        if noted != list(entries):
            self._list(noted)
            self._sweep(noted)
        return noted

    def _list(self, entries: Sequence[Entry]) -> None:
        listed = {"format_version": self.FORMAT_VERSION, "checkpoints": [asdict(entry) for entry in entries]}
        write_atomically(self.folder / self.MANIFEST, json.dumps(listed, indent=1).encode())

    def load(self) -> tuple[Path, dict[str, Any], list[Entry]] | None:
        """Return path and content of the newest valid checkpoint, and the entries up to it; None if there is none.

        Raises:
            CheckpointError: there are checkpoints, but none of them is complete.
        """
        entries = self.entries()
        faults = []
        for index in reversed(range(len(entries))):
            path = self.folder / entries[index].file
            try:
                state = _read(path, entries[index])
            except CheckpointError as error:
                faults.append(str(error))
                logger.warning("%s Trying an older checkpoint.", error)
            else:
                return path, state, entries[: index + 1]
        if faults:
            raise CheckpointError(f"All checkpoints in {self.folder} are damaged: {' '.join(faults)}")
        return None

    def _free_name(self, iteration: int) -> str:
        # A listed file is never overwritten: between both writes, its hash would differ from the manifest. A file that
        # a killed process wrote without listing it is no checkpoint.
        try:
            taken = {entry.file for entry in self.entries()}
        except CheckpointError:
            # The manifest is damaged, so its entries are unknown.
            taken = {path.name for path in self.folder.iterdir()}
        name, copy = f"checkpoint_{iteration:08d}.pt", 0
        while name in taken:
            copy += 1
            name = f"checkpoint_{iteration:08d}-{copy}.pt"
        return name

    def _sweep(self, entries: Sequence[Entry]) -> None:
        """Remove older checkpoints, and files of killed processes."""
        listed = {entry.file for entry in entries}
        for path in self.folder.iterdir():
            if TEMPORARY.fullmatch(path.name) or (OWN_FILES.fullmatch(path.name) and path.name not in listed):
                path.unlink(missing_ok=True)


def newest_checkpoint(folder: str | os.PathLike[str]) -> Path:
    """Return the path of the newest complete checkpoint, such as for ``monai.handlers.CheckpointLoader``.

    Raises:
        CheckpointError: there is none.
    """
    found = CheckpointFolder(folder).load()
    if found is None:
        raise CheckpointError(f"There is no checkpoint in {folder}.")
    return found[0]


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file atomically: it has either the complete old content or the complete new content.

    CheckpointError if the disk is full or cannot be written to; the message has the path, needed and free bytes.
    """
    try:
        write_whole(path, content)
        _sync_folder(path.parent)
    except OSError as error:
        raise CheckpointError(str(error)) from error


def _sync_folder(folder: Path) -> None:
    # Windows cannot open folders, so that the folder is not flushed.
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _read(path: Path, entry: Entry) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}).") from error
    if len(content) != entry.size:
        raise CheckpointError(f"{path} is damaged: expected {entry.size:,} bytes, found {len(content):,}.")
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise CheckpointError(f"{path} is damaged: its SHA-256 differs from {CheckpointFolder.MANIFEST}.")
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state
