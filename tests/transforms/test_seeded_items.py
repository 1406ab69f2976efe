# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine
from monai.data import CacheDataset, DataLoader, Dataset
from monai.transforms import Compose, RandFlipd, RandGaussianNoised, Randomizable
from torch.utils.data import ConcatDataset

from monai_gmcl.teachers import PolicyTeacher
from monai_gmcl.transforms import RandTeacherAugmentd, SeededItems


def data(n=10):
    generator = torch.Generator().manual_seed(0)
    return [{"image": torch.rand(3, 8, 8, generator=generator), "label": i % 2} for i in range(n)]


def transform():
    teacher = PolicyTeacher(2, 3, 2)
    return Compose([RandTeacherAugmentd("image", teacher, 0.7, (0.5, 1.0)), RandGaussianNoised("image", prob=0.5)])


def one_pass(items, workers, context=None, epoch=0, shuffle=False, **options):
    items.set_epoch(epoch)
    generator = torch.Generator().manual_seed(workers)
    batches = DataLoader(
        items,
        batch_size=3,
        num_workers=workers,
        multiprocessing_context=context,
        shuffle=shuffle,
        generator=generator,
        **options,
    )
    return torch.cat([batch["image"].as_tensor() for batch in batches])


@pytest.mark.parametrize(("workers", "context"), [(1, "fork"), (2, "fork"), (4, "fork"), (1, "spawn")])
def test_the_same_seed_gives_the_same_images_in_any_number_of_workers(workers, context):
    expected = one_pass(SeededItems(Dataset(data(), transform()), seed=5), 0)
    assert torch.equal(one_pass(SeededItems(Dataset(data(), transform()), seed=5), workers, context), expected)


def test_other_seeds_and_other_epochs_give_other_images():
    items = SeededItems(CacheDataset(data(), transform(), progress=False), seed=5)
    first = one_pass(items, 0)
    assert not torch.equal(one_pass(items, 0, epoch=1), first)
    assert torch.equal(one_pass(items, 0, epoch=0), first)
    assert not torch.equal(one_pass(SeededItems(Dataset(data(), transform()), seed=6), 0), first)


def test_the_order_does_not_matter():
    items = SeededItems(Dataset(data(), transform()))
    expected = one_pass(items, 0).flatten(1).sort(0).values
    shuffled = one_pass(items, 0, shuffle=True)
    assert not torch.equal(shuffled, one_pass(items, 0))
    assert torch.equal(shuffled.flatten(1).sort(0).values, expected)


def test_workers_that_outlive_an_epoch_see_the_next():
    items = SeededItems(Dataset(data(), transform()))
    loader = DataLoader(items, batch_size=3, num_workers=1, persistent_workers=True)
    passes = []
    for epoch in range(2):
        items.set_epoch(epoch)
        passes.append(torch.cat([batch["image"].as_tensor() for batch in loader]))
    assert torch.equal(passes[1], one_pass(items, 0, epoch=1)) and not torch.equal(*passes)


@pytest.mark.parametrize("workers", [0, 2])
def test_as_a_handler_it_follows_the_epoch_of_an_engine_that_goes_on(workers):
    items = SeededItems(Dataset(data(), transform()))
    loader = DataLoader(items, batch_size=5, num_workers=workers)
    seen = []
    engine = Engine(lambda engine, batch: seen.append((engine.state.epoch, batch["image"].as_tensor())))
    items.attach(engine)
    engine.load_state_dict({"epoch": 1, "max_epochs": 3, "epoch_length": 2})
    engine.run(loader)
    assert [epoch for epoch, _ in seen] == [2, 2, 3, 3]
    expected = torch.cat([one_pass(items, 0, epoch=epoch) for epoch in (2, 3)])
    assert torch.equal(torch.cat([images for _, images in seen]), expected)


def test_two_transforms_of_one_kind_draw_differently():
    twice = Dataset(data(1), transform=Compose([RandGaussianNoised("image", prob=1.0), lambda item: item["image"]]))
    items = SeededItems(ConcatDataset([twice, Dataset(data(1), twice.transform)]))
    assert not torch.equal(items[0], items[1])


def test_a_data_set_that_is_random_itself_is_seeded_with_its_transforms():
    class Drawing(Randomizable, Dataset):
        def __getitem__(self, index):
            return float(self.R.rand()), super().__getitem__(index)["image"]

    items = SeededItems(Drawing(data(2), RandFlipd("image", prob=0.5)))
    (number, image), (other_number, _) = items[0], items[1]
    assert items[0][0] == number != other_number
    assert all(torch.equal(items[0][1], image) for _ in range(8))


def test_indices_are_those_of_the_data_set():
    items = SeededItems(Dataset(data(), transform()))
    assert len(items) == 10
    assert torch.equal(items[-1]["image"], items[9]["image"])
    with pytest.raises(IndexError):
        items[10]
