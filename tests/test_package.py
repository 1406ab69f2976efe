# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
import subprocess
import sys
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest
from setuptools import find_packages

import monai_gmcl

ROOT = Path(__file__).parents[1]
PACKAGE = Path(monai_gmcl.__file__).parent
SOURCES = sorted(
    path
    for folder in (PACKAGE, ROOT / "tests", ROOT / "studies")
    for path in folder.rglob("*.py")
    # Marks a folder as a package of studies, and holds nothing.
    if path.stat().st_size > 0
)
MODULES = [module.name for module in walk_packages(monai_gmcl.__path__, "monai_gmcl.")]


def shell_blocks(text: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_imports_and_keeps_its_promise_of_names(name: str) -> None:
    if not name.endswith("__main__"):
        module = import_module(name)
        for public in getattr(module, "__all__", []):
            assert hasattr(module, public)


def test_the_package_is_marked_as_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_the_version_stands_in_one_place() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["version"] == "attr: monai_gmcl.__version__"
    found = [path for path in PACKAGE.rglob("*.py") if re.search(r'"\d+\.\d+\.\d+"', path.read_text(encoding="utf-8"))]
    assert found == [PACKAGE / "__init__.py"]


def test_the_wheel_holds_the_package_and_neither_studies_nor_tests() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    found = find_packages(str(ROOT), include=setup["options.packages.find"]["include"].split())
    assert "monai_gmcl" in found and {name.split(".")[0] for name in found} == {"monai_gmcl"}
    assert "studies" in find_packages(str(ROOT))


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_source_begins_with_the_licence(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith(
        "# SPDX-FileCopyrightText: monai_gmcl contributors\n# SPDX-License-Identifier: Apache-2.0\n"
    )


def test_the_console_entry_exists() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    name, target = setup["options.entry_points"]["console_scripts"].strip().split(" = ")
    module, function = target.split(":")
    assert name == "monai_gmcl"
    assert callable(getattr(import_module(module), function))


HEAVY = {"torch", "monai", "ignite", "numpy", "scipy", "matplotlib", "pandas", "sklearn", "mlflow", "tensorboard"}


def packages_of(code: str, *arguments: str) -> tuple[set[str], str]:
    """The packages that a fresh interpreter has imported after ``code``, and what it printed before."""
    code = (
        f"import sys; sys.argv[1:] = {list(arguments)}\n{code}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    *printed, packages = ran.stdout.splitlines()
    return set(packages.split()), "\n".join(printed)


@pytest.mark.gate
def test_importing_the_package_and_listing_commands_imports_nothing_heavy(tmp_path: Path) -> None:
    run = "from monai_gmcl.__main__ import main; main()"
    for code, arguments in [
        ("import monai_gmcl; monai_gmcl.__version__; dir(monai_gmcl)", []),
        (run, ["--help"]),
        (run, ["init", str(tmp_path)]),
    ]:
        packages, printed = packages_of(code, *arguments)
        assert not packages & HEAVY
    assert (tmp_path / "configs" / "train.yaml").is_file() and str(tmp_path) in printed


@pytest.mark.gate
def test_the_public_names_import_no_package_that_monai_does_not() -> None:
    """``import monai`` takes what it finds installed; ours must add no second of its own to it."""
    floor, _ = packages_of("import torch, monai.transforms, monai.engines, ignite.engine, safetensors.torch")
    packages, _ = packages_of("from monai_gmcl import *; import monai_gmcl.data, monai_gmcl.commands.validate")
    assert {name for name in packages - floor if not name.startswith("_")} == {"monai_gmcl"}


def test_a_name_that_the_package_lacks_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Trainer'"):
        monai_gmcl.Trainer  # noqa: B018


@pytest.mark.gate
def test_the_command_line_lists_its_commands() -> None:
    ran = subprocess.run([sys.executable, "-m", "monai_gmcl"], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert ran.returncode == 0
    assert "validate" in ran.stdout and "synthesize" in ran.stdout


def test_the_readme_has_two_commands_one_trains_and_one_tests() -> None:
    train, test = shell_blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    assert train.startswith("pip install . && python -m monai.bundle run ")
    for file in re.findall(r"bundles/\S+", train):
        assert (ROOT / file).exists()
    assert test.startswith('pip install ".[test,tracking]" && ')
    assert "pytest" in test


def test_the_pictures_and_pages_that_documents_link_to_are_there() -> None:
    for document in (ROOT / "README.md", ROOT / "bundles" / "gmcl_classification" / "docs" / "README.md"):
        for link in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (document.parent / link).exists(), link
