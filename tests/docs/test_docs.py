# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

import monai_gmcl

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documents, built strictly: a warning, a dead link or a dead anchor is an error."""
    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(folder))
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    return folder


def public_names() -> Iterator[tuple[str, Any]]:
    """Every name in every ``__all__`` of the package, with what it names."""
    for name in ["monai_gmcl", *(module.name for module in walk_packages(monai_gmcl.__path__, "monai_gmcl."))]:
        module = import_module(name)
        for public in getattr(module, "__all__", ()):
            yield f"{name}.{public}", getattr(module, public)


def anchors(page: Path) -> list[str]:
    return re.findall(r'\bid="([^"]+)"', page.read_text(encoding="utf-8"))


def found(path: str) -> Any:
    """What a dotted path of the package names."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            owner: Any = import_module(".".join(parts[:end]))
        except ImportError:
            continue
        for part in parts[end:]:
            owner = getattr(owner, part, None)
        return owner
    return None


def test_every_public_name_is_in_the_reference_once(site: Path) -> None:
    written = [a for page in site.glob("reference/*.html") for a in anchors(page) if a.startswith("monai_gmcl.")]
    assert len(written) == len(set(written))
    paths = set(written)
    objects = {id(found(path)) for path in written}
    missing = [
        path
        for path, thing in public_names()
        if path not in paths and not (hasattr(thing, "__qualname__") and id(thing) in objects)
    ]
    assert missing == []


def test_the_list_of_public_names_is_whole(site: Path) -> None:
    listed = re.findall(r"^\| ([A-Za-z_]+) \|$", (DOCS / "reference" / "index.md").read_text(encoding="utf-8"), re.M)
    assert sorted(listed) == sorted([*monai_gmcl.__all__])
    page = (site / "reference" / "index.html").read_text(encoding="utf-8")
    assert all(f"#monai_gmcl.{where}" in page or f".{name}" in page for name in listed for where in (name,))


def fenced(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if fenced(page, "python")], ids=lambda page: page.relative_to(DOCS).as_posix()
)
def test_the_snippets_of_a_page_run_one_after_the_other(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"repository": ROOT, "__name__": "snippets"}
    for number, snippet in enumerate(fenced(page, "python"), 1):
        exec(compile(snippet, f"{page.name}, snippet {number}", "exec"), namespace)  # noqa: S102
