# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monai_gmcl.benchmark.arms import ARMS
from monai_gmcl.benchmark.comparison import keep_chosen_strengths
from monai_gmcl.benchmark.data_sets import DataOptions, Images
from monai_gmcl.benchmark.grid import Job, equal_compute_ratio, jobs_of, run_jobs
from monai_gmcl.benchmark.student_run import StudentRun
from monai_gmcl.benchmark.synthetic_images import write_picture
from monai_gmcl.exceptions import ConfigurationError


def options_of(folder: Path) -> DataOptions:
    return DataOptions(str(folder), channels=1, size=16)


def test_an_iteration_of_gmcl_costs_between_two_and_three_supervised_ones() -> None:
    assert 2 < equal_compute_ratio(DataOptions("shades", 3, size=16)) < 3


def test_arms_of_equal_compute_get_more_steps_and_tuned_ones_their_strengths() -> None:
    arms = ("trivial_augment", "strong", "strong_tuned_within_budget", "gmcl")
    jobs = jobs_of(DataOptions("shades"), [10, 20], arms, [0, 1], 100, ["test"], ratio=2.4)
    assert len(jobs) == 2 * 2 * (1 + 3 + 3 + 1)
    assert [job.seed for job in jobs] == sorted(job.seed for job in jobs)
    first = jobs[:8]
    assert [job.steps for job in first] == [240, 240, 240, 240, 80, 80, 80, 100]
    assert [job.strength for job in first] == [None, 0.5, 1.0, 2.0, 0.5, 1.0, 2.0, None]
    assert len({job.file(Path("out")) for job in jobs}) == len(jobs)


def test_a_strength_that_is_chosen_is_the_only_one_to_run() -> None:
    arms, chosen = ("strong", "gmcl"), {("strong", 10): 2.0}
    jobs = jobs_of(DataOptions("shades"), [10, 20], arms, [0], 100, ["test"], ratio=2.4, strengths=chosen)
    assert [(job.n, job.strength) for job in jobs] == [
        *[(10, 2.0), (10, None)],
        *[(20, 0.5), (20, 1.0), (20, 2.0), (20, None)],
    ]


@pytest.mark.parametrize(
    ("arms", "n", "found"),
    [
        (("gan",), [10], "arms must be among standard, .*got 'gan'"),
        (("frozen",), [11], r"multiples of the number of classes, 2.*\[11\]"),
    ],
)
def test_unknown_arms_and_odd_numbers_are_named(arms: tuple[str, ...], n: list[int], found: str) -> None:
    with pytest.raises(ConfigurationError, match=found):
        jobs_of(DataOptions("shades"), n, arms, [0], 10, ["test"], 2.0)


def test_every_setting_names_another_file(folder: Path) -> None:
    job = Job(options_of(folder), 8, 0, "strong", 4, ("test",))
    others = [
        replace(job, options=DataOptions(str(folder), channels=1, size=8)),
        *(replace(job, **change) for change in ({"n": 10}, {"seed": 1}, {"arm": "gmcl"}, {"steps": 5})),
        *(replace(job, **change) for change in ({"splits": ("held_out",)}, {"strength": 2.0})),
    ]
    assert len({one.file(Path()).name for one in [job, *others]}) == 8


def test_one_more_measure_is_taken_where_it_is_asked_for_and_runs_of_before_are_run_again_for_it(
    folder: Path, tmp_path: Path
) -> None:
    names, measures = ["gmcl", "trivial_augment"], {"bright": lambda run, part, seed: {"mean": float(part[0].mean())}}
    plain, more = (
        jobs_of(options_of(folder), [8], names, [0], 4, ["test"], 1.0, measures=asked)
        for asked in ({}, {"gmcl": "bright"})
    )
    assert [job.measure for job in more] == ["bright", None]
    list(run_jobs(plain, tmp_path, workers=1))
    before = json.loads(plain[0].file(tmp_path).read_text())
    assert list(run_jobs(more, tmp_path, workers=1, measures=measures)) == more[:1]
    assert not list(run_jobs([*plain, *more], tmp_path, workers=1, measures=measures))
    measured, other = (json.loads(job.file(tmp_path).read_text()) for job in more)
    assert "bright" not in before and "bright" not in other
    assert measured["measures"] == before["measures"]
    assert 0.3 < measured["bright"]["mean"] < 0.6


def test_runs_are_kept_and_not_run_again(folder: Path, tmp_path: Path) -> None:
    jobs = [Job(options_of(folder), 8, seed, "gmcl", 4, ("held_out", "test")) for seed in (0, 1)]
    assert set(run_jobs(jobs[:1], tmp_path, workers=1)) == {jobs[0]}
    assert set(run_jobs(jobs, tmp_path, workers=1)) == {jobs[1]}
    row = json.loads(jobs[0].file(tmp_path).read_text())
    assert (row["data"], row["n"], row["seed"], row["arm"]) == ("shades", 8, 0, "gmcl")
    assert set(row["measures"]) == {"held_out", "test"}
    assert set(row["measures"]["test"]) == set(row["valid_auc"]) == {"chosen", "final", "ema_chosen", "ema_final"}
    assert 0 <= row["measures"]["test"]["chosen"]["auc"] <= 1
    assert row["cost"]["student_passes"] == 4 * 64 and row["cost"]["tuning"] is None
    assert row["hash"].startswith(jobs[0].file(tmp_path).stem.rsplit("-", 1)[1])


def test_the_first_seed_leaves_a_picture_that_git_does_not_take(folder: Path, tmp_path: Path) -> None:
    jobs = [Job(options_of(folder), 8, seed, "trivial_augment", 4, ("test",)) for seed in (0, 1)]
    list(run_jobs(jobs, tmp_path, workers=1))
    first, second = (json.loads(job.file(tmp_path).read_text())["picture"] for job in jobs)
    assert second is None
    assert sorted(file.name for file in (tmp_path / "pictures").iterdir()) == [".gitignore", Path(first).name]
    assert (tmp_path / "pictures" / ".gitignore").read_text() == "*\n"


def test_a_run_gives_the_same_figures_again(folder: Path, tmp_path: Path) -> None:
    job = Job(options_of(folder), 8, 0, "gmcl", 4, ("test",))
    rows = []
    for place in (tmp_path / "first", tmp_path / "second"):
        list(run_jobs([job], place, workers=1))
        rows.append(json.loads(job.file(place).read_text()))
    assert rows[0]["measures"] == rows[1]["measures"] and rows[0]["valid_auc"] == rows[1]["valid_auc"]


def test_an_arm_of_ones_own_is_run_under_its_name_and_tells_of_its_images(folder: Path, tmp_path: Path) -> None:
    def told(run: StudentRun, held_out: Images, picture: Path) -> dict[str, Any]:
        write_picture(picture, [held_out[0][:4]])
        return {"diversity": 0.25}

    known = {**ARMS, "mine:LONG": replace(ARMS["standard"], title="long", tolerance=0.1, synthetic=told)}
    jobs = jobs_of(options_of(folder), [8], ["mine:LONG"], [1], 4, ["test"], 1.0, known=known)
    assert len(set(run_jobs(jobs, tmp_path, workers=1, known=known))) == 3
    keep_chosen_strengths(jobs, tmp_path)
    (file,) = (tmp_path / "runs").glob("*.json")
    row = json.loads(file.read_text())
    assert (row["arm"], row["title"]) == ("mine:LONG", "long") and row["synthetic"] == {"diversity": 0.25}
    assert ":" not in file.name
    assert len(list((tmp_path / "pictures").glob("shades-n8-mine-LONG-s1-*-samples.png"))) == 3
