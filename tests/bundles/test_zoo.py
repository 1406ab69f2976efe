# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""The steps of the model zoo's full verification, offline: its directory, versions, metadata, shapes, TorchScript."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

import monai_gmcl
from monai_gmcl.commands.init import BUNDLES, init

HEADINGS = {
    # of the zoo's template
    *("Authors", "Tags", "Model Description", "Data", "Preprocessing", "Performance", "System Configuration"),
    *("Limitations", "Citation Info", "References"),
    # of its bundles
    *("Model Overview", "Training configuration", "MONAI Bundle Commands", "License"),
}


@pytest.fixture(scope="module", params=BUNDLES)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of ours in the zoo's folder of bundles."""
    folder = tmp_path_factory.mktemp("zoo") / "models" / str(request.param)
    init(str(folder), request.param)
    return folder


def metadata(bundle: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads((bundle / "configs" / "metadata.json").read_text())
    return found


def test_the_files_that_the_zoo_asks_for_are_there_and_small_enough(bundle: Path) -> None:
    for name in ("LICENSE", "configs/metadata.json", "configs/inference.yaml", "models/model.pt", "docs/README.md"):
        assert (bundle / name).is_file()
    assert all(path.stat().st_size < 25 * 2**20 for path in bundle.rglob("*") if path.is_file())
    assert not list(bundle.glob("large_files.*"))


def test_the_keys_that_the_zoo_asks_for_are_there(bundle: Path) -> None:
    inference, train = (
        yaml.safe_load((bundle / "configs" / f"{name}.yaml").read_text()) for name in ("inference", "train")
    )
    assert {"bundle_root", "device", "network_def", "inferer", "output_dir"} <= set(inference)
    assert {"bundle_root", "device", "dataset_dir", "output_dir", "val_interval"} <= set(train)
    assert {"trainer", "dataset", "handlers", "preprocessing", "postprocessing", "inferer", "key_metric"} <= set(
        train["train"]
    )
    assert {"evaluator", "dataset", "handlers", "preprocessing", "inferer", "key_metric"} <= set(train["validate"])


def test_the_version_is_the_packages(bundle: Path) -> None:
    told = metadata(bundle)
    assert told["version"] == told["monai_gmcl_version"] == next(iter(told["changelog"])) == monai_gmcl.__version__


def test_training_and_inference_have_the_same_student(bundle: Path) -> None:
    train, infer = (yaml.safe_load((bundle / "configs" / f"{k}.yaml").read_text()) for k in ("train", "inference"))
    assert train["network_def"] == infer["network_def"]


def test_the_zoos_commands_work_from_the_bundles_folder(bundle: Path, tmp_path: Path) -> None:
    """As its guide for contributors writes them, with no bundle_root."""
    files = ["--meta_file", "configs/metadata.json", "--config_file", "configs/inference.yaml"]
    export = ["--filepath", str(tmp_path / "model.ts"), "--ckpt_file", "models/model.pt"]
    for command in (["verify_net_in_out"], ["ckpt_export", *export]):
        arguments = [sys.executable, "-m", "monai.bundle", *command, "--net_id", "network_def", *files]
        ran = subprocess.run(arguments, cwd=bundle, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr[-2000:]
    assert (tmp_path / "model.ts").is_file()


def test_required_packages_are_those_that_pip_can_install(bundle: Path) -> None:
    """A registry has them all; the versions are those that the tests run with. monai_gmcl itself is in no registry."""
    told = metadata(bundle)
    required = {**told["required_packages_version"], "monai": told["monai_version"], "numpy": told["numpy_version"]}
    assert "monai_gmcl" not in required
    assert {name: version(name) for name in required} == required
    assert version("torch").split("+")[0] == told["pytorch_version"]


def test_the_readme_has_the_zoos_headings(bundle: Path) -> None:
    text = re.sub(r"^```.*?^```", "", (bundle / "docs" / "README.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    found = {heading.strip("* ") for heading in re.findall(r"^#{1,4} (.+)$", text, re.MULTILINE)}
    assert found >= HEADINGS
