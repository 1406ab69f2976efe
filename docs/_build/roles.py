# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import griffe

ENTRY = re.compile(r"^::: monai_gmcl\.(\S+)$", re.MULTILINE)
ROLE = re.compile(r":(?:class|func|meth|attr|data|mod):`~?([^`]+)`")
LITERAL = re.compile(r"::$", re.MULTILINE)
TABLE = re.compile(r"^={4,} +={4,}\n.+^={4,} +={4,}$", re.MULTILINE | re.DOTALL)


class Roles(griffe.Extension):
    """Docstrings are written for help(), too: turns their roles, tables and ``::`` into Markdown."""

    def on_package(self, *, pkg: griffe.Module, **_: object) -> None:
        """Rewrite the docstrings of the whole package."""
        if pkg.path == "monai_gmcl":
            places: dict[str, set[str]] = {}
            pages = Path(__file__).parents[1].joinpath("reference").glob("*.md")
            entries = [entry for page in pages for entry in ENTRY.findall(page.read_text(encoding="utf-8"))]
            for path in {path for entry in entries for path in _exported(pkg[entry])}:
                places.setdefault(path.rpartition(".")[2], set()).add(path)
            _rewrite(pkg, places)


def _exported(module: griffe.Module) -> Iterator[str]:
    """Where the names are defined that a page shows of a package or module."""
    for name in module.exports or ():
        member = module.members.get(str(name))
        if member is not None:
            path = member.target_path if member.is_alias else member.path
            yield f"{path}.{name}" if not member.is_alias and member.is_module else path
    for submodule in module.modules.values():
        if submodule.is_subpackage or not module.exports:
            yield from _exported(submodule)


def _rewrite(owner: griffe.Object, places: dict[str, set[str]]) -> None:
    if owner.docstring:
        text = ROLE.sub(lambda role: _link(owner, role[1], places), owner.docstring.value)
        text = TABLE.sub(lambda table: f"```text\n{table[0]}\n```", text)
        owner.docstring.value = LITERAL.sub(":", text)
    for member in owner.members.values():
        if not member.is_alias:
            _rewrite(member, places)


def _link(owner: griffe.Object, name: str, places: dict[str, set[str]]) -> str:
    """A link to what a page shows; of anything else, its name."""
    short = name.rpartition(".")[2] if name.startswith("monai_gmcl.") else name
    first, _, rest = short.partition(".")
    if rest == "" and owner.is_class and first in owner.members and first not in places:
        return f"[`{short}`][{owner.path}.{first}]" if owner.members[first].has_docstring else f"`{short}`"
    found = places.get(first, set())
    return f"[`{short}`][{'.'.join(filter(None, (*found, rest)))}]" if len(found) == 1 else f"`{short}`"
