# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""MONAI's own exports of the student that comes with the bundle, each beside the student in torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from monai.bundle import ckpt_export, onnx_export
from monai.bundle.config_parser import ConfigParser
from torch import Tensor, nn

BUNDLE = Path(__file__).parents[2] / "bundles" / "gmcl_classification"
FILES = {
    "ckpt_file": str(BUNDLE / "models" / "model.pt"),
    "meta_file": str(BUNDLE / "configs" / "metadata.json"),
    "config_file": str(BUNDLE / "configs" / "inference.yaml"),
    "bundle_root": str(BUNDLE),
}


@pytest.fixture
def student() -> nn.Module:
    parser = ConfigParser()
    parser.read_config(FILES["config_file"])
    parser["bundle_root"] = str(BUNDLE)
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(FILES["ckpt_file"], weights_only=True))
    return network.eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_torchscript_gives_what_the_student_gives(student: nn.Module, images: Tensor, tmp_path: Path) -> None:
    ckpt_export("network_def", filepath=str(tmp_path / "student.ts"), **FILES)
    exported = torch.jit.load(tmp_path / "student.ts")
    assert torch.allclose(exported(images), student(images), atol=1e-5)


@torch.no_grad()
def test_onnx_gives_what_the_student_gives(student: nn.Module, images: Tensor, tmp_path: Path) -> None:
    path = tmp_path / "student.onnx"
    onnx_export("network_def", filepath=str(path), input_shape=list(images.shape), **FILES)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    expected = student(images).numpy()
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4)
