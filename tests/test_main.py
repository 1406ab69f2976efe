# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import inspect
import re
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import fire
import pytest

import monai_gmcl.__main__ as command_line
from monai_gmcl.exceptions import DataError


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    def known() -> None:
        raise DataError("Expected a folder, found none.")

    def unforeseen() -> None:
        raise KeyError("a bug")

    for command in (known, unforeseen):
        name = command.__name__
        monkeypatch.setitem(sys.modules, f"monai_gmcl.commands.{name}", SimpleNamespace(**{name: command}))
    monkeypatch.setattr(command_line, "COMMANDS", {"known": "", "unforeseen": ""})


def ended(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["monai_gmcl", *arguments])
    with pytest.raises(SystemExit) as stop:
        command_line.main()
    assert isinstance(stop.value.code, str) and stop.value.code.count("\n") < 6
    return stop.value.code


@pytest.mark.usefixtures("failing")
def test_an_error_of_ours_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended(monkeypatch, "known") == "monai_gmcl: Expected a folder, found none."


@pytest.mark.usefixtures("failing")
def test_another_error_is_told_with_its_kind_and_how_to_see_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended(monkeypatch, "unforeseen").split("\n") == [
        "monai_gmcl: KeyError: 'a bug'",
        "This error was not expected. Add --debug to show its traceback.",
    ]


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize(("name", "error"), [("known", DataError), ("unforeseen", KeyError)])
def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, name: str, error: type[Exception]) -> None:
    monkeypatch.setattr(sys, "argv", ["monai_gmcl", name, "--debug"])
    with pytest.raises(error):
        command_line.main()


def test_a_real_command_tells_of_a_missing_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    message = ended(monkeypatch, "compare", f"--data_dir={tmp_path / 'nowhere'}", f"--out={tmp_path / 'out'}")
    assert message.startswith("monai_gmcl: ") and "nowhere" in message


def test_an_unknown_command_is_refused_with_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["monai_gmcl", "vaildate", "data"])
    with pytest.raises(SystemExit, match="unknown command 'vaildate'(.|\n)*validate"):
        command_line.main()


@pytest.mark.parametrize("name", command_line.COMMANDS)
def test_each_command_is_where_the_command_line_looks_for_it(name: str) -> None:
    assert getattr(import_module(f"monai_gmcl.commands.{name}"), name).__doc__


@pytest.mark.parametrize("name", command_line.COMMANDS)
def test_the_help_of_a_command_has_its_whole_docstring(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = getattr(import_module(f"monai_gmcl.commands.{name}"), name)
    with pytest.raises(SystemExit):
        fire.Fire(command, command=["--help"], name=name)
    shown = set(capsys.readouterr().err.split())
    documented = inspect.cleandoc(command.__doc__).split("\n\nRaises:")[0].replace("Args:", "")
    assert [word for word in re.sub(r"\n    (\w+):", r"\n", documented).split() if word not in shown] == []
