# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Many runs, a row each in a file of JSON lines, so that a study that is stopped goes on where its rows end."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from monai_gmcl.exceptions import ConfigurationError, DataError

__all__ = [
    "FieldsJob",
    "Job",
    "checked_names",
    "commit",
    "facts_of",
    "read_rows",
    "run_missing",
    "seeds_of",
    "without_rows",
]

ROOT = Path(__file__).parents[1]


class Job(Protocol):
    """A run of a study."""

    @property
    def settings(self) -> dict[str, Any]:
        """What the run is known by, and what its row holds as ``settings``."""


@dataclass(frozen=True)
class FieldsJob:
    """A run that is known by all of its fields."""

    @property
    def settings(self) -> dict[str, Any]:
        """What the run is known by."""
        return asdict(self)


J = TypeVar("J", bound=Job)


def seeds_of(given: int | Sequence[int]) -> list[int]:
    """Return the seeds of a study, given as their number, from 0 on, or one by one."""
    return list(range(given)) if isinstance(given, int) else list(given)


def checked_names(argument: str, given: str | Sequence[str], known: Iterable[str]) -> list[str]:
    """Return names, given as a sequence or separated by commas.

    Raises:
        ConfigurationError: an unknown name, none, or one twice; names the argument.
    """
    names = given.split(",") if isinstance(given, str) else list(given)
    known = list(known)
    for name in names:
        if name not in known:
            raise ConfigurationError(f"{argument}: expected {', '.join(known)}, got {name!r}.")
    if not names or len(set(names)) < len(names):
        raise ConfigurationError(f"{argument}: expected each name once, got {given!r}.")
    return names


def read_rows(file: Path, needed: Iterable[str]) -> list[dict[str, Any]]:
    """Return the rows of a file; none where there is no file.

    Args:
        file: of rows.
        needed: what the settings of each row must hold.

    Raises:
        DataError: a line that is no whole row of the study; names it.
    """
    if not file.exists():
        return []
    needed, rows = set(needed), []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(keepends=True), 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        settings = row.get("settings") if isinstance(row, dict) else None
        if not line.endswith("\n") or not isinstance(settings, dict) or not settings.keys() >= needed:
            raise DataError(
                f"{str(file)!r}, line {number}: expected the row of a run, found {line[:60]!r}. "
                "Delete the line; the run is then done again."
            )
        rows.append(row)
    return rows


def facts_of(rows: Sequence[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """Return how many runs there are, how long they took, and of which commits they are, for a report."""
    commits = Counter(row["commit"] for row in rows)
    return [
        ("runs", [str(len(rows))]),
        ("hours of one core", [f"{sum(row['seconds'] for row in rows) / 3600:.1f}"]),
        ("commits", [f"{commit}: {count} runs" for commit, count in commits.most_common()]),
    ]


@contextmanager
def without_rows(jobs: Sequence[J], out: Path, needed: Iterable[str]) -> Iterator[list[J]]:
    """Give the jobs that have no row yet, and keep other commands from writing to the file of rows meanwhile.

    Raises:
        ConfigurationError: another command writes to it.
        DataError: a damaged row.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(out, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _hold(lock, out)
        done = {json.dumps(row["settings"], sort_keys=True) for row in read_rows(out, needed)}
        missing = [job for job in jobs if json.dumps(job.settings, sort_keys=True) not in done]
        print(f"{len(jobs)} runs, {len(jobs) - len(missing)} of them done", flush=True)
        yield missing
    finally:
        os.close(lock)


def _hold(lock: int, out: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigurationError(
            f"Expected {str(out)!r} for this command alone, but another one writes to it. "
            "Name another file as --out: the report reads several."
        ) from error


def run_missing(
    jobs: Sequence[J],
    run: Callable[[J], dict[str, Any]],
    workers: int,
    out: Path,
    told: Callable[[J], str],
    measure: str = "auc",
) -> None:
    """Run jobs in processes of their own, and append the row of each to a file.

    Args:
        jobs: to run.
        run: makes a row of a job; found by its name in the process that runs it.
        workers: processes at a time.
        out: file of rows.
        told: a job in a few words, printed when it has run.
        measure: key of what the row has measured, printed beside.

    Raises:
        RuntimeError: a run failed; names the job.
    """
    began = time.perf_counter()
    with multiprocessing.get_context("fork").Pool(workers, maxtasksperchild=1) as pool:
        for count, (job, row) in enumerate(pool.imap_unordered(_Run(run), jobs), 1):
            # One write of a whole line: a study that is killed leaves no half of one.
            with out.open("ab", buffering=0) as file:
                file.write(json.dumps(row, default=str).encode() + b"\n")
            left = (time.perf_counter() - began) / count * (len(jobs) - count) / 60
            print(f"{count}/{len(jobs)} {told(job)} {row[measure]}, {left:.0f} minutes left", flush=True)


class _Run(Generic[J]):
    def __init__(self, run: Callable[[J], dict[str, Any]]) -> None:
        self.run = run

    def __call__(self, job: J) -> tuple[J, dict[str, Any]]:
        try:
            return job, self.run(job)
        except Exception as error:
            raise RuntimeError(f"{job} failed: {error}") from error


@lru_cache(maxsize=1)
def commit(*sources: str) -> str:
    """Return the commit of the checkout, with ``-dirty`` where the package or these sources have been changed."""

    def told(*command: str) -> str:
        return subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    changed = "-dirty" if told("status", "--porcelain", "monai_gmcl", *sources) else ""
    return told("describe", "--always") + changed or "not a checkout"
