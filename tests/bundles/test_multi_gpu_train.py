# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import html
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

import monai_gmcl
from monai_gmcl.data import make_mask_phantom, make_phantom

BUNDLES = Path(__file__).parents[2] / "bundles"
CONFIGS = BUNDLES / "gmcl_classification" / "configs"
SMALL = {"image_size": 16, "batch_size": 4, "device": "cpu", "network_def#layers": [1, 1, 1, 1]}


def start(cwd: Path, folder: Path = CONFIGS, **options: Any) -> subprocess.Popen[str]:
    """Start a bundle on two processes, as a user does with torchrun."""
    configs = [str(folder / "train.yaml"), str(folder / "multi_gpu_train.yaml")]
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "1", "--nproc_per_node", "2"]
    # A port of its own: tests run beside each other.
    command += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0", "-m", "monai.bundle", "run"]
    command += [f"--config_file={configs}", *(f"--{name}={value}" for name, value in options.items())]
    path = os.pathsep.join([str(Path(monai_gmcl.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.parametrize("trusted", [False, True])
def test_two_processes_train_and_the_first_one_writes(trusted: bool, data: Path, tmp_path: Path) -> None:
    elsewhere, output = tmp_path / "elsewhere", tmp_path / "output"
    elsewhere.mkdir()
    more = (
        {"trusted_dir": make_phantom(tmp_path / "sure", {"images": 2}, size=32, seed=1) / "images"} if trusted else {}
    )
    run = start(elsewhere, **SMALL, dataset_dir=data, output_dir=output, max_epochs=2, **more)
    messages, _ = run.communicate(timeout=240)
    assert run.returncode == 0, messages[-4000:]
    assert not list(elsewhere.iterdir())
    written = {path.name for path in output.iterdir() if "tfevents" not in path.name}
    tables = {"curriculum.csv", "policy.csv", "curves.png", "report.html"}
    assert written == {"checkpoints", "images", "model.pt", "teacher.safetensors", *tables}
    assert "of the first rank" in html.unescape((output / "report.html").read_text())
    assert len(list(output.glob("*tfevents*"))) == 1
    # 16 images, two ranks of four.
    assert messages.count("Epoch 2/2: ") == 1 and messages.count("The run has finished") == 1
    assert len((output / "curriculum.csv").read_text().splitlines()) == 3


def test_two_processes_train_on_masks(tmp_path: Path) -> None:
    folder = make_mask_phantom(tmp_path / "masks", {"train": 4, "valid": 3, "test": 1}, size=24)
    options = {"dataset_dir": folder, "patch_size": 16, "batch_size": 1, "val_interval": 2, "device": "cpu"}
    configs = BUNDLES / "gmcl_segmentation" / "configs"
    run = start(tmp_path, configs, output_dir=tmp_path / "output", max_epochs=2, **options)
    messages, _ = run.communicate(timeout=240)
    assert run.returncode == 0, messages[-4000:]
    assert messages.count("Epoch 2/2: ") == 1 and messages.count("The run has finished") == 1
    assert {"model.pt", "teacher.safetensors", "report.html"} <= {path.name for path in (tmp_path / "output").iterdir()}
    assert len(list((tmp_path / "output").glob("*tfevents*"))) == 1


@pytest.mark.slow
def test_where_one_rank_dies_the_job_ends_within_a_minute_and_says_so(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    run = start(tmp_path, **SMALL, dataset_dir=data, output_dir=output, max_epochs=100000)
    while not (output / "curriculum.csv").exists():
        assert run.poll() is None
        time.sleep(0.2)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    ranks = [int(child) for child in children if b"monai.bundle" in Path(f"/proc/{child}/cmdline").read_bytes()]
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    killed = time.monotonic()
    messages, _ = run.communicate(timeout=120)
    assert time.monotonic() - killed < 60
    assert run.returncode != 0
    assert "Signal 9 (SIGKILL) received by PID" in messages
    assert not any(Path(f"/proc/{rank}").exists() for rank in ranks)


@pytest.mark.parametrize("bundle", ["gmcl_classification", "gmcl_segmentation"])
def test_the_configuration_changes_what_ranks_need_and_no_more(bundle: str) -> None:
    changed, base = (
        yaml.safe_load((BUNDLES / bundle / "configs" / name).read_text())
        for name in ("multi_gpu_train.yaml", "train.yaml")
    )
    assert base["train"]["handlers"][2]["_target_"] == "monai.handlers.TensorBoardStatsHandler"
    assert base["validate"]["handlers"][0]["_target_"] == "monai.handlers.TensorBoardStatsHandler"
    assert set(base["imports"]) <= set(changed["imports"])
    kept = [line for line in base["initialize"] if line in changed["initialize"]]
    assert kept == base["initialize"]
    own = {"imports", "rank_timeout", "rank", "initialize", "finalize", "device", "summary_writer"}
    assert {key for key in changed if "#" not in key} == own
