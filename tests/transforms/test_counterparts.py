# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import monai.transforms as monai_transforms
import pytest
import torch
from monai.data import CacheDataset, DataLoader, Dataset, PersistentDataset
from monai.transforms import (
    Compose,
    CutOut,
    OneOf,
    Rand2DElasticd,
    RandAdjustContrast,
    RandAdjustContrastd,
    RandAffine,
    RandAffined,
    RandAxisFlip,
    RandBiasField,
    RandBiasFieldd,
    RandFlipd,
    RandGaussianNoised,
    RandHistogramShiftd,
    RandomOrder,
    RandRotate90d,
    RandScaleCropd,
    RandScaleIntensity,
    RandScaleIntensityd,
    RandShiftIntensityd,
    RandSpatialCropd,
    RandSpatialCropSamplesd,
    RandStdShiftIntensityd,
    RandZoomd,
    ScaleIntensityd,
    SomeOf,
)
from torch.utils.data import ConcatDataset, Subset

from monai_gmcl import PolicyTeacher
from monai_gmcl.teachers.operations import OPERATIONS
from monai_gmcl.transforms import RandTeacherAugmentd, SeededItems
from monai_gmcl.transforms.counterparts import COUNTERPARTS, DOES, counterparts, harmful_counterparts, operations_of

DATA = [{"image": torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(i)), "label": i % 2} for i in range(4)]


class OwnFlipd(RandFlipd):
    """A user's subclass."""


@pytest.mark.parametrize(
    ("transform", "operations"),
    [
        (RandFlipd("image", 0.5), {"flip"}),
        (OwnFlipd("image", 0.5), {"flip"}),
        (RandAxisFlip(0.5), {"flip"}),
        (RandRotate90d("image", 0.5), {"quarter_turn"}),
        (RandAffined("image", 0.5, rotate_range=0.1), {"rotation"}),
        (RandAffine(0.5, shear_range=(0.1, 0.2), translate_range=((-2, 2), 1), rotate_range=0.0), {"shear", "shift"}),
        (RandAffine(0.5, scale_range=0.1), {"zoom"}),
        (Rand2DElasticd("image", (2, 2), (0, 1), 0.5, rotate_range=0.2), {"elastic", "rotation"}),
        (RandZoomd("image", 0.5), {"zoom"}),
        (RandAdjustContrastd("image", 0.5), {"gamma"}),
        (RandBiasField(prob=0.5), {"brightness"}),
        (RandBiasFieldd("image", prob=0.5), {"brightness"}),
        (RandScaleIntensityd("image", 0.1, 0.5), {"brightness"}),
        (RandScaleIntensityd("image", 0.1, 0.5, channel_wise=True), {"brightness", "channel_gain"}),
        (RandScaleIntensity(0.1, 0.5, channel_wise=True), {"brightness", "channel_gain"}),
        (RandStdShiftIntensityd("image", 0.1, prob=0.5), {"brightness"}),
        (RandHistogramShiftd("image", prob=0.5), {"brightness", "contrast", "gamma"}),
        (RandGaussianNoised("image", 0.5), {"noise"}),
        (RandSpatialCropd("image", (4, 4), random_size=False), {"shift"}),
        (RandSpatialCropd("image", (4, 4), random_center=False), set()),
        (RandSpatialCropSamplesd("image", (4, 4), 2, random_size=True), {"shift", "zoom"}),
        (RandScaleCropd("image", 0.5, random_center=False, random_size=True), {"zoom"}),
        (CutOut(4), {"erasing"}),
        (RandFlipd("image", 0.0), set()),
        (ScaleIntensityd("image"), set()),
        (Compose([RandFlipd("image")]), set()),
    ],
)
def test_monai_s_transforms_and_their_settings_say_which_operations_they_carry_out(transform, operations):
    assert set(operations_of(transform)) == operations


def test_every_name_is_one_of_monai_s_and_every_operation_has_its_words():
    assert all(hasattr(monai_transforms, name) for name in COUNTERPARTS)
    assert list(DOES) == [operation.name for operation in OPERATIONS]
    assert {operation for does in COUNTERPARTS.values() for operation in does} <= set(DOES)


@pytest.mark.parametrize(
    "compose",
    [
        lambda part: part,
        lambda part: Compose([ScaleIntensityd("image"), part]),
        lambda part: OneOf([RandFlipd("image", 0.0), part]),
        lambda part: SomeOf([part, ScaleIntensityd("image")], num_transforms=1),
        lambda part: Compose([RandomOrder([Compose([OneOf([part, part])])])]),
    ],
)
def test_they_are_found_in_any_composition(compose):
    data = Dataset(DATA, compose(RandScaleIntensityd("image", 0.1, 0.5)))
    assert counterparts(data) == [("RandScaleIntensityd", ("brightness",))]


@pytest.mark.parametrize(
    "nest",
    [
        lambda transform, folder: Dataset(DATA, transform),
        lambda transform, folder: CacheDataset(DATA, transform, progress=False),
        lambda transform, folder: PersistentDataset(DATA, transform, cache_dir=folder),
        lambda transform, folder: SeededItems(CacheDataset(DATA, transform, progress=False), 0),
        lambda transform, folder: Subset(Dataset(DATA, transform), [0, 1]),
        lambda transform, folder: ConcatDataset([Dataset(DATA), SeededItems(Dataset(DATA, transform), 0)]),
    ],
)
@pytest.mark.parametrize("loaded", [True, False])
def test_they_are_found_in_data_sets_within_data_sets(nest, loaded, tmp_path):
    data = nest(Compose([RandAdjustContrastd("image", 0.5)]), tmp_path)
    assert counterparts(DataLoader(data, batch_size=2) if loaded else data) == [("RandAdjustContrastd", ("gamma",))]


def test_each_one_that_does_what_was_turned_down_is_told_once():
    transform = Compose(
        [
            RandScaleIntensityd("image", 0.1, 0.5),
            RandShiftIntensityd("image", 0.1, prob=0.5),
            RandShiftIntensityd("image", 0.2, prob=0.5),
            RandFlipd("image", 0.5),
            RandAdjustContrast(0.5),
        ]
    )
    assert harmful_counterparts(Dataset(DATA, transform), ["brightness", "flip", "zoom"]) == [
        "The teacher turned down brightness, but the transform RandScaleIntensityd changes the brightness of the real "
        "images. Remove RandScaleIntensityd.",
        "The teacher turned down brightness, but the transform RandShiftIntensityd changes the brightness of the real "
        "images. Remove RandShiftIntensityd.",
        "The teacher turned down flip, but the transform RandFlipd flips the real images. Remove RandFlipd.",
    ]
    assert harmful_counterparts(Dataset(DATA, transform), []) == []


def test_a_teacher_as_augmentation_does_what_it_has_not_turned_down_itself():
    teacher = PolicyTeacher(2, 1, 2, include=["flip", "gamma", "zoom"])
    with torch.no_grad():
        teacher.log_share[1] = -3.0  # gamma
    data = Dataset(DATA, RandTeacherAugmentd("image", teacher))
    assert counterparts(data) == [("RandTeacherAugmentd", ("flip", "zoom"))]


@pytest.mark.parametrize("loader", [[1, 2], iter(()), None, DataLoader(DATA)])
def test_loaders_without_transforms_have_none(loader):
    assert counterparts(loader) == []
