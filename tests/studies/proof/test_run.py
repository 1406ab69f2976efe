# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

from studies.proof.run import run


def test_a_grid_of_the_proof_is_run_attacked_where_asked_for_and_reported(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    own = {"n": 8, "seeds": 1, "steps": 4, "splits": "test", "channels": 1, "size": 16, "workers": 1}
    run(str(folder), str(out), arms=["gmcl", "none"], **own)  # type: ignore[arg-type]
    plain = {row["arm"]: row for row in map(json.loads, (file.read_text() for file in (out / "runs").glob("*.json")))}
    assert set(plain) == {"gmcl", "none"} and not any("robust" in row for row in plain.values())
    run(str(folder), str(out), arms=["gmcl", "none", "two_stage_gan"], robust=True, **own)  # type: ignore[arg-type]
    rows = {row["arm"]: row for row in map(json.loads, (file.read_text() for file in (out / "runs").glob("*.json")))}
    assert rows["gmcl"]["measures"] == plain["gmcl"]["measures"] and "robust" not in rows["none"]
    assert 0 <= rows["gmcl"]["robust"]["pgd"]["4/255"] <= rows["gmcl"]["robust"]["accuracy"] <= 1
    gan = rows["two_stage_gan"]
    assert gan["synthetic"]["gan"]["length"] == 2 * gan["settings"]["steps"] * gan["settings"]["strength"]
    assert gan["cost"]["tuning"]["flops"] > 0
    assert len(list((out / "pictures").glob("shades-n8-two_stage_gan-s0-*-samples.png"))) == 3
    summary = (out / "summary.md").read_text(encoding="utf-8")
    assert "shades: Images of the GAN" in summary and "shades: Accuracy under attack, AUC under shifts" in summary
    assert "python -m studies.proof.run" in summary
