# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

ROLE = re.compile(r":[a-z]+:`~?([^`]+)`")
ENTRY = re.compile(r"^::: (monai_gmcl\S*)$", re.MULTILINE)

ROW = re.compile(r"^\| ([A-Za-z_]+) \|$", re.MULTILINE)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write out what packages export on the pages of the reference, each name once."""
    if not page.file.src_uri.startswith("reference/"):
        return markdown
    package = _package(Path(config.config_file_path).parent)
    markdown = ROW.sub(lambda row: f"| [`{row[1]}`][monai_gmcl.{row[1]}] | {_idea(package, row[1])} |", markdown)
    return ENTRY.sub(lambda entry: "\n".join(_entries(_member(package, entry[1]))), markdown)


@cache
def _package(root: Path) -> griffe.Module:
    package = griffe.load("monai_gmcl", search_paths=[root])
    assert isinstance(package, griffe.Module)
    return package


def _member(package: griffe.Module, path: str) -> griffe.Module:
    member = package[path.removeprefix(f"{package.name}.")]
    assert isinstance(member, griffe.Module)
    return member


def _idea(package: griffe.Module, name: str) -> str:
    """The first line of a docstring."""
    docstring = package[name].docstring
    assert docstring is not None
    return ROLE.sub(r"`\1`", docstring.value.split("\n")[0]).replace("``", "`")


def _entries(module: griffe.Module) -> Iterator[str]:
    """Write out what a package exports, trainers first; of a package that exports nothing, what its modules export."""
    names = [name for name in module.exports or () if isinstance(name, str)]
    # A module of the same name hides the function that the package exports.
    hidden = [name for name in names if name in module.modules]
    shown = sorted(set(names) - set(hidden), key=lambda name: (not name.endswith("Trainer"), name.lower()))
    if shown:
        yield _entry(module.path, shown)
    for submodule in sorted(module.modules.values(), key=lambda one: one.name):
        if submodule.name in hidden:
            yield _entry(submodule.path, [submodule.name])
        elif submodule.is_subpackage or not names:
            yield from _entries(submodule)


def _entry(path: str, names: list[str]) -> str:
    members = "\n".join(f"        - {name}" for name in names)
    return f"::: {path}\n    options:\n      members:\n{members}\n"
