# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from monai_gmcl.exceptions import ConfigurationError, DataError
from studies.json_lines import read_rows
from studies.segmentation import run as runs
from studies.segmentation.arms import ARMS, UNLABELED_ARMS, transforms_of
from studies.segmentation.images import read_part
from studies.segmentation.report import page
from studies.segmentation.run import Job, run


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


def test_lesions_are_small_bright_and_in_each_volume() -> None:
    drawn = read_part("lesions", "valid", "unused")
    for item in drawn:
        image, lesion = item["image"], item["label"] > 0
        assert image.shape == lesion.shape == (1, 48, 48, 48) and 0.005 < lesion.float().mean() < 0.1
        assert image[lesion].mean() > image[~lesion].mean() + 0.05 and image.min() >= 0 and image.max() <= 1


@pytest.mark.parametrize("set_name", ["vessels", "lesions"])
@pytest.mark.parametrize("arm", ARMS)
def test_a_step_of_each_arm_has_as_many_student_passes(arm: str, set_name: str) -> None:
    labeled, unlabeled = runs.batches_of(Job(set_name, 1, 0, arm, 20, "test"))
    lesson = 0 if arm in ("none", "flips", "standard", "nnunet") else labeled + unlabeled
    assert labeled + lesson == (8 if set_name == "vessels" else 4)
    assert (unlabeled > 0) == (arm in UNLABELED_ARMS)


def test_unlabeled_images_are_others_and_come_without_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def stop(*_: Any, unlabeled: Any, train_data_loader: Any, **__: Any) -> None:
        given.update(unlabeled=unlabeled.dataset, labeled=train_data_loader.dataset)
        raise StopIteration

    monkeypatch.setattr(runs, "trainer_of", stop)
    train = read_part("vessels", "train", "unused")
    for part, others in (("valid", 6), ("test", 8)):
        with pytest.raises(StopIteration):
            runs._run("unused", Job("vessels", 2, 5, UNLABELED_ARMS[0], 60, part))
        held = [{id(item["image"]) for item in given[kind].data} for kind in ("labeled", "unlabeled")]
        assert (len(held[0]), len(held[1])) == (2, others) and held[0] | held[1] <= {
            id(item["image"]) for item in train
        }
        assert not held[0] & held[1] and set(given["unlabeled"][0]) == {"image"} and "label" in given["labeled"][0]


def test_runs_with_unlabeled_images_have_tables_of_their_own(tmp_path: Path) -> None:
    out = str(tmp_path / "rows.jsonl")
    run("unused", sets="vessels", arms=["gmcl_flips"], n=1, seeds=[3], steps=20, out=out)
    before = page(out)
    run("unused", sets="vessels", arms=UNLABELED_ARMS, n=1, seeds=[3], steps=20, out=out)
    after = page(out)
    tables = after.replace("runs: `3`", "runs: `1`").split("**Dice, unlabeled images**")
    assert tables[0] == before[: before.index("## The runs")]
    assert all(f"| {arm} |" in tables[1] for arm in ("gmcl_flips", *UNLABELED_ARMS))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("arm", ARMS)
def test_transforms_of_an_arm_move_image_and_mask_together(arm: str, dims: int) -> None:
    torch.manual_seed(0)
    mask = torch.zeros(1, *[64] * dims)
    mask[:, 16:40, 20:50] = 1
    mask[..., -10:] = 0
    changed = [
        transforms_of(arm, dims)({"image": mask * 0.8 + 0.1, "label": mask}) for _ in range(8 if dims == 2 else 3)
    ]
    for item in changed:
        assert item["label"].shape == item["image"].shape and set(item["label"].unique().tolist()) <= {0.0, 1.0}
        pairs = torch.stack([item["image"].flatten(), item["label"].flatten()])
        assert math.isclose(torch.corrcoef(pairs)[0, 1].item(), 1, abs_tol=0.35)


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="sets: expected membranes, vessels, lesions, got 'retina'"):
        run("unused", sets="retina", out=str(tmp_path / "rows.jsonl"))
    with pytest.raises(ConfigurationError, match=r"n from 1 to 7"):
        run("unused", n=8, out=str(tmp_path / "rows.jsonl"))
    with pytest.raises(DataError, match=r"no images of 'membranes'"):
        run(str(tmp_path), sets="membranes", n=1, seeds=1, out=str(tmp_path / "rows.jsonl"))
