# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from monai_gmcl.data import unlabeled_datalist
from monai_gmcl.exceptions import DataError


def test_images_are_found_in_all_folders_in_order(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.png", "a/.hidden.png", ".trash/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / name)
    assert unlabeled_datalist(tmp_path) == [{"image": str(tmp_path / name)} for name in ("a/z.png", "b.png")]


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no folder"):
        unlabeled_datalist(tmp_path / "nowhere")
    with pytest.raises(DataError, match="at least one unlabeled image"):
        unlabeled_datalist(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="Expected only images .* found .*notes.txt"):
        unlabeled_datalist(tmp_path)
