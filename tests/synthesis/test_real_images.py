# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from monai_gmcl.exceptions import DataError, LabelError
from monai_gmcl.synthesis.real_images import RealImages, as_seen, read_items
from monai_gmcl.teachers import PolicyTeacher


def datalist(folder, labels):
    Image.new("L", (4, 4)).save(folder / "a.png")
    (folder / "list.json").write_text(
        json.dumps({"training": [{"image": "a.png", "label": label, "group": f"p{label}"} for label in labels]})
    )
    return folder / "list.json"


@pytest.mark.parametrize(
    ("labels", "names", "expected", "found_names"),
    [
        (["tumor", "normal"], ["normal", "tumor", "fat"], [1, 0], ["normal", "tumor", "fat"]),
        ([2, 0], ["normal", "tumor", "fat"], [2, 0], ["normal", "tumor", "fat"]),
        ([2, 0], None, [2, 0], ["0", "1", "2"]),
        (["tumor", "fat", "normal"], None, [2, 0, 1], ["fat", "normal", "tumor"]),
    ],
)
def test_labels_are_the_teacher_s_by_name_or_by_number(labels, names, expected, found_names, tmp_path):
    items, found = read_items(datalist(tmp_path, labels), 3, names)
    assert [item["label"] for item in items] == expected and found == found_names
    assert [item["group"] for item in items] == [f"p{label}" for label in labels]


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        (["tumor", "bone"], ["normal", "tumor", "fat"], "3 classes (normal, tumor, fat), found 2"),
        ([3, 0], ["normal", "tumor", "fat"], "found 2 in"),
        (["tumor", "bone"], None, "3 classes, found 2"),
    ],
)
def test_other_classes_than_the_teacher_s_are_refused(labels, names, message, tmp_path):
    with pytest.raises(LabelError, match=re.escape(message)):
        read_items(datalist(tmp_path, labels), 3, names)


def test_images_come_as_the_teacher_takes_them(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    teacher = PolicyTeacher(2, 3, 2, (-1.0, 3.0), mean=[0.5, 0.0, 1.0], std=[2.0, 1.0, 0.5])
    real = RealImages([{"image": str(tmp_path / "a.png"), "label": 1}], teacher, crop=6)
    image = real[0]["image"]
    expected = (pixels[:, 1:7].transpose(2, 0, 1) / 255 * 4 - 1 - np.array([0.5, 0, 1]).reshape(3, 1, 1)) / np.array(
        [2, 1, 0.5]
    ).reshape(3, 1, 1)
    np.testing.assert_allclose(image, expected, atol=1e-5)
    teacher.check_range(image[None])
    torch.testing.assert_close(as_seen(image.as_tensor(), teacher), real.seen(0).as_tensor())


def test_the_survey_depends_on_labels_pixels_and_their_order(tmp_path):
    for name, value in (("a", 0), ("b", 200)):
        Image.new("L", (4, 4), value).save(tmp_path / f"{name}.png")
    teacher = PolicyTeacher(2, 1, 2)

    def survey(*items):
        return RealImages([{"image": str(tmp_path / name), "label": label} for name, label in items], teacher).survey()

    first = survey(("a.png", 0), ("b.png", 1))
    assert first.shapes == [(1, 4, 4)] * 2 and first.pixels.shape == (2, 32 * 32)
    assert first.sha256 == survey(("a.png", 0), ("b.png", 1)).sha256
    others = [survey(("b.png", 1), ("a.png", 0)), survey(("a.png", 1), ("b.png", 1)), survey(("a.png", 0))]
    assert len({first.sha256, *(other.sha256 for other in others)}) == 4


def test_a_file_that_is_no_data_list_is_named(tmp_path):
    (tmp_path / "list.txt").write_text("")
    with pytest.raises(DataError, match="found '.*list.txt'"):
        read_items(tmp_path / "list.txt", 2, None)
