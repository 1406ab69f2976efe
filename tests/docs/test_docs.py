# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest
import yaml
from mkdocs.commands.build import build
from mkdocs.config import load_config
from monai.bundle import ConfigParser

import monai_gmcl

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGE = Path(monai_gmcl.__file__).parent
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documents, built strictly: a warning, a dead link or a dead anchor is an error."""
    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(folder))
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    return folder


def public_names() -> Iterator[tuple[str, Any]]:
    """Every name that a package exports, with what it names."""
    packages = [module.name for module in walk_packages(monai_gmcl.__path__, "monai_gmcl.") if module.ispkg]
    for name in ["monai_gmcl", *packages]:
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


def test_the_page_of_the_trainer_begins_with_it_and_shows_no_internals(site: Path) -> None:
    written = [a for a in anchors(site / "reference" / "engines.html") if a.count(".") == 2]
    assert written == [f"monai_gmcl.engines.{name}" for name in ("GMCLTrainer", "GMCLEvents", "GMCLKeys")]


def test_the_pages_take_nothing_from_the_network(site: Path) -> None:
    loaded = re.compile(
        r"""<(?:script|img|iframe)[^>]*\ssrc="(?:https?:)?//|<link[^>]*\shref="(?:https?:)?//|@import"""
    )
    assert [page.name for page in site.rglob("*.html") if loaded.search(page.read_text(encoding="utf-8"))] == []


def test_the_list_of_public_names_is_whole(site: Path) -> None:
    listed = re.findall(r"^\| ([A-Za-z_]+) \|$", (DOCS / "reference" / "index.md").read_text(encoding="utf-8"), re.M)
    assert sorted(listed) == sorted([*monai_gmcl.__all__])
    page = (site / "reference" / "index.html").read_text(encoding="utf-8")
    assert all(f"#monai_gmcl.{where}" in page or f".{name}" in page for name in listed for where in (name,))


def fenced(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if fenced(page, "python")], ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_the_snippets_of_a_page_run_one_after_the_other(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"repository": ROOT, "__name__": "snippets"}
    for number, snippet in enumerate(fenced(page, "python"), 1):
        exec(compile(snippet, f"{page.name}, snippet {number}", "exec"), namespace)  # noqa: S102


def test_the_options_of_the_bundle_that_pages_name_exist() -> None:
    parser = ConfigParser()
    parser.read_config(ROOT / "bundles" / "gmcl_classification" / "configs" / "train.yaml")
    page = (DOCS / "how-to" / "bundle.md").read_text(encoding="utf-8")
    names = set(re.findall(r"--([a-z_]+(?:#\w+)*)", page))
    assert len(names) > 10
    for name in names - {"bundle_root", "config_file", "tracking"}:
        owner, _, last = name.rpartition("#")
        # Arguments that a part has by default need not stand in the file.
        assert name in parser or "_target_" in parser[owner], last


def test_the_second_configuration_of_the_bundle_page_builds_what_it_says() -> None:
    parser = ConfigParser()
    parser.read_config(ROOT / "bundles" / "gmcl_classification" / "configs" / "train.yaml")
    (mine,) = fenced(DOCS / "how-to" / "bundle.md", "yaml")
    parser.update({**yaml.safe_load(mine), "num_classes": 2, "channels": 1, "spatial_dims": 2, "device": "cpu"})
    built = [type(parser.get_parsed_content(name)).__name__ for name in ("network", "teacher", "hypergradient")]
    assert built == ["DenseNet121", "ImageTeacher", "FiniteDifferenceHypergradient"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_figures_on_a_page_are_those_of_the_studies(page: Path) -> None:
    figure = re.compile(r"(?<![\d.])\.\d{3,4}(?!\d)")
    tables = (ROOT / "studies").rglob("*.md")
    known = {number for table in tables for number in figure.findall(table.read_text(encoding="utf-8"))}
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert set(figure.findall(text)) <= known


def test_the_readme_is_short_and_most_of_it_is_about_use() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (results,) = re.findall(r"^## Results\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert len(text.splitlines()) <= 150
    assert len(results.split()) <= 0.15 * len(text.split())


def test_the_names_that_the_readme_lists_are_in_the_package() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [row.split("|")[1] for row in text.split("## The API in ten names")[1].split("\n\n")[1].splitlines()[2:]]
    names = [name for row in rows for name in re.findall(r"`([\w.]+)`", row)]
    assert len(rows) == 10
    assert [name for name in names if found(f"monai_gmcl.{name}") is None] == []


def test_imports_point_the_way_that_the_page_on_architecture_says() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rows = [row.split("|")[1:4] for row in page.split("may import |\n")[1].split("\n\n")[0].split("\n")[1:]]
    (base, _, _), *others = rows
    first = set(re.findall(r"`(\w+)`", base))
    above: set[str] = set()
    for rooms, _, may in others:
        allowed = first | (above if "all of the above" in may else set(re.findall(r"`(\w+)`", may)))
        named = re.findall(r"`(\w+)`", rooms)
        for room in named:
            found = _imported(room)
            assert found <= allowed | set(named), f"{room}: {sorted(found - allowed)}"
        above |= set(named)
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert rooms == first | above | {"__init__"}


def _imported(room: str) -> set[str]:
    """The rooms that one room's modules import."""
    path = PACKAGE / f"{room}.py"
    sources = [path] if path.is_file() else sorted((PACKAGE / room).rglob("*.py"))
    statements = [node for source in sources for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))]
    modules = [node.module or "" for node in statements if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in statements if isinstance(node, ast.Import) for alias in node.names]
    return {module.split(".")[1] for module in modules if module.startswith("monai_gmcl.")} - {room}


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium")
@pytest.mark.parametrize("width", [1280, 500])
def test_a_page_opened_as_a_file_shows_and_finds_without_an_error(site: Path, tmp_path: Path, width: int) -> None:
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},1200"]
    command += [f"--user-data-dir={tmp_path}", "--enable-logging=stderr", "--v=0", "--virtual-time-budget=20000"]
    address = f"{(site / 'index.html').as_uri()}?q=hypergradient"
    ran = subprocess.run([*command, "--dump-dom", address], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0 and "The first run" in ran.stdout
    assert re.search(r"\b[1-9]\d* matching documents", ran.stdout)
    assert [line for line in ran.stderr.splitlines() if "CONSOLE" in line and "Error" in line] == []
