# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.transforms import AsDiscreted
from torch import nn

from monai_gmcl import PolicyTeacher, Teacher
from monai_gmcl.handlers import CurriculumLog, ImageGridHandler, image_grid


class Painter(Teacher):
    """Makes images from label and latent alone."""

    needs_images = False

    def __init__(self):
        super().__init__(2, 1, 2)
        self.level = nn.Parameter(torch.tensor(0.5))

    def draw_latents(self, n, image_shape, generator=None):
        return torch.rand((n, *image_shape), generator=generator)

    def change(self, images, labels, latents, difficulty):
        assert images is None
        return self.level * latents


class Careless(nn.Module):
    """A plain module that draws from the global generator."""

    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.tensor(0.1))

    def forward(self, images, labels, latents, difficulty):
        return images + self.level * torch.randn_like(images)


class Moody(Painter):
    """Tells in its images whether it is in training, and how it has been trained in its latents."""

    def draw_latents(self, n, image_shape, generator=None):
        return self.level.detach() * torch.ones(n, *image_shape)

    def change(self, images, labels, latents, difficulty):
        return latents if not self.training else latents * self.level


@pytest.fixture
def drawn(monkeypatch):
    """What is to be drawn, page by page, in place of drawing it."""
    pages = []

    def spy(rows, title, headings, value_range, tile):
        pages.append({"rows": rows, "title": title, "range": value_range})
        return b""

    monkeypatch.setattr(image_grid, "image_sheet", spy)
    return pages


def pixels(path):
    return matplotlib.image.imread(path)[..., :3]


@pytest.mark.parametrize("spatial_dims, channels", [(2, 3), (2, 4), (3, 1)])
def test_a_readable_picture_is_written_each_epoch(make_trainer, tmp_path, spatial_dims, channels):
    make_trainer([ImageGridHandler(tmp_path)], spatial_dims, channels).run()
    files = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert files == ["epoch_0001.png", "epoch_0002.png"]
    for name in files:
        picture = pixels(tmp_path / "images" / name)
        left, right = np.array_split(picture[len(picture) // 4 :], 2, axis=1)
        assert left.std() > 0.05 and right.std() > 0.05


def test_the_interval_leaves_epochs_out(make_trainer, tmp_path):
    make_trainer([ImageGridHandler(tmp_path, interval=2)], max_epochs=5).run()
    assert sorted(p.name for p in (tmp_path / "images").iterdir()) == ["epoch_0002.png", "epoch_0004.png"]


def test_real_images_are_the_first_of_each_class_in_training(make_trainer, tmp_path, drawn):
    trainer = make_trainer([ImageGridHandler(tmp_path, per_class=3)])
    seen = {0: [], 1: []}

    @trainer.on(Events.ITERATION_COMPLETED)
    def collect(engine):
        for item in engine.state.output:
            seen[int(item["label"])].append(item["image"])

    trainer.run()
    for page in drawn:
        for row, label in zip(page["rows"], (0, 1), strict=True):
            assert torch.equal(row.blocks[0], torch.stack(seen[label][:3]))


def test_only_the_teacher_and_difficulty_change_from_page_to_page(make_trainer, tmp_path, drawn):
    frozen = make_trainer([ImageGridHandler(tmp_path)], teacher_optimizer=None)
    frozen.curriculum.difficulty = 1.0
    frozen.run()
    for first, second in zip(drawn[0]["rows"], drawn[1]["rows"], strict=True):
        assert torch.equal(first.blocks[0], second.blocks[0])
        assert torch.equal(first.blocks[1], second.blocks[1])
        assert not torch.equal(first.blocks[0], first.blocks[1])


def test_synthetic_images_are_made_at_the_difficulty_of_the_moment(make_trainer, tmp_path, drawn):
    trainer = make_trainer([ImageGridHandler(tmp_path)])
    trainer.curriculum.difficulty = lambda progress: 2.0 * (progress >= 0.5)
    trainer.run()
    first, second = drawn
    assert all(torch.equal(row.blocks[0], row.blocks[1]) for row in first["rows"])
    assert not any(torch.equal(row.blocks[0], row.blocks[1]) for row in second["rows"])
    assert [page["title"] for page in drawn] == ["Epoch 1, difficulty 0", "Epoch 2, difficulty 2"]


def test_the_seed_alone_decides_on_the_latents(make_trainer, tmp_path, drawn):
    for seed in (0, 0, 1):
        make_trainer([ImageGridHandler(tmp_path, seed=seed)], max_epochs=1).run()
        torch.rand(1)
    one, same, other = (page["rows"][0].blocks[1] for page in drawn)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_an_image_keeps_its_latents_when_its_class_fills_up(make_trainer, tmp_path, drawn):
    trainer = make_trainer([ImageGridHandler(tmp_path, per_class=6)], epoch_length=1, teacher_optimizer=None)
    trainer.curriculum.difficulty = 1.0
    trainer.run()
    for first, second in zip(drawn[0]["rows"], drawn[1]["rows"], strict=True):
        assert len(first.blocks[1]) < len(second.blocks[1])
        # Rounding depends on the batch.
        assert torch.allclose(first.blocks[1], second.blocks[1][: len(first.blocks[1])], atol=1e-5)


def test_training_takes_the_same_course_with_pictures_and_a_log(make_trainer, tmp_path):
    plain, pictured = make_trainer([]), make_trainer([ImageGridHandler(tmp_path), CurriculumLog(tmp_path)])
    plain.run()
    pictured.run()
    for part in ("teacher", "network"):
        ends = [getattr(run, part).parameters() for run in (plain, pictured)]
        assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))


def test_global_random_numbers_and_the_teachers_mode_stay_as_they_are(make_trainer, tmp_path):
    trainer = make_trainer([], teacher=Careless())
    states = []
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: states.append(torch.get_rng_state()))
    ImageGridHandler(tmp_path).attach(trainer)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: states.append(torch.get_rng_state()))
    trainer.run()
    assert torch.equal(states[0], states[1])
    assert trainer.teacher.training
    assert all(p.grad is None or not p.grad.requires_grad for p in trainer.teacher.parameters())


def test_the_teacher_is_drawn_as_in_use_with_latents_that_never_change(make_trainer, tmp_path, drawn):
    trainer = make_trainer([], teacher=Moody())
    at_start = []
    trainer.add_event_handler(Events.EPOCH_COMPLETED(once=1), lambda e: at_start.append(e.teacher.level.item()))
    ImageGridHandler(tmp_path).attach(trainer)
    trainer.run()
    assert trainer.teacher.level.item() != at_start[0]
    for page in drawn:
        for row in page["rows"]:
            assert torch.equal(row.blocks[1], torch.full_like(row.blocks[1], at_start[0]))


def test_a_teacher_that_needs_no_images_is_drawn(make_trainer, tmp_path, drawn):
    make_trainer([ImageGridHandler(tmp_path, per_class=2)], teacher=Painter()).run()
    assert all(row.blocks[1].shape == (2, 1, 8, 8) for row in drawn[1]["rows"])


def test_images_are_drawn_without_their_normalization(make_trainer, tmp_path, drawn):
    teacher = PolicyTeacher(2, 1, 2, value_range=(-5.0, 9.0), mean=[2.0], std=[4.0])
    trainer = make_trainer([ImageGridHandler(tmp_path)], teacher=teacher, max_epochs=1)
    seen = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(e.state.output[0]["image"]))
    trainer.run()
    assert drawn[0]["range"] == (-5.0, 9.0)
    real = torch.cat([row.blocks[0] for row in drawn[0]["rows"]])
    assert any(torch.allclose(seen[0] * 4 + 2, image, atol=1e-6) for image in real)


@pytest.mark.parametrize("decollate", [True, False])
def test_postprocessing_does_not_confuse_the_classes_and_their_names_may_be_missing(
    make_trainer, tmp_path, drawn, decollate
):
    arguments = {"postprocessing": AsDiscreted(keys="label", to_onehot=2)} if decollate else {}
    handlers = [ImageGridHandler(tmp_path, class_names=["benign"])]
    make_trainer(handlers, max_epochs=1, decollate=decollate, **arguments).run()
    assert [row.name for row in drawn[0]["rows"]] == ["benign", "1"]
