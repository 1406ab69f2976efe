# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from monai_gmcl.exceptions import ConfigurationError, DataError
from studies.json_lines import read_rows
from studies.segmentation.arms import ARMS, transforms_of
from studies.segmentation.images import read_part
from studies.segmentation.run import run


def test_a_study_appends_a_row_for_each_run_and_does_none_twice(tmp_path: Path) -> None:
    out = str(tmp_path / "rows.jsonl")
    for _ in range(2):
        run("unused", sets="vessels", arms="none,gmcl_flips", n=1, seeds=[3], steps=20, out=out)
    plain, ours = read_rows(out)
    assert [row["settings"]["arm"] for row in (plain, ours)] == ["none", "gmcl_flips"]
    assert all(0 <= row["dice"][which] <= 1 for row in (plain, ours) for which in ("chosen", "final"))
    assert len(ours["valid_dice"]) == 20 and ours["policy"]["flip"] > 0 and "policy" not in plain


def test_drawn_vessels_are_thin_dark_and_the_same_each_time() -> None:
    drawn = read_part("vessels", "train", "unused")
    first, second = drawn[:2]
    read_part.cache_clear()
    again = read_part("vessels", "train", "unused")[0]
    assert torch.equal(first["image"], again["image"]) and not torch.equal(first["image"], second["image"])
    images, vessel = (torch.stack([item[key] for item in drawn]) for key in ("image", "label"))
    assert 0.02 < vessel.mean() < 0.3
    assert images[vessel > 0].mean() < images[vessel == 0].mean()


@pytest.mark.parametrize("arm", ARMS)
def test_transforms_of_an_arm_move_image_and_mask_together(arm: str) -> None:
    torch.manual_seed(0)
    mask = torch.zeros(1, 64, 64)
    mask[:, 16:40, 20:50] = 1
    changed = [transforms_of(arm)({"image": mask * 0.8 + 0.1, "label": mask}) for _ in range(8)]
    for item in changed:
        assert item["label"].shape == item["image"].shape and set(item["label"].unique().tolist()) <= {0.0, 1.0}
        pairs = torch.stack([item["image"].flatten(), item["label"].flatten()])
        assert math.isclose(torch.corrcoef(pairs)[0, 1].item(), 1, abs_tol=0.35)


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="sets: expected membranes, vessels, got 'retina'"):
        run("unused", sets="retina", out=str(tmp_path / "rows.jsonl"))
    with pytest.raises(ConfigurationError, match=r"n from 1 to 8"):
        run("unused", n=9, out=str(tmp_path / "rows.jsonl"))
    with pytest.raises(DataError, match=r"no images of 'membranes'"):
        run(str(tmp_path), sets="membranes", n=1, seeds=1, out=str(tmp_path / "rows.jsonl"))
