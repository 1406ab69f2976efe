# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

LOCAL = ("127.0.0.1", "::1", "localhost")

GATE = (
    *("bundles/", "docs/", "end_to_end/", "studies/", "tutorials/"),
    *("engines/test_leaks.py", "engines/test_ranks.py", "commands/test_init.py::test_the_wheel"),
)
"""Tests that train at length, build, or run programs from end to end; others carry the mark themselves."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests of the gate by their place, and slow ones: ``-m "not gate"`` replaces the usual ``-m "not slow"``."""
    for item in items:
        place = item.path.relative_to(Path(__file__).parent).as_posix()
        if f"{place}::{item.name}".startswith(GATE) or item.get_closest_marker("slow"):
            item.add_marker("gate")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests hold on a machine without a network; what would reach out fails by name."""
    connect = socket.socket.connect

    def only_here(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOCAL:
            raise AssertionError(f"A test tried to reach {address[0]}.")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_here)


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Folder of a real data set by name, or a skipped test that says what is missing."""

    def find(name: str) -> Path:
        root = Path(os.environ.get("GMCL_DATA_DIR") or Path(__file__).parents[2] / "shared" / "data")
        if not (root / name).is_dir():
            pytest.skip(f"no real data at {root / name}; set GMCL_DATA_DIR")
        return root / name

    return find


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two classes, dark and light, of 16 x 16 grey images, each one of its own."""
    root = tmp_path_factory.mktemp("data") / "shades"
    generator = np.random.default_rng(0)
    for part, count in (("train", 40), ("valid", 12), ("test", 10)):
        for level, name in ((100, "dark"), (130, "light")):
            place = root / part / name
            place.mkdir(parents=True)
            for i in range(count):
                pixels = generator.normal(level, 40, (16, 16)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{i}.png")
    return root


WEIGHTS = ("chosen", "final", "ema_chosen", "ema_final")
LEVELS = {"standard": 0.80, "strong": 0.81, "doubled_batch": 0.815, "frozen": 0.83, "gmcl": 0.84, "two_stage_gan": 0.81}
Rows = Callable[..., list[dict[str, Any]]]


def made_row(data: str, n: int, arm: str, seed: int, split: str, auc: float) -> dict[str, Any]:
    measures = {"auc": auc, "accuracy": auc - 0.1, "sensitivity": 0.7, "specificity": 0.8, "ece": 0.05}
    cost = {"wall_seconds": 30.0, "cpu_seconds": 29.0, "student_passes": 51200, "flops": 4e12, "peak_memory_bytes": 2e8}
    tuned = {"wall_seconds": 60.0, "cpu_seconds": 58.0, "student_passes": 102400, "flops": 8e12}
    attacks = {"accuracy": 0.7, "fgsm": {"2/255": auc - 0.2}, "pgd": {"2/255": auc - 0.3}, "blur": auc - 0.05}
    return {
        **{
            "data": data,
            "n": n,
            "seed": seed,
            "arm": arm,
            "settings": {"protocol": 1, "steps": 400},
            "splits": [split],
        },
        "commit": "abc1234",
        "machine": "a machine",
        "measures": {split: dict.fromkeys(WEIGHTS, measures)},
        "valid_auc": dict.fromkeys(WEIGHTS, auc),
        "robust": attacks if arm in ("standard", "gmcl") else None,
        "synthetic": None,
        "cost": {**cost, "tuning": tuned if arm in ("standard", "strong") else None},
        "picture": None,
    }


@pytest.fixture(scope="session")
def rows() -> Rows:
    """Rows as runs leave them: each seed's images are as hard for all arms, up to noise."""

    def make(
        data: str = "pcam",
        sizes: tuple[int, ...] = (100, 250, 500, 1000),
        split: str = "test",
        seeds: int = 4,
        **levels: float,
    ) -> list[dict[str, Any]]:
        chance = random.Random(0)
        found = []
        for n in sizes:
            for seed in range(seeds):
                hard = chance.gauss(0, 0.02)
                for arm, level in {**LEVELS, **levels}.items():
                    auc = level + hard + 0.01 * sizes.index(n) + chance.gauss(0, 0.001)
                    found.append(made_row(data, n, arm, seed, split, auc))
        return found

    return make


@pytest.fixture
def keep(tmp_path: Path) -> Callable[[list[dict[str, Any]]], Path]:
    """Write rows as a comparison does; returns its folder."""

    def write(found: list[dict[str, Any]]) -> Path:
        (tmp_path / "runs").mkdir(exist_ok=True)
        for row in found:
            name = f"{row['data']}-n{row['n']}-{row['arm']}-s{row['seed']}.json"
            (tmp_path / "runs" / name).write_text(json.dumps(row), encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture
def results_of() -> Callable[..., Any]:
    """Results of the AUCs of each arm, seed by seed, on the test set of PCam at n = 500."""
    # Here: most tests do without the report.
    from monai_gmcl.benchmark.report.rows import Results

    def make(aucs: dict[str, list[float]], **known: Any) -> Any:
        found = [
            made_row("pcam", 500, arm, seed, "test", auc)
            for arm, values in aucs.items()
            for seed, auc in enumerate(values)
        ]
        return Results(((Path(f"{i}.json"), row) for i, row in enumerate(found)), **known)

    return make
