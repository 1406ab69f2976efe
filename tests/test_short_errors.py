# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import monai_gmcl
from monai_gmcl.exceptions import DataError
from monai_gmcl.short_errors import reason, shorten_errors

CONFIG = """
imports: ["$import monai_gmcl", "$import monai_gmcl.short_errors", "$import monai_gmcl.paths"]
initialize: ["$monai_gmcl.short_errors.shorten_errors()", "$1 / 0 if @other else monai_gmcl.paths.check_paths(out=5)"]
other: false
run: []
"""


def ended(folder: Path, *arguments: str, **environment: str) -> str:
    (folder / "config.yaml").write_text(CONFIG)
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(folder / "config.yaml"), *arguments]
    path = str(Path(monai_gmcl.__file__).parents[1])
    ran = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": path, **environment}, capture_output=True, text=True
    )
    assert ran.returncode == 1
    return ran.stderr


def test_a_bundle_ends_with_the_message_of_our_error_alone(tmp_path: Path) -> None:
    shown = ended(tmp_path)
    assert "Traceback" not in shown and "monai_gmcl: out must be a path, got 5" in shown.splitlines()[-2]


def test_other_errors_and_a_debugged_run_keep_their_traceback(tmp_path: Path) -> None:
    assert "ZeroDivisionError" in (shown := ended(tmp_path, "--other", "True")) and "Traceback" in shown
    assert "out must be a path" in (shown := ended(tmp_path, MONAI_DEBUG="true")) and "Traceback" in shown


def test_other_programs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.excepthook
    shorten_errors()
    assert sys.excepthook is before


def test_the_reason_is_found_below_what_wraps_it() -> None:
    own = DataError("no image")
    outer = RuntimeError("Failed to evaluate")
    outer.__cause__ = KeyError("x")
    assert reason(outer) is None
    outer.__cause__.__context__ = own
    assert reason(outer) is own is reason(own)
