# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re

import griffe

ROLE = re.compile(r":(?:class|func|meth|attr|data|mod):`~?([^`]+)`")
LITERAL = re.compile(r"::$", re.MULTILINE)
TABLE = re.compile(r"^={4,} +={4,}\n.+^={4,} +={4,}$", re.MULTILINE | re.DOTALL)


class Roles(griffe.Extension):
    """Docstrings are written for help(), too: turns their roles, tables and ``::`` into Markdown."""

    def on_package(self, *, pkg: griffe.Module, **_: object) -> None:
        """Rewrite the docstrings of the whole package."""
        if pkg.path == "monai_gmcl":
            _rewrite(pkg, _places(pkg))


def _places(module: griffe.Module) -> dict[str, list[str]]:
    """Where each name of a class, function or constant of the package is defined."""
    places: dict[str, list[str]] = {}
    for member in module.members.values():
        if member.is_alias or not (member.has_docstring or member.is_module):
            continue
        places.setdefault(member.name, []).append(member.path)
        if member.is_module:
            for name, paths in _places(member).items():
                places.setdefault(name, []).extend(paths)
    return places


def _rewrite(owner: griffe.Object, places: dict[str, list[str]]) -> None:
    if owner.docstring:
        text = ROLE.sub(lambda role: _link(owner, role[1], places), owner.docstring.value)
        text = TABLE.sub(lambda table: f"```text\n{table[0]}\n```", text)
        owner.docstring.value = LITERAL.sub(":", text)
    for member in owner.members.values():
        if not member.is_alias:
            _rewrite(member, places)


def _link(owner: griffe.Object, name: str, places: dict[str, list[str]]) -> str:
    first, _, rest = name.partition(".")
    if first == "monai_gmcl":
        return f"[`{name.rpartition('.')[2]}`][{name}]"
    holder = owner if owner.is_class else owner.parent
    if holder is not None and first in holder.members and not holder.members[first].is_alias:
        if not holder.members[first].has_docstring:
            return f"`{name}`"
        return f"[`{name}`][{holder.path}.{name}]"
    found = places.get(first, [])
    return f"[`{name}`][{'.'.join(filter(None, (found[0], rest)))}]" if len(found) == 1 else f"`{name}`"
