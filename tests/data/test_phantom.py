# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets import ResNet
from PIL import Image

from monai_gmcl.data import make_unlabeled_phantom, unlabeled_datalist
from monai_gmcl.data.phantom import make_phantom
from monai_gmcl.optical_density import separate_stains

FEW = {"train": 2, "valid": 1, "test": 1}
GRADES = ["0_normal", "1_cin1", "2_cin2", "3_cin3"]


def _pixels(folder: Path, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images ``(N, 3, H, W)`` in 0..1 and labels ``(N,)`` of a split."""
    paths = sorted((folder / split).glob("*/*.png"))
    images = np.stack([np.asarray(Image.open(path)) for path in paths])
    labels = [GRADES.index(path.parent.name) for path in paths]
    return torch.from_numpy(images).permute(0, 3, 1, 2) / 255, torch.tensor(labels)


def test_the_folder_holds_rgb_png_images_in_class_folders_and_a_record(tmp_path: Path) -> None:
    folder = make_phantom(tmp_path / "deep" / "phantom", FEW, size=32, seed=3)
    assert folder == tmp_path / "deep" / "phantom"
    expected = {f"{split}/{grade}/{i:04d}.png" for split, n in FEW.items() for grade in GRADES for i in range(n)}
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.*")} == expected | {"phantom.json"}
    for path in folder.rglob("*.png"):
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (32, 32))
    record = json.loads((folder / "phantom.json").read_text())
    assert isinstance(record.pop("version"), int)
    assert record == {"images_per_class": FEW, "size": 32, "seed": 3}


def test_the_zone_of_dark_nuclei_grows_with_the_grade(tmp_path: Path) -> None:
    images, labels = _pixels(make_phantom(tmp_path / "phantom", {"train": 25, "valid": 1, "test": 1}), "train")
    hematoxylin = separate_stains(images)[:, 0]
    thirds = [hematoxylin[:, rows].mean(dim=(1, 2)) for rows in (slice(42, 50), slice(28, 36), slice(14, 22))]
    by_grade = [[third[labels == grade].mean().item() for grade in range(4)] for third in thirds]
    # Each step to the next grade darkens its third more than the other two.
    steps = np.diff(np.array(by_grade), axis=1)
    assert steps.argmax(axis=0).tolist() == [0, 1, 2]
    assert steps.max(axis=0).min() > 0.03


def small_student_accuracy(folder: Path, seed: int, epochs: int = 40) -> float:
    """Test accuracy of a small residual network trained on the phantom's training split with horizontal flips."""
    images, labels = _pixels(folder, "train")
    torch.manual_seed(seed)
    student = ResNet(
        "basic",
        [1, 1, 1, 1],
        [16, 32, 64, 64],
        spatial_dims=2,
        n_input_channels=3,
        num_classes=4,
        conv1_t_size=3,
        conv1_t_stride=1,
    )
    optimizer = torch.optim.AdamW(student.parameters(), lr=2e-3)
    batches = len(labels) // 16
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=epochs * batches)
    for _ in range(epochs):
        for batch in torch.randperm(len(labels))[: 16 * batches].split(16):
            flipped = torch.rand(len(batch), 1, 1, 1) < 0.5
            inputs = torch.where(flipped, images[batch].flip(3), images[batch])
            loss = torch.nn.functional.cross_entropy(student(inputs), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    test_images, test_labels = _pixels(folder, "test")
    student.eval()
    with torch.no_grad():
        predicted = torch.cat([student(part).argmax(1) for part in test_images.split(100)])
    return (predicted == test_labels).float().mean().item()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_small_student_is_right_70_to_85_percent_of_the_time(tmp_path: Path, seed: int) -> None:
    accuracy = small_student_accuracy(make_phantom(tmp_path / "phantom"), seed)
    assert 0.70 <= accuracy <= 0.85


def test_grades_come_as_often_and_some_images_are_foreign(tmp_path: Path) -> None:
    images = make_unlabeled_phantom(tmp_path / "pool", count=20, foreign_share=0.2, size=16)
    kinds = json.loads((tmp_path / "pool" / "unlabeled_phantom.json").read_text())["kinds"]
    assert {kind: kinds.count(kind) for kind in (0, 1, 2, 3, "foreign")} == dict.fromkeys((0, 1, 2, 3, "foreign"), 4)
    for item, kind in zip(unlabeled_datalist(images), kinds, strict=True):
        image = np.asarray(Image.open(item["image"]))
        grey = bool((image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all())
        assert image.shape == (16, 16, 3) and grey == (kind == "foreign")
