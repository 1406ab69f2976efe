# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.teachers import ImageTeacher, LatentTeacher, PolicyTeacher, StainTeacher
from monai_gmcl.teachers.operations import OPERATIONS, PixelOperation

GEOMETRY = [operation.name for operation in OPERATIONS if not issubclass(operation, PixelOperation)]
PIXELWISE = [operation.name for operation in OPERATIONS if issubclass(operation, PixelOperation)]
SIZES = [(14, 14), (11, 16), (9, 12, 12)]


def teacher_of(include, dimensions, channels, **options):
    return PolicyTeacher(dimensions, channels, 3, include=include, probability=1.0, **options)


def random_mask(n, channels, size, values=(0, 1, 2, 5)):
    chosen = torch.randint(len(values), (n, channels, *size), generator=torch.Generator().manual_seed(1))
    return torch.tensor(values)[chosen]


def latents_of(teacher, n, size, seed=0):
    return teacher.draw_latents(n, (teacher.in_channels, *size), torch.Generator().manual_seed(seed))


def values_at(mask, places):
    """Values of one mask (1, *spatial) at places (d, *spatial), rounded to pixels."""
    return mask[0][tuple(places.round().long())][None]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("include", [*([name] for name in GEOMETRY), GEOMETRY], ids="+".join)
def test_each_pixel_of_a_moved_mask_comes_from_where_the_pixel_of_the_image_comes_from(include, size):
    # An image of coordinates, moved, tells where each of its points comes from.
    dimensions, n = len(size), 6
    axes = [torch.arange(side, dtype=torch.float64) for side in size]
    image = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    teacher = teacher_of(include, dimensions, dimensions, value_range=(0, max(size))).double()
    latents = latents_of(teacher, n, size).double()
    places = teacher(image.expand(n, *image.shape), torch.zeros(n), latents, 4.0)
    mask = random_mask(n, 1, size)
    moved = teacher.change_labels(mask, latents, 4.0)
    assert not torch.equal(moved, mask)
    assert torch.equal(moved, torch.stack([values_at(*pair) for pair in zip(mask, places, strict=True)]))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("include", [*([name] for name in GEOMETRY), GEOMETRY], ids="+".join)
@pytest.mark.parametrize("difficulty", [0.3, 1.0, 4.0])
def test_a_mask_moved_alone_is_the_mask_of_the_moved_image_of_labels(include, size, difficulty):
    teacher = teacher_of(include, len(size), 1).double()
    mask = random_mask(6, 1, size, values=(0, 1))
    mask = torch.nn.functional.interpolate(mask[..., :4, :4].double(), size=size)  # blocks of one class
    latents = latents_of(teacher, 6, size).double()
    moved, image = teacher.change_labels(mask, latents, difficulty), teacher(mask, torch.zeros(6), latents, difficulty)
    known = (image - image.round()).abs() < 1e-9  # between two classes, an image has both
    assert known.double().mean() > 0.1 and torch.equal(moved[known], image[known].round())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", GEOMETRY)
@pytest.mark.parametrize("difficulty", [0.3, 4.0])
def test_a_mask_of_channels_moves_as_one_of_classes(name, size, difficulty):
    teacher = teacher_of([name], len(size), 1)
    latents = latents_of(teacher, 5, size)
    mask = random_mask(5, 1, size, values=(0, 1, 2))
    channels = torch.cat([(mask == k).float() for k in range(3)], 1)
    moved = teacher.change_labels(channels, latents, difficulty)
    assert moved.dtype == torch.float32 and torch.equal(moved.sum(1), torch.ones_like(moved[:, 0]))
    assert torch.equal(moved.argmax(1, keepdim=True), teacher.change_labels(mask, latents, difficulty))


@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.float32])
@pytest.mark.parametrize("size", SIZES)
def test_masks_of_any_type_keep_it_and_their_set_of_values(kind, size):
    values = (0, 3, 200) if kind == torch.uint8 else (-100, 0, 7, 3000)
    mask = random_mask(4, 1, size, values).to(kind)
    teacher = teacher_of(None, len(size), 3)
    moved = teacher.change_labels(mask, latents_of(teacher, 4, size), 3.0)
    assert moved.dtype == kind and moved.shape == mask.shape and not torch.equal(moved, mask)
    assert set(moved.unique().tolist()) <= set(values)


@pytest.mark.parametrize("padding", [0, 255])
def test_what_comes_from_outside_of_the_image_is_padding_where_one_is_given(padding):
    mask = random_mask(20, 1, (16, 16), values=(1, 2)).to(torch.uint8)
    latents = latents_of(teacher_of(["shift", "rotation"], 2, 1), 20, (16, 16))
    reflected, padded = (
        teacher_of(["shift", "rotation"], 2, 1, label_padding=p).change_labels(mask, latents) for p in (None, padding)
    )
    outside = padded == padding
    assert 0.02 < outside.float().mean() < 0.5
    assert torch.equal(padded[~outside], reflected[~outside])
    assert set(reflected.unique().tolist()) == {1, 2}


def test_a_padding_is_a_whole_number():
    with pytest.raises(ConfigurationError, match=r"label_padding must be a whole number or None, got 0\.5"):
        PolicyTeacher(2, 1, 2, label_padding=0.5)


@pytest.mark.parametrize("name", PIXELWISE)
def test_operations_on_pixel_values_leave_masks_alone(name):
    teacher = teacher_of([name], 2, 3)
    mask = random_mask(4, 1, (12, 12))
    assert teacher.change_labels(mask, latents_of(teacher, 4, (12, 12)), 2.0) is mask


@pytest.mark.parametrize("labels", [torch.tensor([0, 2, 1, 1]), torch.eye(4)], ids=["classes", "several"])
def test_labels_of_whole_images_stay_as_they_are(labels):
    teacher = teacher_of(GEOMETRY, 2, 1)
    assert teacher.change_labels(labels, latents_of(teacher, 4, (12, 12)), 2.0) is labels


def test_at_difficulty_0_masks_stay_as_they_are():
    teacher = teacher_of(GEOMETRY, 2, 1)
    mask = random_mask(4, 1, (12, 12))
    assert teacher.change_labels(mask, latents_of(teacher, 4, (12, 12)), 0.0) is mask


def test_masks_do_not_follow_teachers_that_cannot_say_where_points_go():
    mask = random_mask(2, 1, (8, 8))
    for teacher in (ImageTeacher(2, 1, 2), LatentTeacher(2, 1, 2, image_size=8)):
        with pytest.raises(
            ConfigurationError, match=r"masks of shape \(2, 1, 8, 8\) cannot be transformed.* Use PolicyTeacher"
        ):
            teacher.change_labels(mask, torch.zeros(2, 1))
        assert teacher.change_labels(mask[:, 0, 0, 0], torch.zeros(2, 1)).shape == (2,)
    assert StainTeacher().change_labels(mask, torch.zeros(2, 1)) is mask
