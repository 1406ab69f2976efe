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
import torch
import yaml
from monai.bundle import ckpt_export, verify_metadata, verify_net_in_out
from monai.bundle.config_parser import ConfigParser

from monai_gmcl.commands.init import BUNDLES, init

SCHEMA = Path(__file__).parent / "meta_schema_20240725.json"
HEADINGS = {
    # of the zoo's template
    *("Authors", "Tags", "Model Description", "Data", "Preprocessing", "Performance", "System Configuration"),
    *("Limitations", "Citation Info", "References"),
    # of its bundles
    *("Model Overview", "Training configuration", "MONAI Bundle Commands", "License"),
}


@pytest.fixture(scope="module", params=BUNDLES)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of ours in the zoo's folder of bundles, with the schema in it as the zoo puts it there."""
    models = tmp_path_factory.mktemp("zoo") / "models"
    init(str(models / request.param), request.param)
    (models / request.param / "eval").mkdir()
    (models / request.param / "eval" / "schema.json").write_bytes(SCHEMA.read_bytes())
    (models / "model_info.json").write_text("{}")
    return models / str(request.param)


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


def test_the_version_is_in_the_changelog_and_not_taken(bundle: Path) -> None:
    told = metadata(bundle)
    assert told["version"] in told["changelog"]
    assert f"{bundle.name}_v{told['version']}" not in json.loads((bundle.parent / "model_info.json").read_text())


def test_the_metadata_follow_the_schema(bundle: Path) -> None:
    verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(bundle / "eval" / "schema.json"))


def test_shapes_and_types_are_those_of_the_metadata(bundle: Path) -> None:
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.yaml"),
        bundle_root=str(bundle),
    )


def test_the_student_is_exported_without_a_key(bundle: Path, tmp_path: Path) -> None:
    state = torch.load(bundle / "models" / "model.pt", weights_only=True)
    assert all(isinstance(tensor, torch.Tensor) for tensor in state.values())
    ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "verify_model.ts"),
        ckpt_file=str(bundle / "models" / "model.pt"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.yaml"),
        bundle_root=str(bundle),
    )
    exported = torch.jit.load(tmp_path / "verify_model.ts").eval()
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.yaml")
    parser["bundle_root"] = str(bundle)
    student = parser.get_parsed_content("network_def").eval()
    student.load_state_dict(state)
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(exported(images), student(images), atol=1e-5)


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
