# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from monai.bundle import run

from monai_gmcl import StudentDescription
from monai_gmcl.commands.init import init
from monai_gmcl.commands.synthesize import synthesize
from monai_gmcl.data import make_phantom, open_data
from monai_gmcl.teachers import PolicyTeacher, save_teacher

CONFIGS = Path(__file__).parents[2] / "bundles" / "gmcl_classification" / "configs"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output folder as a training on the phantom leaves it."""
    make_phantom(tmp_path / "output" / "phantom", {"train": 3, "valid": 1, "test": 1}, size=32)
    save_teacher(PolicyTeacher(2, 3, 4), tmp_path / "output" / "teacher.safetensors")
    return tmp_path / "output"


def test_the_configuration_writes_what_the_command_writes(output: Path, tmp_path: Path) -> None:
    source = {"source_dir": str(output / "phantom" / "train"), "image_size": 16}
    run(config_file=str(CONFIGS / "synthesize.yaml"), output_dir=str(output), per_class=4, **source)
    found = output / "synthetic"
    synthesize(str(output / "teacher.safetensors"), str(tmp_path / "set"), str(output / "phantom"), 4, size=16)
    files = sorted(path.relative_to(found) for path in found.rglob("*") if path.is_file())
    assert len([path for path in files if path.suffix == ".png"]) == 17
    assert all((found / path).read_bytes() == (tmp_path / "set" / path).read_bytes() for path in files)
    assert sorted(path.name for path in (output / "synthetic_review").iterdir()) == [
        *("closest_pairs.csv", "closest_pairs.png"),
    ]
    assert open_data(found / "datalist.json").num_classes == 4


def test_the_teacher_that_comes_with_the_bundle_changes_the_phantom_at_once(tmp_path: Path) -> None:
    """In a copy that has not been trained, with no other option than the number of images."""
    init(str(tmp_path / "mine"))
    run(config_file=str(tmp_path / "mine/configs/synthesize.yaml"), bundle_root=str(tmp_path / "mine"), per_class=1)
    assert len(list((tmp_path / "mine" / "output" / "synthetic").rglob("*_*/*.png"))) == 4


def test_images_are_read_as_in_training() -> None:
    """As the teacher's file tells; what the configuration says of it would be a second opinion."""
    synthesis = yaml.safe_load((CONFIGS / "synthesize.yaml").read_text())
    assert all(synthesis[name] is None for name in StudentDescription(["a"], 2, 1).reading())
