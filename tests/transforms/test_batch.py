# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ignite.engine import Events
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch, list_data_collate
from monai.engines import PrepareBatchExtraInput, SupervisedTrainer
from monai.transforms import Lambdad
from monai.utils import set_determinism
from torch import nn

from monai_gmcl.exceptions import ConfigurationError, LabelError
from monai_gmcl.teachers import ImageTeacher, LatentTeacher, PolicyTeacher
from monai_gmcl.transforms import TeacherBatchAugment


def batch_of(n, *shape, multi_label=0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 4
    if multi_label:
        labels = torch.rand(n, multi_label, generator=generator).round()
    return {"image": torch.rand(n, *(shape or (3, 8, 8)), generator=generator), "label": labels}


def changed_rows(before, after):
    return (before != after).flatten(1).any(1)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 7),
    size=st.lists(st.integers(2, 8), min_size=2, max_size=3),
    channels=st.integers(1, 4),
    multi_label=st.sampled_from([0, 1, 4]),
    mode=st.sampled_from(["replace", "append"]),
    fraction=st.floats(0, 1),
    dtype=st.sampled_from([torch.float16, torch.float32, torch.float64]),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_batch_keeps_its_real_images_and_pairs_synthetic_ones_with_their_labels(
    n, size, channels, multi_label, mode, fraction, dtype, seed
):
    batch = batch_of(n, channels, *size, multi_label=multi_label)
    batch["image"] = batch["image"].to(dtype)
    augment = TeacherBatchAugment(PolicyTeacher(len(size), channels, 4), fraction, mode).set_random_state(seed)
    copied = pickle.loads(pickle.dumps(augment))
    images, labels = augment(batch)
    assert torch.equal(copied(batch)[0], images)
    sources = torch.as_tensor(augment._sources)
    assert abs(len(sources) - fraction * n) < 1 and len(sources.unique()) == len(sources)
    assert images.dtype == dtype and images.min() >= 0 and images.max() <= 1 and not images.requires_grad
    assert torch.equal(labels[:n], batch["label"])
    if mode == "replace":
        assert images.shape == batch["image"].shape
        untouched = torch.ones(n, dtype=torch.bool).index_fill(0, sources, False)
        assert torch.equal(images[untouched], batch["image"][untouched])
    else:
        assert len(images) == len(labels) == n + len(sources)
        assert torch.equal(images[:n], batch["image"])
        assert torch.equal(labels[n:], batch["label"][sources])


def test_synthetic_images_are_changes_of_the_images_whose_labels_they_have():
    augment = TeacherBatchAugment(PolicyTeacher(2, 3, 4, include=["noise"], probability=1.0), 1.0, "append")
    batch = batch_of(8)
    images, labels = augment.set_random_state(0)(batch)
    nearest = torch.cdist(images[8:].flatten(1), images[:8].flatten(1)).argmin(1)
    assert torch.equal(labels[8:], batch["label"][nearest])
    assert sorted(nearest.tolist()) == list(range(8))


def test_more_can_be_appended_than_there_are():
    images, labels = TeacherBatchAugment(PolicyTeacher(2, 3, 4), 2.5, "append").set_random_state(0)(batch_of(4))
    assert len(images) == len(labels) == 14
    assert np.bincount(labels[4:]).min() >= 2


def test_the_fraction_holds_on_average_where_a_batch_is_one_volume():
    augment = TeacherBatchAugment(PolicyTeacher(3, 1, 4, include=["brightness"]), 0.3).set_random_state(0)
    batch = batch_of(1, 1, 2, 2, 2)
    replaced = 0
    for _ in range(400):
        augment(batch)
        replaced += len(augment._sources)
    assert replaced == pytest.approx(120, abs=30)


def test_the_seed_decides_and_set_determinism_gives_one(teacher):
    batch = batch_of(6)

    def run(augment):
        return torch.cat([augment(batch)[0] for _ in range(3)])

    def make():
        return TeacherBatchAugment(teacher, difficulty=(0.5, 1.0))

    assert torch.equal(run(make().set_random_state(1)), run(make().set_random_state(1)))
    assert not torch.equal(run(make().set_random_state(1)), run(make().set_random_state(2)))
    try:
        set_determinism(0)
        first, second = run(make()), run(make())
    finally:
        set_determinism(None)
    assert torch.equal(first, second)


@pytest.mark.parametrize("mode", ["replace", "append"])
@pytest.mark.parametrize("latent", [False, True])
def test_a_batch_s_meta_tells_real_from_synthetic_and_holds_no_file_names(mode, latent, private_image):
    teacher = LatentTeacher(2, 3, 4, (24, 24)) if latent else PolicyTeacher(2, 3, 4)
    batch = list_data_collate([{"image": private_image, "label": i % 4} for i in range(5)])
    images, labels = TeacherBatchAugment(teacher, 0.6, mode).set_random_state(0)(batch, "cpu")
    assert "doe" not in repr(images.meta) and "doe" in repr(batch["image"].meta)
    parts = decollate_batch({"image": images, "label": labels})
    assert len(parts) == (5 if mode == "replace" else 8)
    synthetic = [part["image"].meta["synthetic"] for part in parts]
    assert sum(synthetic) == 3
    for part, flag in zip(parts, synthetic, strict=True):
        image = part["image"]
        assert image.meta["teacher"] == (type(teacher).__name__ if flag else "")
        assert image.meta["label"] == part["label"] and image.meta["difficulty"] == (1.0 if flag else 0.0)
        assert image.meta["geometry_of_source"] == (flag and not latent)
        expected = torch.eye(4, dtype=torch.float64) if flag and latent else private_image.affine
        assert torch.equal(image.affine, expected)
        assert bool(image.applied_operations) != flag
        assert torch.equal(image.as_tensor(), private_image.as_tensor()) != flag
    assert images.spatial_ndim == 2


@pytest.mark.parametrize("latent", [False, True])
def test_affines_of_two_dimensions_are_kept_as_they_are(latent):
    teacher = LatentTeacher(2, 3, 4, (8, 8)) if latent else PolicyTeacher(2, 3, 4)
    affine = torch.diag(torch.tensor([2.0, 3.0, 1.0], dtype=torch.float64))
    batch = list_data_collate([{"image": MetaTensor(torch.rand(3, 8, 8), affine=affine), "label": 0}] * 2)
    images, _ = TeacherBatchAugment(teacher, 1.0)(batch)
    assert torch.equal(images.affine[0], torch.eye(3, dtype=torch.float64) if latent else affine)


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(["policy", "image", "latent"]),
    size=st.lists(st.integers(4, 8), min_size=2, max_size=3),
    n=st.integers(2, 5),
    row=st.integers(0, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_an_image_becomes_does_not_depend_on_the_others_of_its_batch(kind, size, n, row, seed):
    dims, row = len(size), row % n
    if kind == "policy":
        teacher = PolicyTeacher(dims, 1, 4)
    else:
        teacher = ImageTeacher(dims, 1, 4, channels=4) if kind == "image" else LatentTeacher(dims, 1, 4, size)
    batch = batch_of(n, 1, *size)
    other = {"image": batch["image"].clone(), "label": batch["label"].clone()}
    other["image"][row], other["label"][row] = 1 - other["image"][row], 3 - other["label"][row]
    images, others = (
        TeacherBatchAugment(teacher, 1.0).set_random_state(seed)(one)[0].double() for one in (batch, other)
    )
    kept = torch.arange(n) != row
    torch.testing.assert_close(images[kept], others[kept], rtol=0, atol=1e-5)
    assert not torch.equal(images[row], others[row])


def test_a_meta_tensor_that_was_not_collated_is_a_batch_all_the_same(teacher):
    batch = {"image": MetaTensor(torch.rand(3, 3, 8, 8)), "label": torch.arange(3)}
    images, _ = TeacherBatchAugment(teacher, 1.0)(batch)
    assert [part.meta["synthetic"] for part in decollate_batch(images)] == [True] * 3
    assert images.affine.shape == (3, 4, 4)


@pytest.mark.parametrize("multi_label", [0, 4])
@pytest.mark.parametrize("mode", ["replace", "append"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 6, 6, 6)])
def test_a_supervised_trainer_takes_it_as_prepare_batch(shape, mode, multi_label):
    data = [{"image": batch_of(1, *shape, seed=i)["image"][0], "label": i % 2} for i in range(7)]
    if multi_label:
        for item in data:
            item["label"] = torch.rand(4).round()
    network = nn.Sequential(nn.Flatten(), nn.LazyLinear(4))
    network(torch.zeros(1, *shape))
    sizes, seen = [], []
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=DataLoader(Dataset(data), batch_size=4),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
        loss_function=nn.BCEWithLogitsLoss() if multi_label else nn.CrossEntropyLoss(),
        prepare_batch=TeacherBatchAugment(PolicyTeacher(len(shape) - 1, 1, 4), 1.0, mode),
        postprocessing=Lambdad("image", lambda image: seen.append(image) or image),
    )
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: sizes.append(len(engine.state.output)))
    trainer.run()
    assert sizes == ([4, 3] if mode == "replace" else [8, 6])
    # MONAI postprocesses as many items as the loader gave; the docstring warns of it.
    assert len(seen) == len(data)


def test_further_arguments_of_the_network_are_passed_on_or_refused(teacher):
    batch = {**batch_of(4), "age": torch.arange(4.0)}
    prepare = PrepareBatchExtraInput("age")
    images, _, args, kwargs = TeacherBatchAugment(teacher, 1.0, prepare_batch=prepare)(batch, "cpu")
    assert changed_rows(batch["image"], images).any() and torch.equal(args[0], batch["age"]) and kwargs == {}
    with pytest.raises(ConfigurationError, match="mode append cannot enlarge"):
        TeacherBatchAugment(teacher, 1.0, "append", prepare_batch=prepare)(batch, "cpu")


def test_images_without_labels_suffice_for_a_teacher_that_looks_at_none(teacher):
    batch = batch_of(4)
    images, labels = TeacherBatchAugment(teacher, 1.0, "append")(batch["image"])
    assert len(images) == 8 and labels is None
    with pytest.raises(LabelError, match="ImageTeacher needs labels"):
        TeacherBatchAugment(ImageTeacher(2, 3, 4, condition_on_label=True), 1.0)(batch["image"])


@pytest.mark.parametrize("channel", [slice(0, 1), 0], ids=["with a channel", "without"])
@pytest.mark.parametrize("mode", ["replace", "append"])
def test_masks_move_with_their_images(mode, channel):
    teacher = PolicyTeacher(2, 3, 2, include=["flip", "quarter_turn"], probability=1.0)
    images = (torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.5).float() * 0.8
    batch = {"image": images, "label": (images[:, channel] > 0.5).long()}
    changed, masks = TeacherBatchAugment(teacher, 0.5, mode).set_random_state(0)(batch)
    assert len(changed) == len(masks) == (6 if mode == "replace" else 9) and masks.dtype == torch.int64
    assert torch.equal(masks, (changed[:, channel] > 0.5).long())
    assert mode == "append" or not torch.equal(masks, batch["label"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"mode": "add"}, "replace, append, got 'add'"), ({"fraction": 1.2}, "got 1.2"), ({"fraction": -0.1}, "fraction")],
)
def test_wrong_arguments_raise(teacher, arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        TeacherBatchAugment(teacher, **arguments)
