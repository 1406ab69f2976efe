# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""What a user adds to the bundle's command: a path into the configuration, their own data, tracking."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

import monai_gmcl
from monai_gmcl.commands.init import init
from monai_gmcl.data import make_phantom


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle of one's own, trained on data of one's own, with all of the options; called from elsewhere."""
    folder = tmp_path_factory.mktemp("mine")
    init(str(folder / "bundle"))
    make_phantom(folder / "data", {"train": 4, "valid": 2, "test": 1}, size=32)
    (folder / "data" / "train" / "3_cin3").rename(folder / "data" / "train" / "other")
    (folder / "data" / "valid" / "3_cin3").rename(folder / "data" / "valid" / "other")
    (folder / "data" / "test" / "3_cin3").rename(folder / "data" / "test" / "other")
    (folder / "elsewhere").mkdir()
    options = {
        "bundle_root": "../bundle",
        "config_file": "../bundle/configs/train.yaml",
        "dataset_dir": "../data",
        "image_size": 16,
        "tracking": "mlflow",
        "train#trainer#max_epochs": 2,
        "train#dataloader#batch_size": 4,
        "network_def#layers": [1, 1, 1, 1],
        "device": "cpu",
    }
    command = [sys.executable, "-m", "monai.bundle", "run", *(f"--{name}={value}" for name, value in options.items())]
    environment = {**os.environ, "PYTHONPATH": str(Path(monai_gmcl.__file__).parents[1]), "GIT_PYTHON_REFRESH": "quiet"}
    ran = subprocess.run(command, cwd=folder / "elsewhere", env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return folder


def test_a_path_into_the_configuration_changes_what_it_names(run: Path) -> None:
    output = run / "bundle" / "output"
    assert len((output / "curriculum.csv").read_text().splitlines()) == 3
    # 16 images in batches of 4.
    assert "2 epochs of 4 iterations" in (output / "report.html").read_text()


def test_data_of_ones_own_are_read(run: Path) -> None:
    assert ">other<" in (run / "bundle" / "output" / "report.html").read_text()
    assert not list((run / "elsewhere").iterdir())


def test_mlflow_tracks_losses_and_validation(run: Path) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{run}/bundle/output/mlruns.db")
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    (tracked,) = client.search_runs([experiment.experiment_id])
    assert tracked.info.status == "FINISHED"
    assert {"train_loss", "val_auc"} <= {*tracked.data.metrics}, tracked.data.metrics
