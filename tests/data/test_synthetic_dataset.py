# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pickle

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import CacheDataset, Dataset, MetaTensor, decollate_batch
from monai.data import DataLoader as MonaiDataLoader
from monai.data.meta_obj import set_track_meta
from monai.transforms import Compose, RandFlipd, ScaleIntensityd
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset

from monai_gmcl.data import SyntheticDataset, image_transforms
from monai_gmcl.exceptions import ConfigurationError, DataError, ImageRangeError, LabelError, TeacherError
from monai_gmcl.teachers import ImageTeacher, LatentTeacher, PolicyTeacher, Teacher

LABELS = torch.tensor([0, 1, 1, 0, 1])


class Shifting(Teacher):
    """Adds one normal number to each image."""

    def __init__(self, spatial_dims=2, in_channels=1, num_classes=2, value_range=(-100.0, 100.0), **options):
        super().__init__(spatial_dims, in_channels, num_classes, value_range, **options)

    def draw_latents(self, n, image_shape, generator=None):
        return torch.randn(n, 1, generator=generator)

    def change(self, images, labels, latents, difficulty):
        return images + difficulty * latents.view(-1, *[1] * (images.ndim - 1))


@pytest.fixture
def images():
    return torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def latent_teacher():
    torch.manual_seed(0)
    return LatentTeacher(2, 1, 3, image_size=8, latent_size=4, channels=2)


def bits(dataset):
    return [bytes(item["image"].as_tensor().numpy().tobytes()) for item in (dataset[i] for i in range(len(dataset)))]


def test_each_class_gets_as_many_images_as_asked_for(images):
    dataset = SyntheticDataset(Shifting(), 7, (images, LABELS))
    assert len(dataset) == 14
    assert [int(dataset[i]["label"]) for i in range(14)] == [0] * 7 + [1] * 7
    for i in range(14):
        added = dataset[i]["image"] - images[dataset.plan(i).source]
        assert float(added.std()) < 1e-6 and abs(float(added.mean())) > 1e-6
        assert LABELS[dataset.plan(i).source] == dataset[i]["label"]


def test_every_source_is_used_before_one_is_used_twice(images):
    dataset = SyntheticDataset(Shifting(), 7, (images, LABELS))
    used = [dataset.plan(i).source for i in range(7, 14)]
    assert sorted(used[:3]) == sorted(used[3:6]) == [1, 2, 4]


def test_the_order_in_which_images_are_made_does_not_matter(images):
    dataset = SyntheticDataset(PolicyTeacher(2, 1, 2), 4, (images, LABELS))
    forward = bits(dataset)
    torch.manual_seed(5)
    backward = [dataset[i]["image"].numpy().tobytes() for i in reversed(range(8))]
    assert forward == backward[::-1]


@pytest.mark.parametrize("kind", ["policy", "image", "latent"])
def test_bits_do_not_depend_on_the_number_of_threads(kind):
    torch.manual_seed(0)
    # at these sizes the same operations on two threads do differ
    size = {"policy": 128, "image": 96, "latent": 96}[kind]
    teacher = {
        "policy": PolicyTeacher(2, 3, 1),
        "image": ImageTeacher(2, 3, 1),
        "latent": LatentTeacher(2, 3, 1, image_size=size),
    }[kind]
    sources = None if kind == "latent" else (torch.rand(1, 3, size, size), torch.tensor([0]))
    dataset = SyntheticDataset(teacher, 2, sources)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(bits(dataset))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


# spawned workers import torch and MONAI anew, many seconds
@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_and_batch_sizes_do_not_matter(context, images):
    dataset = SyntheticDataset(PolicyTeacher(2, 1, 2), 3, (images, LABELS))
    one = torch.cat([batch["image"] for batch in DataLoader(dataset, batch_size=1)])
    loader = MonaiDataLoader(dataset, batch_size=4, num_workers=2, multiprocessing_context=context)
    batches = list(loader)
    assert torch.equal(one, torch.cat([batch["image"] for batch in batches]))
    assert all(isinstance(batch["image"], MetaTensor) for batch in batches)
    assert torch.cat([batch["label"] for batch in batches]).tolist() == [0, 0, 0, 1, 1, 1]
    assert batches[0]["image"].meta["seed"].tolist() == [dataset.plan(i).seed for i in range(4)]


def test_a_larger_set_holds_the_smaller_one_and_another_seed_none_of_it(images):
    teacher = PolicyTeacher(2, 1, 2)
    small, large, other = (
        SyntheticDataset(teacher, n, (images, LABELS), seed=seed) for n, seed in ((3, 0), (5, 0), (5, 1))
    )
    assert bits(small)[:3] == bits(large)[:3] and bits(small)[3:] == bits(large)[5:8]
    assert not set(bits(large)) & set(bits(other))


def test_training_the_teacher_further_changes_nothing(latent_teacher):
    dataset = SyntheticDataset(latent_teacher.train(), 1)
    before = bits(dataset)
    nn.init.zeros_(next(latent_teacher.parameters()))
    assert bits(dataset) == before
    assert latent_teacher.training and next(latent_teacher.parameters()).requires_grad


def test_no_graph_leaves_the_data_set(latent_teacher, images):
    for dataset in (SyntheticDataset(latent_teacher, 1), SyntheticDataset(ImageTeacher(2, 1, 2), 1, (images, LABELS))):
        assert not dataset[0]["image"].requires_grad


def test_images_are_made_from_labels_alone_where_the_teacher_can(latent_teacher):
    dataset = SyntheticDataset(latent_teacher, 2)
    assert len(dataset) == 6 and dataset.plan(3).source is None
    item = dataset[3]
    assert item["image"].shape == (1, 8, 8) and item["label"] == 1 and isinstance(item["label"], int)
    generator = torch.Generator().manual_seed(item["image"].meta["seed"])
    with torch.no_grad():
        again = latent_teacher.eval()(None, torch.tensor([1]), latent_teacher.draw_latents(1, (1, 8, 8), generator))
    assert torch.equal(item["image"].as_tensor(), again[0])
    assert item["image"].meta["geometry"] == "none"


def test_the_meta_are_the_image_s_own_and_hold_no_name_of_a_source(tmp_path):
    affine = np.array([[0, -1.5, 0, 10], [2, 0, 0, -4], [0, 0.3, 3, 7], [0, 0, 0, 1.0]])
    volume = nib.Nifti1Image(np.random.default_rng(0).random((6, 5, 4), dtype=np.float32), affine)
    volume.header["descrip"] = b"Jane Doe, 1950"
    nib.save(volume, tmp_path / "patient_17.nii.gz")
    items = [{"image": str(tmp_path / "patient_17.nii.gz"), "label": 0, "group": "patient 17"}]
    sources = Dataset(items, image_transforms(3, 1))
    dataset = SyntheticDataset(ImageTeacher(3, 1, 1), 1, sources, difficulty=0.5, teacher_name="mine")
    item = dataset[0]
    assert set(item) == {"image", "label"} and item["image"].shape == (1, 5, 6, 4)
    meta = item["image"].meta
    assert {key: meta[key] for key in ("synthetic", "teacher", "label", "difficulty", "geometry")} == {
        "synthetic": True,
        "teacher": "mine",
        "label": 0,
        "difficulty": 0.5,
        "geometry": "source",
    }
    np.testing.assert_allclose(item["image"].affine, sources[0]["image"].affine)
    np.testing.assert_allclose(item["image"].affine, nib.as_closest_canonical(volume).affine)
    assert set(map(str, meta)) == {
        *("synthetic", "teacher", "label", "seed", "difficulty", "geometry", "affine", "space"),
    }
    assert item["image"].applied_operations == []
    told = repr(meta) + repr(pickle.dumps(item))
    assert not any(word in told for word in ("patient", "Jane", "nii"))


def test_without_meta_tracking_images_are_plain_tensors(images):
    dataset = SyntheticDataset(Shifting(), 1, (images, LABELS))
    set_track_meta(False)
    try:
        assert type(dataset[0]["image"]) is torch.Tensor
    finally:
        set_track_meta(True)


def test_real_and_synthetic_images_share_batches(tmp_path):
    items = []
    for i in range(4):
        path = tmp_path / f"{i}.png"
        Image.fromarray(np.full((8, 6, 3), 20 * i, np.uint8)).save(path)
        items.append({"image": str(path), "label": i % 2})
    real = Dataset(items, image_transforms(2, 3))
    torch.manual_seed(0)
    latent = LatentTeacher(2, 3, 2, image_size=(8, 6), channels=2)
    for synthetic in (SyntheticDataset(PolicyTeacher(2, 3, 2), 2, real), SyntheticDataset(latent, 2)):
        loader = MonaiDataLoader(ConcatDataset([real, synthetic]), batch_size=8, shuffle=True)
        (batch,) = loader
        assert batch["image"].shape == (8, 3, 8, 6) and isinstance(batch["image"], MetaTensor)
        assert sorted(batch["label"].tolist()) == [0] * 4 + [1] * 4
        assert len(decollate_batch(batch)) == 8


def test_a_cache_in_threads_holds_the_same_images(images):
    dataset = SyntheticDataset(PolicyTeacher(2, 1, 2), 4, (images, LABELS))
    cached = CacheDataset(dataset, transform=Compose([]), num_workers=3, progress=False)
    assert bits(cached) == bits(dataset)
    scaled = CacheDataset(dataset, transform=ScaleIntensityd("image"), progress=False)
    assert float(scaled[0]["image"].max()) == 1


@pytest.mark.parametrize("form", ["dicts", "pairs", "tensors", "dataset", "subset"])
def test_sources_come_as_data_sets_sequences_or_tensors(form, images):
    dicts = [{"image": image, "label": int(label)} for image, label in zip(images, LABELS, strict=True)]
    sources = {
        "dicts": dicts,
        "pairs": list(zip(images, LABELS, strict=True)),
        "tensors": (images, LABELS),
        "dataset": TensorDataset(images, LABELS),
        "subset": Subset(Dataset(dicts), range(5)),
    }[form]
    dataset = SyntheticDataset(Shifting(), 2, sources)
    assert bits(dataset) == bits(SyntheticDataset(Shifting(), 2, (images, LABELS)))
    # in the form of the sources, so that both can stand in one batch
    assert isinstance(dataset[0]["label"], int if form in ("dicts", "subset") else torch.Tensor)


def test_labels_are_read_without_the_images_where_a_list_holds_them(images):
    read = []

    def load(item):
        read.append(item["image"])
        return {**item, "image": images[item["image"]]}

    dataset = SyntheticDataset(Shifting(), 1, Dataset([{"image": i, "label": i % 2} for i in range(5)], load))
    assert read == [0]
    assert dataset[1]["label"] == 1


def test_labels_that_a_transform_makes_are_taken(images):
    data = Dataset([{"image": i, "label": "ba"[i % 2]} for i in range(5)], lambda item: {**item, **changed(item)})

    def changed(item):
        return {"image": images[item["image"]], "label": "ab".index(item["label"])}

    dataset = SyntheticDataset(Shifting(), 2, data)
    assert [dataset.plan(i).source % 2 for i in range(4)] == [1, 1, 0, 0]


def test_combinations_of_labels_are_the_classes_of_a_multi_label_task(images):
    rows = torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 0, 0], [1, 0, 1], [0, 1, 0]])
    dataset = SyntheticDataset(ImageTeacher(2, 1, 3, condition_on_label=True), 2, (images, rows))
    assert dataset.classes == [(0, 0, 0), (0, 1, 0), (1, 0, 1)] and len(dataset) == 6
    (batch,) = DataLoader(dataset, batch_size=6)
    assert batch["label"].tolist() == [[0, 0, 0]] * 2 + [[0, 1, 0]] * 2 + [[1, 0, 1]] * 2
    assert torch.equal(batch["label"], rows[[dataset.plan(i).source for i in range(6)]])


def test_a_teacher_without_sources_takes_combinations_that_are_given(latent_teacher):
    dataset = SyntheticDataset(latent_teacher, 1, classes=[[0, 1, 1.0], [1, 0, 0]])
    assert dataset[0]["label"].tolist() == [0, 1, 1]
    assert dataset[0]["image"].meta["label"].tolist() == [0, 1, 1]


def test_some_of_the_classes_can_be_chosen(images):
    dataset = SyntheticDataset(Shifting(), 2, (images, LABELS), classes=[1])
    assert [int(item["label"]) for item in (dataset[0], dataset[1])] == [1, 1] and len(dataset) == 2


def test_normalized_sources_give_normalized_images(images):
    teacher = Shifting(value_range=(0.0, 1.0), mean=[0.5], std=[0.25])
    dataset = SyntheticDataset(teacher, 20, ((images - 0.5) / 0.25, LABELS))
    values = torch.stack([dataset[i]["image"] for i in range(40)])
    assert float(values.min()) == -2 and float(values.max()) == 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_images_keep_the_type_of_the_sources(dtype, images):
    dataset = SyntheticDataset(Shifting(), 1, (images.to(dtype), LABELS))
    assert dataset[0]["image"].dtype == dtype


def test_a_plain_module_can_be_the_teacher(images):
    class Plain(nn.Module):
        def forward(self, images, labels, latents, difficulty):
            return images + latents.mean()

    dataset = SyntheticDataset(Plain(), 2, (images, LABELS))
    assert len(dataset) == 4 and len(set(bits(dataset))) == 4


def test_it_ends_after_the_last_image(images):
    dataset = SyntheticDataset(Shifting(), 1, (images, LABELS))
    assert dataset.plan(-1) == dataset.plan(1)
    assert len(list(iter(dataset))) == 2
    with pytest.raises(IndexError):
        dataset[2]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sources": None}, ConfigurationError, "Shifting changes images and needs sources"),
        ({"per_class": 0}, ConfigurationError, "per_class of at least 1 .*got 0"),
        ({"difficulty": -1}, ConfigurationError, "difficulty of at least 0, got 2 and -1"),
        ({"sources": []}, DataError, "at least one source"),
        ({"sources": [{"image": torch.rand(1, 8, 8)}]}, DataError, "sources with the key 'label', found image"),
        ({"sources": ["a.png"]}, DataError, "dicts or pairs .* found str"),
        ({"sources": [(torch.rand(1, 8, 8), 2)]}, LabelError, "classes from 0 to 1, found 2 in a source"),
        ({"sources": [(torch.rand(1, 8, 8), -1)]}, LabelError, "classes from 0 to 1, found -1 in a source"),
        ({"sources": [(torch.rand(1, 8, 8), [1.0, 0, 0])]}, LabelError, r"rows of 2 labels, found \(1.0, 0.0, 0.0\)"),
        ({"sources": [(torch.rand(1, 8, 8), "tumor")]}, LabelError, "whole number.* found 'tumor'"),
        ({"sources": [(torch.rand(1, 8, 8), [0.0, float("nan")])]}, LabelError, "row of finite numbers"),
        (
            {"sources": [(torch.rand(1, 8, 8), 1), (torch.rand(1, 8, 8), [0.0, 1.0])]},
            LabelError,
            "classes or sources with rows of labels, found both",
        ),
        ({"sources": [(torch.rand(1, 8, 8), 1)]}, LabelError, r"found no source of class 0, only of \[1\]"),
        ({"classes": []}, LabelError, r"distinct classes, got \[\]"),
        ({"classes": [1, 1]}, LabelError, r"got \[1, 1\]"),
        ({"classes": [2]}, LabelError, "found 2 in classes"),
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments, error, message, images):
    with pytest.raises(error, match=message):
        SyntheticDataset(Shifting(), **{"per_class": 2, "sources": (images, LABELS), **arguments})


def test_sources_with_random_transforms_are_refused(images):
    dicts = [{"image": image, "label": int(label)} for image, label in zip(images, LABELS, strict=True)]
    random = Dataset(dicts, Compose([ScaleIntensityd("image"), RandFlipd("image")]))
    for sources in (random, Subset(random, range(3)), ConcatDataset([random, random])):
        with pytest.raises(ConfigurationError, match="random transform RandFlipd"):
            SyntheticDataset(Shifting(), 1, sources)


def test_needless_sources_and_an_unknown_size_are_refused(images, latent_teacher):
    with pytest.raises(ConfigurationError, match="LatentTeacher needs no images and takes no sources"):
        SyntheticDataset(latent_teacher, 1, (images, LABELS))
    teacher = Shifting()
    teacher.needs_images = False
    with pytest.raises(ConfigurationError, match="attributes image_size and in_channels"):
        SyntheticDataset(teacher, 1)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (torch.rand(3, 8, 8), DataError, r"source 0: .* 1 channel\(s\) and 2 spatial dimensions, .* \(3, 8, 8\)"),
        (torch.rand(1, 8, 8, 8), DataError, r"source 0: .*got an image of shape \(1, 8, 8, 8\)"),
        (torch.rand(1, 8, 8) * 255, ImageRangeError, "source 0: Expected images with values from 0 to 1"),
    ],
)
def test_a_source_that_is_not_for_the_teacher_is_named(image, error, message):
    dataset = SyntheticDataset(PolicyTeacher(2, 1, 1), 1, [(image, 0)])
    with pytest.raises(error, match=message):
        dataset[0]


def test_a_source_smaller_than_the_teacher_s_minimum_is_named(tmp_path):
    class Valid(Shifting):
        """Has a convolution without padding, as a user's teacher may."""

        def change(self, images, labels, latents, difficulty):
            return images + nn.functional.conv2d(images, torch.ones(1, 1, 5, 5)).mean()

    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "tiny.png")
    sources = Dataset([{"image": str(tmp_path / "tiny.png"), "label": 0}], image_transforms(2, 1))
    with pytest.raises(
        DataError, match=r"Valid cannot change source 0 \(.*tiny.png\) of shape \(1, 4, 4\), .*too small"
    ):
        SyntheticDataset(Valid(num_classes=1), 1, sources)[0]


@pytest.mark.parametrize("wrong", [lambda x: x[:, :, :4], lambda x: x / 0 - x / 0, lambda x: [x]])
def test_a_teacher_that_returns_something_else_is_named(wrong, images):
    class Wrong(nn.Module):
        def forward(self, images, labels, latents, difficulty):
            return wrong(images)

    with pytest.raises(TeacherError, match=r"Wrong must return one image .*\(1, 1, 8, 8\), got"):
        SyntheticDataset(Wrong(), 1, (images, LABELS))[0]


def test_a_label_that_changed_meanwhile_is_noticed(images):
    labels = LABELS.clone()
    dataset = SyntheticDataset(Shifting(), 1, (images, labels))
    labels[:] = 1
    with pytest.raises(LabelError, match="had the label 0 and has"):
        dataset[0]


def test_masks_move_with_their_images_and_keep_their_type_and_place() -> None:
    images = (torch.rand(3, 1, 10, 12, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    affine = torch.diag(torch.tensor([2.0, 3.0, 1.0, 1.0]))
    sources = [{"image": MetaTensor(image, affine=affine), "label": (image > 0.5).to(torch.uint8)} for image in images]
    made = SyntheticDataset(PolicyTeacher(2, 1, 2, include=["flip"], probability=1.0), 9, sources)
    assert made.classes == [0] and len(made) == 9
    flipped = 0
    for number, item in enumerate(made):
        assert item["label"].dtype == torch.uint8 and torch.equal(item["label"].affine, affine.double())
        assert torch.equal(item["label"] > 0, item["image"] > 0.5)
        flipped += not torch.equal(item["label"].as_tensor(), sources[made.plan(number).source or 0]["label"])
    assert 0 < flipped < 9


def test_masks_of_another_size_than_their_images_and_classes_of_masks_are_refused() -> None:
    wrong = [{"image": torch.rand(1, 8, 8), "label": torch.zeros(1, 8, 6)}]
    with pytest.raises(LabelError, match=r"mask of the size of source 0, \(8, 8\), got \(1, 8, 6\)"):
        SyntheticDataset(PolicyTeacher(2, 1, 2), 1, wrong)[0]
    right = [{"image": torch.rand(1, 8, 8), "label": torch.zeros(1, 8, 8)}]
    with pytest.raises(LabelError, match="no single class"):
        SyntheticDataset(PolicyTeacher(2, 1, 2), 1, right, classes=[0])
