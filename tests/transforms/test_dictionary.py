# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import CacheDataset, Dataset, MetaTensor, PersistentDataset, list_data_collate
from monai.transforms import Compose, Lambdad, RandFlipd
from monai.utils import set_determinism

from monai_gmcl.exceptions import ConfigurationError, LabelError
from monai_gmcl.teachers import ImageTeacher, PolicyTeacher, save_teacher
from monai_gmcl.transforms import (
    RandTeacherAugment,
    RandTeacherAugmentd,
)


def items(n=4):
    generator = torch.Generator().manual_seed(0)
    return [{"image": torch.rand(3, 12, 12, generator=generator), "label": i % 4, "patient": f"p{i}"} for i in range(n)]


def test_the_same_seed_gives_the_array_version_s_images(teacher):
    array = RandTeacherAugment(teacher, 0.6, (0.5, 1.5)).set_random_state(3)
    dictionary = RandTeacherAugmentd("image", teacher, 0.6, (0.5, 1.5)).set_random_state(3)
    for item in items(12):
        assert torch.equal(dictionary(item)["image"], array(item["image"], item["label"]))


def test_an_image_s_strength_says_nothing_about_whether_the_next_is_changed(teacher):
    transform = RandTeacherAugmentd("image", teacher, 0.5, (0.0, 1.0)).set_random_state(0)
    item = {"image": torch.rand(3, 2, 2), "label": 0}
    metas = [transform(item)["image"].meta for _ in range(500)]
    pairs = [(a["difficulty"], "synthetic" in b) for a, b in zip(metas, metas[1:], strict=False) if "synthetic" in a]
    assert abs(np.corrcoef(np.array(pairs, float).T)[0, 1]) < 0.2


def test_label_and_other_entries_stay_as_they_are(teacher):
    item = items(1)[0]
    changed = RandTeacherAugmentd("image", teacher, 1.0)(item)
    assert {**changed, "image": None} == {**item, "image": None}
    assert not torch.equal(changed["image"], item["image"])
    assert changed["image"].meta["label"] == item["label"]


def test_images_of_several_keys_get_the_same_latents(teacher):
    image = items(1)[0]["image"]
    transform = RandTeacherAugmentd(["image", "copy"], teacher, 1.0).set_random_state(0)
    changed = transform({"image": image, "copy": image.clone(), "label": 0})
    assert torch.equal(changed["image"], changed["copy"]) and not torch.equal(changed["image"], image)


def test_a_label_that_the_teacher_looks_at_is_found_under_its_key():
    teacher = ImageTeacher(2, 3, 4, condition_on_label=True)
    with torch.no_grad():
        teacher.network.of_label.weight.normal_(generator=torch.Generator().manual_seed(0))
        teacher.network.head.weight.normal_(generator=torch.Generator().manual_seed(1))
    item = {"image": items(1)[0]["image"], "grade": 0}
    transform = RandTeacherAugmentd("image", teacher, 1.0, label_key="grade")
    first = transform.set_random_state(0)(item)["image"]
    assert not torch.equal(transform.set_random_state(0)({**item, "grade": 1})["image"], first)


def test_a_missing_key_raises_unless_it_may_be_missing(teacher):
    image = items(1)[0]["image"]
    with pytest.raises(LabelError, match="label under 'label', got an item with the keys 'image'"):
        RandTeacherAugmentd("image", teacher)({"image": image})
    with pytest.raises(KeyError, match="image"):
        RandTeacherAugmentd("image", teacher)({"label": 0})
    assert RandTeacherAugmentd("image", teacher, allow_missing_keys=True)({"label": 0}) == {"label": 0}
    for options in ({"label_key": None}, {"allow_missing_keys": True}):
        assert "label" not in RandTeacherAugmentd("image", teacher, 1.0, **options)({"image": image})["image"].meta


def test_separate_meta_dictionaries_with_file_names_are_removed(teacher):
    for prob in (0.0, 1.0):
        item = {**items(1)[0], "image_meta_dict": {"filename_or_obj": "doe.png"}}
        assert "image_meta_dict" not in RandTeacherAugmentd("image", teacher, prob)(item)


def test_real_and_synthetic_images_make_one_batch_without_file_names(teacher, private_image):
    transform = RandTeacherAugmentd("image", teacher, 0.5).set_random_state(0)
    batch = list_data_collate([transform({"image": private_image, "label": 1}) for _ in range(6)])
    assert batch["image"].shape == (6, 3, 24, 24) and batch["image"].affine.shape == (6, 4, 4)
    assert "doe" not in repr(batch["image"].meta)


def test_images_of_readers_that_note_their_size_as_an_array_make_one_batch_in_any_order(teacher, private_image):
    image = private_image.clone()
    image.meta["spatial_shape"] = np.asarray([24, 24])  # as MONAI's LoadImage does
    changed = RandTeacherAugmentd("image", teacher, 1.0)({"image": image, "label": 1})
    for pair in ([changed, {"image": image, "label": 1}], [{"image": image, "label": 1}, changed]):
        assert list_data_collate(pair)["image"].shape == (2, 3, 24, 24)


def test_a_composition_seeds_it_and_set_determinism_too(teacher):
    def run(transform):
        return torch.stack([transform(item)["image"] for item in items()])

    def make():
        return Compose([RandFlipd("image", prob=0.5), RandTeacherAugmentd("image", teacher, 0.7)])

    assert torch.equal(run(make().set_random_state(1)), run(make().set_random_state(1)))
    assert not torch.equal(run(make().set_random_state(1)), run(make().set_random_state(2)))
    try:
        set_determinism(4)
        first, second = run(make()), run(make())
    finally:
        set_determinism(None)
    assert torch.equal(first, second)


@pytest.fixture
def counted_copies(monkeypatch):
    copies = []

    def deepcopy(self, memo):
        copies.append(self)
        return self

    monkeypatch.setattr(PolicyTeacher, "__deepcopy__", deepcopy, raising=False)
    return copies


@pytest.mark.parametrize("kind", ["cache", "persistent"])
def test_it_is_never_cached_and_its_teacher_never_copied_for_an_item(kind, counted_copies, teacher, tmp_path):
    augment = RandTeacherAugmentd("image", teacher, 1.0)
    assert len(counted_copies) == 1
    loaded = []
    transform = Compose([Lambdad("label", lambda label: loaded.append(label) or label), augment])
    if kind == "cache":
        dataset = CacheDataset(items(), transform, num_workers=2, progress=False)
    else:
        dataset = PersistentDataset(items(), transform, tmp_path)
    passes = [torch.stack([dataset[i]["image"] for i in range(4)]) for _ in range(3)]
    assert len(loaded) == 4
    assert not torch.equal(passes[0], passes[1]) and not torch.equal(passes[1], passes[2])
    Compose([augment])(items(1)[0], threading=True)
    assert len(counted_copies) == 1


def test_a_bundle_s_configuration_can_name_it(teacher, tmp_path):
    path = save_teacher(teacher, tmp_path / "teacher.safetensors")
    target = "monai_gmcl.transforms.RandTeacherAugmentd"
    entry = {"_target_": target, "keys": "image", "teacher": str(path), "prob": 1.0, "difficulty": [0.5, 1.0]}
    transform = ConfigParser({"augment": entry}).get_parsed_content("augment")
    assert Dataset(items(), transform)[0]["image"].meta["synthetic"] is True


def with_mask(kind=torch.uint8):
    """An item whose mask says where its image is bright."""
    item = items(1)[0]
    item["image"] = (item["image"] > 0.5).float() * 0.8
    return {**item, "label": (item["image"][:1] > 0.5).to(kind)}


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
@pytest.mark.parametrize("tracked", [True, False])
def test_a_mask_moves_with_its_image(kind, tracked):
    teacher = PolicyTeacher(2, 3, 2, include=["flip", "quarter_turn"], probability=1.0)
    transform = RandTeacherAugmentd(["image", "label"], teacher, 1.0).set_random_state(0)
    item = with_mask(kind)
    item = {**item, "image": MetaTensor(item["image"]), "label": MetaTensor(item["label"])} if tracked else item
    for _ in range(8):
        changed = transform(item)
        assert changed["label"].dtype == kind
        assert torch.equal(changed["label"], (changed["image"][:1] > 0.5).to(kind))
        assert "label" not in getattr(changed["image"], "meta", {})
    assert changed["patient"] == item["patient"]


def test_a_mask_keeps_its_values_and_its_geometry(private_image):
    private_image = MetaTensor(private_image[:, :12, :12], meta=private_image.meta)
    mask = MetaTensor(with_mask()["label"] * 3, meta=private_image.meta)
    transform = RandTeacherAugmentd(["image", "label"], PolicyTeacher(2, 3, 4), 1.0).set_random_state(0)
    moved = transform({"image": private_image, "label": mask})["label"]
    assert moved.shape == mask.shape and set(moved.unique().tolist()) == {0, 3}
    assert torch.equal(moved.affine, mask.affine) and "filename_or_obj" not in moved.meta


def test_the_array_version_gives_image_and_mask():
    teacher = PolicyTeacher(2, 3, 2)
    item = with_mask()
    array = RandTeacherAugment(teacher, 0.5).set_random_state(3)
    dictionary = RandTeacherAugmentd(["image", "label"], teacher, 0.5).set_random_state(3)
    for _ in range(6):
        image, mask = array(item["image"], item["label"])
        changed = dictionary(item)
        assert torch.equal(changed["image"], image) and torch.equal(changed["label"], mask)


def test_a_mask_is_never_left_behind():
    item = with_mask()
    with pytest.raises(LabelError, match=r"is a mask, which must be transformed.*keys=\['image', 'label'\]"):
        RandTeacherAugmentd("image", PolicyTeacher(2, 3, 2), 0.0)(item)
    with pytest.raises(LabelError, match="Expected a mask .* under 'label', one of the keys, got 1"):
        RandTeacherAugmentd(["image", "label"], PolicyTeacher(2, 3, 2), 1.0)({**item, "label": 1})
    with pytest.raises(LabelError, match=r"images' size \(12, 12\), got \(1, 6, 12\)"):
        RandTeacherAugmentd(["image", "label"], PolicyTeacher(2, 3, 2), 1.0)({**item, "label": item["label"][:, :6]})
    with pytest.raises(ConfigurationError, match="masks of shape .* cannot be transformed"):
        RandTeacherAugmentd(["image", "label"], ImageTeacher(2, 3, 2), 1.0)(item)
