# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""Texts that people read are free of the expressions in ``terms.txt``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES = [line for line in Path(__file__).with_name("terms.txt").read_text(encoding="utf-8").splitlines() if line]
TERMS = [tuple(line.split(" => ")) for line in LINES if not line.startswith("#")]
BUNDLES = [path for path in sorted((ROOT / "bundles").iterdir()) if path.is_dir()]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "tutorials/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "studies").rglob("README.md")),
    *(page for bundle in BUNDLES for page in sorted(bundle.rglob("*.md"))),
    *(config for bundle in BUNDLES for config in sorted((bundle / "configs").glob("*.*"))),
]
TUTORIALS = sorted((ROOT / "tutorials").glob("*.py"))
SOURCES = sorted((ROOT / "monai_gmcl").rglob("*.py"))


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """What a file says to people, with the line where it begins: paragraphs, or docstrings and messages of a module."""
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        line = 1
        for paragraph in re.split(r"(\n\s*\n)", content):
            yield line, paragraph
            line += paragraph.count("\n")
        return
    if path in TUTORIALS:
        for match in re.finditer(r"(?:^# .*\n)+", content, re.MULTILINE):
            yield content.count("\n", 0, match.start()) + 1, match[0].replace("\n# ", "\n")
        return
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def test_each_term_is_a_pattern_with_what_to_write_instead() -> None:
    assert len(TERMS) > 20 and all(len(term) == 2 for term in TERMS)
    assert all(re.search(term, "nothing of the kind") is None for term, _ in TERMS)


@pytest.mark.parametrize("path", [*DOCUMENTS, *TUTORIALS, *SOURCES], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_text_has_none_of_the_terms(path: Path) -> None:
    found = [
        f"line {line}: {match[0]!r}, write: {instead}"
        for line, text in texts(path)
        for term, instead in TERMS
        for match in re.finditer(term, re.sub(r"\s+", " ", text), re.IGNORECASE)
    ]
    assert found == []
