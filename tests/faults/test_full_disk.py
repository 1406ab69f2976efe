# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from monai_gmcl.exceptions import CheckpointError
from monai_gmcl.handlers import CheckpointFolder, newest_checkpoint
from monai_gmcl.handlers.checkpoints.folder import write_atomically

PAGE = 4096


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of one megabyte."""
    path = tmp_path_factory.mktemp("disk")
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True)
        fault = mounted.stderr.strip() if mounted.returncode else None
    except OSError as error:
        fault = str(error)
    if fault is not None:
        pytest.skip(f"NOT TESTED on a really full disk: a tmpfs cannot be mounted here ({fault}).")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def state(iteration: int) -> dict[str, Any]:
    return {"model": {"weight": torch.full((100, 100), float(iteration))}}


@pytest.mark.parametrize("last", range(1, 21))
def test_whenever_the_disk_is_full_the_last_good_checkpoint_stays(last: int, small_disk: Path) -> None:
    folder = CheckpointFolder(small_disk / "run")
    entries: list[Any] = []
    try:
        for iteration in range(1, last):
            entries = folder.save(state(iteration), iteration, 1, entries)
        # Room for nothing, for a part of the checkpoint, or for all of it and not for the manifest.
        free = (0, 3 * PAGE, 10 * PAGE, 11 * PAGE)[last % 4]
        room = shutil.disk_usage(small_disk).free - free
        (small_disk / "filler").write_bytes(bytes(room))
        with pytest.raises(CheckpointError, match=rf"The disk is full: {small_disk}.* bytes needed, [\d,]+ bytes free"):
            folder.save(state(last), last, 1, entries)
        names = {path.name for path in folder.folder.iterdir()} if folder.folder.is_dir() else set()
        assert names == {e.file for e in entries} | ({CheckpointFolder.MANIFEST} if entries else set())
        if last > 1:
            assert newest_checkpoint(folder.folder).name == f"checkpoint_{last - 1:08d}.pt"
        (small_disk / "filler").unlink()
        folder.save(state(last), last, 1, entries)
        found = folder.load()
        assert found is not None and torch.equal(found[1]["model"]["weight"], state(last)["model"]["weight"])
    finally:
        shutil.rmtree(small_disk / "run", ignore_errors=True)
        (small_disk / "filler").unlink(missing_ok=True)


def test_the_error_tells_the_bytes_that_are_needed_and_those_that_are_free(small_disk: Path) -> None:
    with pytest.raises(CheckpointError, match=r"big.bin cannot be written .*: 3,000,000 bytes needed, 1,048,576 bytes"):
        write_atomically(small_disk / "big.bin", bytes(3_000_000))
    assert list(small_disk.iterdir()) == []
