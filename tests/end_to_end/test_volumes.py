# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader
from monai.networks.nets import ResNet
from monai.utils import set_determinism

from monai_gmcl import GMCLTrainer, ImageTeacher, LatentTeacher, PolicyTeacher, Teacher, save_teacher
from monai_gmcl.benchmark.arms import ARMS
from monai_gmcl.benchmark.data_sets import BenchmarkData, DataOptions
from monai_gmcl.benchmark.student_run import StudentRun
from monai_gmcl.commands.synthesize import synthesize
from monai_gmcl.data import image_transforms, make_volume_phantom, open_data
from monai_gmcl.metrics.classification import classification_measures

SIZE = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_volume_phantom(tmp_path_factory.mktemp("data") / "volumes", {"train": 6, "valid": 2, "test": 2})


def train(folder: Path, teacher: Teacher, **arguments: Any) -> GMCLTrainer:
    set_determinism(0)
    data = open_data(folder)
    images = CacheDataset(data.training, image_transforms(3, 1, size=SIZE), progress=False)
    student = ResNet("basic", [1, 1, 1, 1], [4, 8, 8, 8], 3, 1, conv1_t_size=3, num_classes=data.num_classes)
    trainer = GMCLTrainer(
        device="cpu",
        max_epochs=2,
        train_data_loader=DataLoader(images, batch_size=8, shuffle=True),
        network=student,
        optimizer=torch.optim.AdamW(student.parameters(), lr=1e-3),
        loss_function=torch.nn.CrossEntropyLoss(),
        teacher=teacher,
        teacher_optimizer=torch.optim.Adam(teacher.parameters(), lr=1e-2),
        seed=0,
        **arguments,
    )
    trainer.run()
    return trainer


TEACHERS = {
    "policy": lambda: PolicyTeacher(3, 1, 4),
    "image": lambda: ImageTeacher(3, 1, 4),
    "latent": lambda: LatentTeacher(3, 1, 4, SIZE),
}


@pytest.mark.parametrize("kind", TEACHERS)
def test_every_kind_of_teacher_trains_on_volumes_and_writes_volumes(kind: str, folder: Path, tmp_path: Path) -> None:
    set_determinism(0)
    teacher = TEACHERS[kind]()
    before = [parameter.detach().clone() for parameter in teacher.parameters()]
    trainer = train(folder, teacher)
    assert any(not torch.equal(a, b) for a, b in zip(before, teacher.parameters(), strict=True))
    assert trainer.state.output[0]["synthetic_image"].shape == (1, SIZE, SIZE, SIZE)
    file = save_teacher(teacher, tmp_path / "teacher.safetensors", open_data(folder).class_names)
    synthesize(str(file), str(tmp_path / "set"), str(folder / "train"), 5, size=SIZE, difficulty=0.5)
    written = sorted((tmp_path / "set" / "images").rglob("*.nii.gz"))
    assert len(written) == 20
    read = image_transforms(3, 1, size=SIZE)
    if teacher.needs_images:
        real = [read({"image": str(path)})["image"].affine.numpy() for path in (folder / "train").rglob("*.nii.gz")]
        for path in written:
            affine = nibabel.load(path).affine
            assert any(np.allclose(affine, other, atol=1e-3) for other in real), "The place of some source."
    again = open_data(tmp_path / "set" / "datalist.json")
    assert again.spatial_dims == 3 and read(again.training[0])["image"].shape == (1, SIZE, SIZE, SIZE)


@pytest.mark.slow
def test_in_five_minutes_a_student_of_volumes_is_far_above_chance_and_near_plain_training(tmp_path: Path) -> None:
    began = time.perf_counter()
    make_volume_phantom(tmp_path / "volumes", {"train": 12, "valid": 40, "test": 60})
    options = DataOptions(str(tmp_path / "volumes"), 1, size=16, spatial_dims=3, classes=4)
    data = BenchmarkData(options)
    labeled, _ = data.draw(10, 0)
    images, labels = data.split("test")
    found = {}
    for arm, steps in (("standard", 300), ("gmcl", 300)):
        run = StudentRun(ARMS[arm].build, options, labeled, data.choosing, 0, steps)
        run.run()
        found[arm] = classification_measures(run.probabilities("final", images), labels)["auc"]
    assert found["gmcl"] > 0.7 and found["gmcl"] > found["standard"] - 0.06, found
    assert time.perf_counter() - began < 300
