# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import filecmp
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from monai_gmcl.commands.init import BUNDLES, bundle_command, init
from monai_gmcl.exceptions import ConfigurationError

ROOT = Path(__file__).parents[2]


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("bundle", BUNDLES)
def test_the_bundle_is_copied_whole_and_says_how_to_train_it(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init(str(tmp_path / "mine"), bundle)
    ours = {name for name in files_of(ROOT / "bundles" / bundle) if not name.startswith("output/")}
    assert files_of(tmp_path / "mine") == ours
    same, changed, odd = filecmp.cmpfiles(ROOT / "bundles" / bundle, tmp_path / "mine", sorted(ours), shallow=False)
    assert (changed, odd) == ([], []) and len(same) == len(ours)
    config = capsys.readouterr().out.split("--config_file ")[1].strip()
    parser = ConfigParser()
    parser.read_config(config)
    assert parser["train#trainer#_target_"] == "monai_gmcl.engines.GMCLTrainer"


@pytest.mark.parametrize("root", ["mine", "my bundle"])
def test_the_line_that_runs_a_bundle_keeps_its_words_together(root: str) -> None:
    line = bundle_command(root, "train.yaml", "evaluate.yaml", dataset_dir="", output_dir="the output")
    *start, files, name, folder = shlex.split(line)
    assert start == ["python", "-m", "monai.bundle", "run", "--bundle_root", root, "--config_file"]
    assert files == f"['{root}/configs/train.yaml', '{root}/configs/evaluate.yaml']"
    assert (name, folder) == ("--output_dir", "the output")


def test_an_empty_folder_is_taken_and_what_stands_there_is_kept(tmp_path: Path) -> None:
    init(str(tmp_path))
    settings = tmp_path / "configs" / "train.yaml"
    settings.write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="is not empty. Expected a new or an empty folder"):
        init(str(tmp_path))
    with pytest.raises(ConfigurationError, match="train.yaml"):
        init(str(settings))
    assert settings.read_text(encoding="utf-8") == "mine"


def test_another_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="bundle must be one of gmcl_classification, gmcl_segmentation"):
        init(str(tmp_path / "mine"), "spleen")


@pytest.mark.gate
def test_the_wheel_holds_the_bundles(tmp_path: Path) -> None:
    copy = tmp_path / "checkout"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(copy)], check=True)
    # Else pip removes the installation that this test runs in.
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--ignore-installed"]
    built = subprocess.run([*pip, "--prefix", str(tmp_path / "environment"), str(copy)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (packages,) = (tmp_path / "environment").glob("**/site-packages")
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    for bundle in BUNDLES:
        command = [sys.executable, "-m", "monai_gmcl", "init", str(tmp_path / bundle), bundle]
        ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        assert files_of(tmp_path / bundle) == files_of(copy / "bundles" / bundle)
