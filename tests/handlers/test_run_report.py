# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import base64
import html
import io
import logging
import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from monai.data import Dataset
from monai.data.dataloader import DataLoader
from monai.engines import SupervisedEvaluator
from monai.handlers import ValidationHandler
from monai.transforms import RandFlipd
from PIL import Image
from torch import Tensor, nn

from monai_gmcl import GMCLTrainer, PolicyTeacher, StudentDescription, save_student
from monai_gmcl.handlers import CurriculumLog, CurvesHandler, ImageGridHandler, PolicyLog, RunReport
from monai_gmcl.handlers.epoch_table import OperationTable
from monai_gmcl.teachers import LatentTeacher

CHROMIUM = shutil.which("chromium")
PARTS = [
    "The student",
    "Curriculum",
    "Synthetic images by epoch",
    "Where the student looks",
    "The teacher",
    "Environment",
    "The runs",
]


def items(n: int, labels: Tensor, dims: int) -> list[dict[str, Any]]:
    images = torch.rand(n, 1, *[12] * dims, generator=torch.Generator().manual_seed(0))
    return [{"image": image, "label": label} for image, label in zip(images, labels, strict=True)]


def student_of(dims: int, outputs: int) -> nn.Module:
    convolution, pool = ((nn.Conv2d, nn.AdaptiveAvgPool2d), (nn.Conv3d, nn.AdaptiveAvgPool3d))[dims - 2]
    return nn.Sequential(
        convolution(1, 4, 3), nn.ReLU(), convolution(4, 4, 3), pool(1), nn.Flatten(), nn.Linear(4, outputs)
    )


def run(folder: Path, labels: Tensor, outputs: int, dims: int = 2, **changes: Any) -> str:
    """Train for two epochs; return the page."""
    torch.manual_seed(0)
    student = changes.pop("student", None) or student_of(dims, outputs)
    data = DataLoader(items(len(labels), labels, dims), batch_size=4)
    evaluator = changes.pop("evaluator", None) or SupervisedEvaluator(torch.device("cpu"), data, student)
    classes = max(outputs, 2)
    teacher = changes.pop("teacher", None) or PolicyTeacher(spatial_dims=dims, in_channels=1, num_classes=classes)
    loss = nn.BCEWithLogitsLoss() if labels.is_floating_point() else nn.CrossEntropyLoss()
    logs, train, frozen = (
        changes.pop(name, default) for name, default in (("logs", []), ("train", data), ("frozen", False))
    )
    report = RunReport(folder, evaluator, **changes)
    handlers = [CurriculumLog(folder), *logs, ImageGridHandler(folder), CurvesHandler(folder), report]
    GMCLTrainer(
        "cpu",
        2,
        train,
        student,
        torch.optim.AdamW(student.parameters(), 1e-3),
        loss,
        train_handlers=handlers,
        teacher=teacher,
        teacher_optimizer=None if frozen else torch.optim.Adam(teacher.parameters(), 0.01),
        seed=0,
    ).run()
    return (folder / "report.html").read_text(encoding="utf-8")


def pictures(page: str) -> dict[str, Image.Image]:
    found = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]+)"', page)
    return {html.unescape(alt): Image.open(io.BytesIO(base64.b64decode(data))) for data, alt in found}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run with three classes."""
    folder = tmp_path_factory.mktemp("report")
    names = ["no <change>", "lesion", "other"]
    run(folder, torch.arange(9) % 3, 3, class_names=names, settings={"data": "drawn", "size": 12})
    return folder / "report.html"


def test_the_page_shows_all_that_one_wants_to_look_at(shown: Path) -> None:
    page = shown.read_text(encoding="utf-8")
    assert [html.unescape(title) for title in re.findall(r"<h2[^>]*>([^<]+)</h2>", page)] == PARTS
    assert "could not be made" not in page and "<script" not in page and "http" not in page.replace("http-equiv", "")
    found = pictures(page)
    assert [re.split("[:,]", alt)[0] for alt in found] == [
        *(
            "Confusion matrix",
            "Reliability diagram with the number of images in each bin. Expected calibration error",
            "Curves by epoch",
            "Epoch 1",
            "Epoch 2",
            "Validation images",
        )
    ]
    assert all(min(picture.size) > 200 for picture in found.values())
    for told in (
        *("no &lt;change&gt;", "2 epochs of 3 iterations, seed 0", "AdamW, learning rate 0.001", "PolicyTeacher"),
        *("drawn", "brightness", "Attach a PolicyLog", "Results of the last checkpoint on the"),
    ):
        assert told in page


def test_the_student_is_the_one_that_validation_chose(tmp_path: Path) -> None:
    labels = torch.arange(8) % 2
    sure = student_of(2, 2)
    nn.init.zeros_(sure[-1].weight)
    sure[-1].bias.data = torch.tensor([5.0, -5.0])
    save_student(sure, tmp_path / "model.pt", StudentDescription(["a", "b"], 2, 1))
    page = run(tmp_path, labels, 2, model_file=tmp_path / "model.pt")
    assert "Results of the best-validation checkpoint" in page
    # It takes all images for the first class.
    cells = re.findall(r'<th scope="row">([^<]+)</th><td>(\d+)</td><td>(\d+)</td><td>([^<]+)</td>', page)
    assert cells[:3] == [("0", "4", "8", "1.000"), ("1", "4", "0", "0.000"), ("all", "8", "8", "0.500")]


@pytest.mark.parametrize(
    ("labels", "outputs", "dims"),
    [((torch.arange(8) % 2).float()[:, None], 1, 3), (torch.eye(4).repeat(2, 1), 4, 2)],
)
def test_one_logit_several_labels_and_volumes_are_reported_too(
    labels: Tensor, outputs: int, dims: int, tmp_path: Path
) -> None:
    page = run(tmp_path, labels, outputs, dims)
    assert "could not be made" not in page
    several = outputs > 1
    assert ("By label" in page) == several and ("Confusion matrix" in page) != several


def test_what_cannot_be_made_says_why_and_the_rest_is_there(tmp_path: Path, caplog: Any) -> None:
    teacher = LatentTeacher(spatial_dims=2, in_channels=1, num_classes=2, image_size=12, channels=4)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(144, 2))
    page = run(tmp_path, torch.arange(8) % 2, 2, student=linear, teacher=teacher)
    assert "could not be made: Grad-CAM needs a convolution, and Sequential has none." in page
    assert "The teacher is a LatentTeacher, which has no policy." in page
    assert "Confusion matrix" in page
    assert "'Where the student looks' could not be made" in caplog.text


def test_of_the_policy_it_tells_effects_the_course_and_what_was_turned_down(tmp_path: Path) -> None:
    student, labels = student_of(2, 2), torch.arange(40) % 2
    loader = DataLoader(items(40, labels, 2), batch_size=20)
    evaluator = SupervisedEvaluator(torch.device("cpu"), loader, student)
    teacher = PolicyTeacher(2, 1, 2, include=["flip", "gamma", "noise", "zoom"])
    with torch.no_grad():
        teacher.log_odds.fill_(-3.0)
        teacher.log_share[:] = torch.tensor([0.0, -3.0, 0.4])  # zoom, gamma, noise
    teacher.requires_grad_(False)
    logs = [PolicyLog(tmp_path, evaluator=evaluator), ValidationHandler(1, evaluator, epoch_level=True)]
    train = DataLoader(Dataset(items(40, labels, 2), RandFlipd("image", 0.5)), batch_size=4)
    page = run(
        tmp_path, labels, 2, student=student, evaluator=evaluator, teacher=teacher, logs=logs, frozen=True, train=train
    )
    assert "could not be made" not in page
    assert "The teacher turned down flip, but the transform RandFlipd flips the real images" in html.unescape(page)
    assert "Turned down (share below 1/2): flip, gamma." in page
    (alt,) = [alt for alt in pictures(page) if alt.startswith("Share of each operation by epoch")]
    assert alt.endswith("Turned down in the last epoch: flip, gamma") and min(pictures(page)[alt].size) > 200
    logged = [row for row in OperationTable(tmp_path / "policy.csv").read() if row["epoch"] == 2]
    assert len(logged) == 4
    for row in logged:
        (cells,) = re.findall(rf'<th scope="row">{row["operation"]}</th>(.*?)</tr>', page)
        shown = re.findall(r"<td[^>]*>([^<]*)</td>", cells)
        assert shown[4] == f"{row['share']:.2f}"
        assert shown[5] == ("–" if math.isnan(row["effect"]) else f"{row['effect']:+.3f}")
        assert shown[7] == ("turned down" if row["operation"] in ("flip", "gamma") else "")
    assert "measured in epoch" in page and "Attach a PolicyLog" not in page


def test_a_validation_that_fails_costs_the_page_and_not_the_run(tmp_path: Path, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(FileNotFoundError):
        run(tmp_path, torch.arange(8) % 2, 2, evaluator=Engine(lambda engine, batch: None))
    assert "report.html was not written: the student could not be validated again" in caplog.text


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: the page is not rendered")
@pytest.mark.parametrize("width", [1280, 500])
def test_the_page_renders_without_errors_and_without_overflow(width: int, shown: Path, tmp_path: Path) -> None:
    shot, log = render(shown, tmp_path, width)
    assert shot.size == (width, 3000) and len(shot.convert("L").getcolors() or range(256)) > 50
    assert not [line for line in log.splitlines() if "CONSOLE" in line]


def render(page: Path, folder: Path, width: int) -> tuple[Image.Image, str]:
    """Return a screenshot of headless Chromium, and what it said."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    flags += ["--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}"]
    flags += [f"--window-size={width},3000", f"--screenshot={folder / 's.png'}"]
    assert CHROMIUM is not None
    ran = subprocess.run([CHROMIUM, *flags, page.as_uri()], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return Image.open(folder / "s.png"), ran.stderr
