# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
from monai.bundle import ConfigWorkflow
from PIL import Image

from monai_gmcl.data import make_phantom

CONFIGS = Path(__file__).parents[2] / "bundles" / "gmcl_classification" / "configs"


def _start(data: Path, output: Path, **options: object) -> None:
    """All that comes before the first step of a training."""
    workflow = ConfigWorkflow(
        str(CONFIGS / "train.yaml"),
        meta_file=str(CONFIGS / "metadata.json"),
        logging_file=False,
        workflow_type="train",
        dataset_dir=str(data),
        output_dir=str(output),
        device="cpu",
        **options,
    )
    workflow.initialize()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_phantom(tmp_path / "phantom", {"train": 2, "valid": 2, "test": 2}, size=16)


def test_a_bad_file_stops_the_training_before_it_begins(data: Path, tmp_path: Path) -> None:
    (data / "test" / "1_cin1" / "0001.png").write_bytes(b"")
    with pytest.raises(Exception, match="data_check") as caught:
        _start(data, tmp_path)
    assert "test/1_cin1/0001.png', found an empty file" in str(caught.value.__cause__)


def test_the_check_can_be_turned_off_and_the_pixel_limit_set(data: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="data_check") as caught:
        _start(data, tmp_path, pixel_limit=255)
    assert "Expected at most 255 pixels" in str(caught.value.__cause__)
    _start(data, tmp_path, pixel_limit=256)
    Image.new("RGB", (17, 16)).save(data / "test" / "1_cin1" / "0001.png")
    _start(data, tmp_path, pixel_limit=256, data_check=False)
