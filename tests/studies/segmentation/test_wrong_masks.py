# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.weighting import LookAheadWeighting
from studies.grid import read_rows
from studies.segmentation.mask_arms import ARMS, SignWeighting, patches_of
from studies.segmentation.mask_errors import MASKS, draw
from studies.segmentation.wrong_masks import NEEDED, Job, run
from studies.segmentation.wrong_masks_report import page


def test_a_third_of_the_wrong_masks_is_of_each_kind_and_all_else_is_right() -> None:
    data = draw(20, 5, "mixed", 0.3, 7)
    marks = torch.stack([item["mark"] for item in data.doubtful])
    assert marks.bincount(minlength=len(MASKS)).tolist() == [14, 2, 2, 2]
    for given, right in zip(data.doubtful, data.right, strict=True):
        mask, true = given["label"], right["label"]
        assert given["image"] is right["image"]
        kind = list(MASKS)[given["mark"]]
        assert torch.equal(mask, true) == (kind == "right")
        assert {"right": True, "empty": not mask.any(), "shifted": mask.sum() == true.sum()}.get(
            kind, bool((mask >= true).all())
        )
    parts = [data.doubtful, data.trusted, data.held_out]
    assert len({id(item["image"]) for part in parts for item in part}) == sum(map(len, parts))
    again = draw(20, 5, "mixed", 0.3, 7)
    assert all(torch.equal(a["label"], b["label"]) for a, b in zip(data.doubtful, again.doubtful, strict=True))


@pytest.mark.parametrize(("doubtful", "share"), [(None, 0.8), (0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_a_sampler_draws_its_share_of_doubtful_images(doubtful: float | None, share: float) -> None:
    torch.manual_seed(0)
    _, sampler = patches_of(draw(20, 5, "mixed", 0.3, 7), doubtful, 4000)
    assert (torch.tensor(list(sampler)) < 20).float().mean().item() == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize(("given", "found"), [([0.0, 3.0, 1.0, 0.0], [0, 2, 2, 0]), ([0.0, 0.0], [0, 0])])
def test_weights_by_sign_are_equal_among_the_images_that_help(
    monkeypatch: pytest.MonkeyPatch, given: list[float], found: list[float]
) -> None:
    monkeypatch.setattr(LookAheadWeighting, "__call__", lambda *_: torch.tensor(given))
    lesson: Any = None
    assert SignWeighting()(lesson, {}, {}).tolist() == found


def test_arms_have_as_many_passes_or_as_many_steps() -> None:
    for arm, passes in (("equal", 800), ("ours", 400)):
        job = Job(40, 10, "mixed", 0.3, 0, arm, "held_out", 400, "passes")
        assert job.student_steps == passes and passes * ARMS[arm].passes == 400 * ARMS["ours"].passes
        assert Job(40, 10, "mixed", 0.3, 0, arm, "held_out", 400, "steps").student_steps == 400


def test_a_study_goes_on_where_its_rows_end_and_tells_how_images_were_weighed(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    own: dict[str, Any] = {"n": 20, "trusted": 5, "seeds": [3], "steps": 20, "out": str(out)}
    run(arms="right,equal", equal="steps", **own)
    run(arms="right,equal,ours", equal="steps", **own)
    right, equal, ours = read_rows(out, NEEDED)
    assert all(0 <= row["dice"][which] <= 1 for row in (right, equal, ours) for which in ("chosen", "final"))
    assert right["dice"] != equal["dice"] and "weights" not in equal
    assert set(ours["weights"]) <= set(MASKS) and ours["weights"]["right"] >= 0 and 0 <= ours["weights_auc"] <= 1


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"arms": "magic"}, "arms: expected right, .*got 'magic'"),
        ({"errors": "none"}, "errors: expected mixed, .*got 'none'"),
        ({"share": 0.5}, "share from 0 to below .5"),
        ({"trusted": 3}, "trusted from 4"),
        ({"n": 60}, "at most 65 images together, got 60 and 10 trusted"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_runs(tmp_path: Path, given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        run(**given, out=str(tmp_path / "rows.jsonl"))
    assert not (tmp_path / "rows.jsonl").exists()


def test_the_report_tells_what_an_arm_loses_as_a_share_of_what_equal_weights_lose() -> None:
    def row(arm: str, seed: int, dice: float) -> dict[str, Any]:
        own = {} if ARMS[arm].ours is None else {"weights": {"right": 1.1, "empty": 0.4}, "weights_auc": 0.7}
        job = Job(40, 10, "mixed", 0.3, seed, arm, "test", 400, "passes")
        found = {"final": dice, "chosen": dice}
        return {"settings": job.settings, "dice": found, "commit": "a", "seconds": 1.0, **own}

    levels = {"right": 0.7, "equal": 0.6, "ours": 0.68}
    told = page([row(arm, seed, level + seed / 100) for seed in (0, 1) for arm, level in levels.items()])
    assert "| ours | +.020 [+.020, +.020] \u25b2; .20 |" in told
    assert "| equal weights | +.100 [+.100, +.100] \u25b2; 1.00 |" in told
    assert "| ours | 1.10 | .40 | .70 |" in told
