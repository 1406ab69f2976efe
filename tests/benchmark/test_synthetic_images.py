# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from monai_gmcl.benchmark.arms import ARMS, gmcl_arm
from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.benchmark.student_run import StudentRun
from monai_gmcl.benchmark.synthetic_images import diversity_of_some, lesson_measures, write_picture
from monai_gmcl.metrics import diversity
from monai_gmcl.teachers import LatentTeacher

OPTIONS = DataOptions("shades", 3, size=16)
IMAGES = torch.rand(24, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 2


def test_diversity_is_measured_of_all_images_where_they_are_few_and_of_some_where_not() -> None:
    many = torch.rand(1001, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    assert diversity_of_some(many[:500]) == diversity(many[:500])
    assert diversity_of_some(many) == diversity(many[::3])


def latent_teacher(options: DataOptions) -> LatentTeacher:
    return LatentTeacher(2, options.channels, options.classes, options.image_size)


BUILDERS = {"gmcl": ARMS["gmcl"].build, "frozen": ARMS["frozen"].build, "latent": gmcl_arm(latent_teacher)}


@pytest.mark.parametrize("arm", BUILDERS)
def test_lessons_of_every_teacher_are_measured_and_the_seed_decides(arm: str) -> None:
    run = StudentRun(BUILDERS[arm], OPTIONS, IMAGES, IMAGES, seed=0, steps=4)
    run.run()
    measures = lesson_measures(run.trainer, IMAGES, 0)
    assert measures == lesson_measures(run.trainer, IMAGES, 0) != lesson_measures(run.trainer, IMAGES, 1)
    assert measures["diversity_real"] == diversity(IMAGES[0])
    assert measures["diversity"] > 0 and 0 <= measures["memorization"] <= 1


def test_a_picture_has_a_block_of_each_pass_and_stays_out_of_repositories(tmp_path: Path) -> None:
    real, lesson = torch.full((40, 3, 6, 6), 0.2), torch.full((3, 3, 2, 6, 6), 0.6)
    write_picture(tmp_path / "pictures" / "step.png", [real, lesson])
    pixels = np.asarray(Image.open(tmp_path / "pictures" / "step.png"))
    assert [int((pixels == round(255 * level)).all(2).sum()) for level in (0.2, 0.6)] == [32 * 144, 3 * 144]
    assert (tmp_path / "pictures" / ".gitignore").read_text() == "*\n"
