# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest

TUTORIALS = Path(__file__).parents[2] / "tutorials"
SCRIPTS = sorted(TUTORIALS.glob("*.py"))
QUICK_SECONDS = 45
MOST_LINES = 100
MOST_BYTES = 4_000_000
"""Each new version of a notebook stays in the repository's history."""

pytestmark = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)


def notebook(script: Path) -> Any:
    return nbformat.read(script.with_suffix(".ipynb"), as_version=4)  # type: ignore[no-untyped-call]


def printed_lines(cell: Any) -> int:
    """Lines of all texts that a cell shows, those printed and those of results."""
    texts = [
        output.get("text", "") if output.output_type == "stream" else output.get("data", {}).get("text/plain", "")
        for output in cell.outputs
    ]
    return len("".join(texts).splitlines())


def test_the_notebook_is_the_scripts(script: Path) -> None:
    wanted = [(cell.cell_type, cell.source) for cell in jupytext.read(script).cells]
    assert [(cell.cell_type, cell.source) for cell in notebook(script).cells] == wanted


def test_the_notebook_has_run_from_top_to_bottom_without_an_error(script: Path) -> None:
    code = [cell for cell in notebook(script).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    kinds = {output.output_type for cell in code for output in cell.outputs}
    assert "error" not in kinds and kinds & {"display_data", "execute_result"}
    assert not any(output.get("name") == "stderr" for cell in code for output in cell.outputs)
    assert max(printed_lines(cell) for cell in code) < MOST_LINES
    assert script.with_suffix(".ipynb").stat().st_size < MOST_BYTES


def test_the_notebook_keeps_monais_rules(script: Path) -> None:
    cells = notebook(script).cells
    assert cells[0].source.startswith("Copyright (c) monai_gmcl contributors")
    headings = [line for cell in cells if cell.cell_type == "markdown" for line in cell.source.split("\n")]
    setup = headings.index("## Setup environment"), headings.index("## Setup imports")
    assert setup == tuple(sorted(setup))
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert "pip install" in code[0] and code[1].rstrip().endswith("print_config()")
    everything = "\n".join(code)
    assert 'os.environ.get("MONAI_DATA_DIRECTORY")' in everything
    assert re.search(r"^max_epochs = \d+$", everything, re.MULTILINE)
    assert not re.search(r"\.cuda\(\)|device\(\"cuda[:\d]*\"\)", everything)


def test_the_readme_lists_the_notebook(script: Path) -> None:
    assert f"]({script.stem}.ipynb)" in (TUTORIALS / "README.md").read_text(encoding="utf-8")


def test_no_path_of_the_machine_that_made_it_is_in_the_notebook(script: Path) -> None:
    content = script.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|tmp|Users|venv|work)/(?!<username>)", content)


def test_the_script_runs_and_writes_to_its_data_directory_only(script: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    environment = {
        **os.environ,
        "GMCL_TUTORIAL_QUICK": "1",
        "MONAI_DATA_DIRECTORY": str(data),
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
    }
    run = subprocess.run(
        [sys.executable, script], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=QUICK_SECONDS
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert list(data.iterdir()) and list(tmp_path.iterdir()) == [data]
