# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from monai_gmcl.atomic_file import make_folder, write_whole
from monai_gmcl.exceptions import GMCLError, OutputError


def test_a_file_is_replaced_by_the_new_content_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"old")

    write_whole(path, b"new")

    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_content_and_nothing_beside_it(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_the_disk_before_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    replace = os.replace
    monkeypatch.setattr(os, "fsync", lambda _: order.append("fsync"))
    monkeypatch.setattr(os, "replace", lambda *places: (order.append("replace"), replace(*places)))

    write_whole(tmp_path / "model.pt", b"new")

    assert order == ["fsync", "replace"]


def test_it_is_written_where_the_caller_says_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (moved.append(Path(a).name), replace(a, b)))

    write_whole(tmp_path / "card.md", b"new", beside=tmp_path / ".card.md.part")

    assert moved == [".card.md.part"]


@pytest.mark.parametrize("name", ["model.pt", "a [1].csv", "$\\frac$.png"])
def test_what_a_killed_process_has_left_of_the_file_goes(name: str, tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    left = tmp_path / f".{name}.{ended.pid}.tmp"
    living, other, users = (
        tmp_path / n for n in (f".{name}.{os.getppid()}.tmp", f".x{name}.1.tmp", f".{name}.mine.tmp")
    )
    for path in (left, living, other, users):
        path.write_bytes(b"half")

    write_whole(tmp_path / name, b"new")

    assert {path.name for path in tmp_path.iterdir()} == {name, living.name, other.name, users.name}


def test_a_text_with_bytes_that_are_no_utf_8_is_written_readably(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.csv", "größe,bad\udcff")

    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "größe,bad\\udcff"


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "The disk is full: .*3 bytes needed"),
        (errno.EDQUOT, "The disk is full"),
        (errno.EIO, "Input/output"),
    ],
)
def test_the_error_is_of_the_family_and_names_the_file(
    number: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(GMCLError, match=told) as caught:
        write_whole(tmp_path / "model.pt", b"new")
    assert str(tmp_path / "model.pt") in str(caught.value) and isinstance(caught.value, OutputError)


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the folder .*gone does not exist"):
        write_whole(tmp_path / "gone" / "a.csv", b"new")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="The folder .*file/out cannot be created"):
        make_folder(tmp_path / "file" / "out")
