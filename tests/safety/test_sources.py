# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""What stands in the sources and in the bundle's configurations, read as syntax trees."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import monai_gmcl

PACKAGE = Path(monai_gmcl.__file__).parent
CONFIGS = sorted((Path(__file__).parents[2] / "bundles").rglob("configs/*.yaml"))
UNPICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
# MONAI's: the first goes on to a reader that unpickles when the others fail, the second unpickles its cache
UNPICKLING_NAMES = {"LoadImage", "LoadImaged", "NumpyReader", "PersistentDataset", "CacheNTransDataset"}
RUNNERS = {"eval", "exec", "compile", "__import__", "os", "subprocess", "sys", "importlib", "builtins", "open"}
RUNNERS |= {"getattr", "globals", "locals", "vars", "shutil", "socket", "urllib", "requests", "pty", "runpy"}


def _unsafe_loads(source: str) -> list[str]:
    """Calls and imports that could unpickle, each as its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        if any(name.split(".")[0] in UNPICKLERS or name.split(".")[-1] in UNPICKLING_NAMES for name in names):
            found.append(ast.unparse(node))
        if any(name in ("torch.load", "numpy.load", "yaml.load") for name in names):
            found.append(ast.unparse(node))
        if isinstance(node, ast.Call) and _unsafe_call(node):
            found.append(ast.unparse(node))
    return found


def _unsafe_call(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if name == "torch.load":
        return given.get("weights_only") != "True"
    if name in ("np.load", "numpy.load"):
        return given.get("allow_pickle", "False") != "False" or None in given
    if name.split(".")[-1] in ("read_pickle", "read_hdf", "HDFStore"):
        return True
    return name in ("eval", "exec", "os.system", "yaml.load", "yaml.unsafe_load", "torch.hub.load", "torch.jit.load")


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


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_unpickles(path: Path) -> None:
    assert _unsafe_loads(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle as p",
        "from pickle import loads",
        "import joblib",
        "from torch import load",
        "from monai.transforms import LoadImage",
        "from monai.data import PersistentDataset",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, **options)",
        "torch.load(path, weights_only=not safe)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, **options)",
        "yaml.load(text)",
        "pd.read_pickle(path)",
        "eval(text)",
        "os.system(text)",
    ],
)
def test_what_unpickles_is_found(source: str) -> None:
    assert _unsafe_loads(f"def f():\n    {source}\n") != []


@pytest.mark.parametrize("source", ["torch.load(path, weights_only=True)", "np.load(path)", "model.eval()"])
def test_what_does_not_is_not(source: str) -> None:
    assert _unsafe_loads(source) == []


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
