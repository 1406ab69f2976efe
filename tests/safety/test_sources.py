# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What stands in the sources and in the bundle's configurations, read as syntax trees."""

from __future__ import annotations

import ast
import re
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

import monai_gmcl

PACKAGE = Path(monai_gmcl.__file__).parent
CONFIGS = sorted((Path(__file__).parents[2] / "bundles").rglob("configs/*.yaml"))
RUNNERS = {"eval", "exec", "compile", "__import__", "os", "subprocess", "sys", "importlib", "builtins", "open"}
RUNNERS |= {"getattr", "globals", "locals", "vars", "shutil", "socket", "urllib", "requests", "pty", "runpy"}


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in [str(key), *_strings(item)]]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return [value] if isinstance(value, str) else []


def _runners(config: Any) -> list[str]:
    """Expressions, imports and targets of a configuration that could run anything."""
    found = []
    for text in _strings(config):
        if text.startswith("$"):
            tree = ast.parse(re.sub(r"@[\w#]+", "reference", text[1:]).strip())
            names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            names |= {part for node in ast.walk(tree) if isinstance(node, ast.Import) for part in [node.names[0].name]}
            names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            if names & RUNNERS or any(name.startswith("__") for name in names):
                found.append(text)
        elif text.split(".")[0] in RUNNERS:
            found.append(text)
    return found


def test_every_torch_load_takes_weights_only() -> None:
    """What else could unpickle is found by ruff, which knows no rule for this one."""
    calls = [
        ast.unparse(node)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "load")
    ]
    assert calls
    assert all("weights_only=True" in call for call in calls), calls


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_no_configuration_runs_programs(path: Path) -> None:
    assert _runners(yaml.safe_load(path.read_text(encoding="utf-8"))) == []


def test_the_bundles_configurations_are_those_that_are_looked_at() -> None:
    assert {"train.yaml", "evaluate.yaml", "inference.yaml", "synthesize.yaml"} <= {path.name for path in CONFIGS}


@pytest.mark.parametrize(
    "text",
    [
        "$import os",
        "$import subprocess as s",
        "$eval('1')",
        "$os.getcwd()",
        "$__import__('os')",
        "$(lambda: exec(@a))()",
        "$@a.__class__.__bases__",
        "$torch.os.system('id')",
        "os.system",
        "subprocess.run",
        "builtins.eval",
    ],
)
def test_what_runs_programs_is_found(text: str) -> None:
    assert _runners({"a": [{"_target_": text}]}) == [text]


def test_a_test_that_reaches_out_fails() -> None:
    with pytest.raises(AssertionError, match=r"tried to reach 192\.0\.2\.1"):
        socket.create_connection(("192.0.2.1", 80), timeout=0.1)


def test_this_machine_may_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
