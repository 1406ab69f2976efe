# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import torch

from monai_gmcl.exceptions import CheckpointError
from monai_gmcl.handlers import CheckpointFolder, newest_checkpoint

STATE = {"model": torch.ones(3)}


def test_the_manifest_tells_size_and_hash_and_nothing_else_is_left(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "new" / "folder")
    entries = folder.save(STATE, 7, 2, [])
    told = json.loads((folder.folder / "manifest.json").read_text())
    (entry,) = told["checkpoints"]
    path = folder.folder / entry["file"]
    assert (entry["size"], entry["iteration"], entry["epoch"]) == (path.stat().st_size, 7, 2)
    assert len(entry["sha256"]) == 64 and folder.entries() == entries
    assert {p.name for p in folder.folder.iterdir()} == {"manifest.json", path.name}


def test_a_file_that_is_not_listed_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "checkpoint_00000009.pt")
    assert CheckpointFolder(tmp_path).load() is None
    with pytest.raises(CheckpointError, match="There is no checkpoint in"):
        newest_checkpoint(tmp_path)


def test_a_listed_file_is_never_written_over(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    first = folder.save(STATE, 7, 2, [])
    second = folder.save(STATE, 7, 2, first)
    assert [entry.file for entry in second] == ["checkpoint_00000007.pt", "checkpoint_00000007-1.pt"]


def test_what_a_killed_process_left_goes_and_other_files_stay(tmp_path: Path) -> None:
    for name in (".checkpoint_00000001.pt.17.tmp", ".manifest.json.17.tmp", "checkpoint_00000001.pt", "notes.txt"):
        (tmp_path / name).touch()
    CheckpointFolder(tmp_path).save(STATE, 2, 1, [])
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint_00000002.pt", "manifest.json", "notes.txt"}


def test_files_have_the_rights_that_the_user_gives_new_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        CheckpointFolder(tmp_path).save(STATE, 1, 1, [])
    finally:
        os.umask(before)
    assert stat.S_IMODE(newest_checkpoint(tmp_path).stat().st_mode) == 0o640


@pytest.mark.parametrize("step", ["checkpoint", "manifest"])
def test_an_error_while_writing_leaves_what_was_there(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = CheckpointFolder(tmp_path)
    entries = folder.save(STATE, 1, 1, [])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    replace = os.replace

    def failing(source: Path, target: Path) -> None:
        if step in str(target.name):
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(CheckpointError, match=r"cannot be written \(Input/output error\).* needed, .* bytes free"):
        folder.save(STATE, 2, 1, entries)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_content_reaches_the_disk_before_its_name_and_the_manifest_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    sync, replace = os.fsync, os.replace

    def synced(handle: int) -> None:
        order.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        sync(handle)

    def replaced(source: Path, target: Path) -> None:
        order.append(target.name)
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    CheckpointFolder(tmp_path).save(STATE, 1, 1, [])
    assert order == ["file", "checkpoint_00000001.pt", "folder", "file", "manifest.json", "folder"]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format_version": 3, "checkpoints": []}', '{"format_version": 1, "checkpoints": [{}]}']
)
def test_a_manifest_that_cannot_be_read_stops_the_run(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"manifest.json is damaged or is not a list .*remove the folder"):
        CheckpointFolder(tmp_path).load()
