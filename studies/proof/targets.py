# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What the comparison is to reach, and whether its rows do: the table of wants, computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from monai_gmcl.benchmark.report.formats import difference_text, short, signed
from monai_gmcl.benchmark.report.paired_difference import PairedDifference
from monai_gmcl.benchmark.report.rows import Cell, Results, score
from studies.proof.tables import SHARES

__all__ = ["MET", "MISSED", "OPEN", "SIZES", "Target", "each", "paired", "targets"]

MET = "met"
"""State of a target that was reached."""
MISSED = "missed"
"""State of a target that was measured and not reached."""
OPEN = "not measured"
"""State of a target that lacks runs."""
PATCHES, XRAYS = "pcam", "pneumonia"
SIZES = {PATCHES: (100, 250, 500, 1000), XRAYS: (100, 200, 400)}
"""Numbers of labeled images at which each data set counts."""
HALVES = {PATCHES: SIZES[PATCHES], XRAYS: (100, 200)}
"""Those that can be compared with standard transforms on twice as many: there are 700 X-rays."""
UNHARMED = ("phantom", "volumes")
"""Data sets that GMCL must not harm: drawn tissue, and 3-D NIfTI images."""
GAIN = 0.02
ALLOWED_LOSS = 0.005
SHARE_OF_TIME = 1 / 3
STARTS = {
    "at the usual start": "",
    "from a third of the usual strength": "_weak_start",
    "from three times the usual strength": "_strong_start",
}
"""Ends of the names of the arms whose teacher starts at that strength."""

Check = tuple[bool | None, str]
"""Whether a cell reaches a want, None where its runs are missing, and what was found."""
NO_RUNS: Check = None, ""


@dataclass(frozen=True)
class Target:
    """A want and what came of it.

    Attributes:
        what: is compared.
        wanted: of it.
        found: in each cell.
        state: ``met``, ``missed`` or ``not measured``.
    """

    what: str
    wanted: str
    found: str
    state: str


def targets(results: Results) -> list[Target]:
    """Return the wants of the comparison on PCam (``pcam``) and chest X-rays (``pneumonia``).

    The primary weights count, those that validation chose, on ``test`` where it was read. A want that holds for
    several cells is missed as soon as one misses it, met when all are there and meet it, and else not measured.
    """
    parts = (_gains, _against_the_gan, _learning, _robustness, _no_harm, _shares)
    return [target for part in parts for target in part(results)]


def _gains(results: Results) -> Iterator[Target]:
    for arm in ("standard", "strong"):
        yield each(
            f"1. GMCL − {arm} transforms, PCam, AUC",
            f"≥ {short(GAIN)} and interval above 0, at every n",
            _cells(results, PATCHES),
            paired(results, arm, lambda found: found.mean >= GAIN and found.low > 0 if found.pairs > 1 else None),
        )
    for split in [split for data, split in results.places() if data == XRAYS] or ["test", "test_shifted"]:
        yield each(
            f"1. GMCL − the better of both, X-rays ({split}), AUC",
            f"≥ −{short(ALLOWED_LOSS)} at every n",
            _cells(results, XRAYS, split),
            lambda cell: _beside_the_better(results, cell),
        )


def _beside_the_better(results: Results, cell: Cell) -> Check:
    means = {arm: results.mean(cell, arm, *score(cell)) for arm in ("standard", "strong")}
    known = {arm: mean for arm, mean in means.items() if mean is not None}
    if len(known) < len(means):
        return NO_RUNS
    better = max(known, key=lambda arm: known[arm])
    return paired(results, better, lambda found: found.mean >= -ALLOWED_LOSS)(cell)


def _against_the_gan(results: Results) -> Iterator[Target]:
    cells = [*_cells(results, PATCHES), *_cells(results, XRAYS)]
    check = paired(results, "two_stage_gan", lambda found: found.mean >= GAIN)
    yield each("2. GMCL − two-stage GAN, AUC", f"≥ {short(GAIN)}", cells, check)
    what = "2. GMCL's time as a share of the two-stage GAN's, at its tuned length"
    yield each(what, f"≤ {short(SHARE_OF_TIME)}", cells, lambda cell: _share_of_time(results, cell))


def _share_of_time(results: Results, cell: Cell) -> Check:
    """Of a run; what the choice of the GAN's length took, and counted operations, are told beside it."""
    for machine in results.machines(cell, "gmcl", "two_stage_gan"):
        ours = results.mean(cell, "gmcl", "cost", "wall_seconds", machine=machine)
        theirs = results.mean(cell, "two_stage_gan", "cost", "wall_seconds", machine=machine)
        if ours is None or not theirs:
            continue
        choice = results.mean(cell, "two_stage_gan", "cost", "tuning", "wall_seconds", machine=machine) or 0.0
        flops = [results.mean(cell, arm, "cost", "flops") for arm in ("gmcl", "two_stage_gan")]
        counted = f"; FLOP {short(flops[0] / flops[1], 2)}" if flops[0] and flops[1] else ""
        text = f"{short(ours / theirs, 2)} (with its tuning {short(ours / (theirs + choice), 2)}{counted})"
        return ours / theirs <= SHARE_OF_TIME, text
    return NO_RUNS


def _learning(results: Results) -> Iterator[Target]:
    wanted = [*_cells(results, PATCHES), *_cells(results, XRAYS)]
    for title, end in STARTS.items():
        ours, theirs = f"gmcl{end}", f"frozen{end}"
        cells = [cell for cell in wanted if results.pairs(cell, ours, theirs) > 1]
        found = results.pooled(cells, ours, theirs)
        # A wrong start may be tried on some cells; the usual one is wanted on all.
        enough = cells and (end or len(cells) == len(wanted))
        state = OPEN if found is None or not enough else MET if found.low > 0 else MISSED
        last = results.pooled(cells, ours, theirs, "final")
        text = f"{difference_text(found)}, {len(cells)} of {len(wanted)} cells" if found else "no runs"
        text += f"; last checkpoint {difference_text(last)}" if last else ""
        yield Target(f"3. GMCL − frozen teacher, {title}, AUC pooled", "interval above 0", text, state)


def _robustness(results: Results) -> Iterator[Target]:
    yield each(
        "4. GMCL − standard transforms, accuracy under PGD 2/255",
        "above 0 at every n",
        [*_cells(results, PATCHES), *_cells(results, XRAYS)],
        paired(results, "standard", lambda found: found.mean > 0, ("robust", "pgd", "2/255")),
    )
    for data, title in ((PATCHES, "PCam"), (XRAYS, "X-rays")):
        yield _label_efficiency(results, data, title)


def _label_efficiency(results: Results, data: str, title: str) -> Target:
    split = results.primary_split(data)
    gains, missing = {}, 0
    for n in sorted({cell.n for cell in results.cells(data, split)} | set(HALVES[data])):
        few, twice = Cell(data, split, n), Cell(data, split, 2 * n)
        ours, theirs = results.mean(few, "gmcl", *score(few)), results.mean(twice, "standard", *score(twice))
        if ours is None or theirs is None:
            # Others have no twin in the plan.
            missing += n in HALVES[data]
        else:
            gains[n] = ours - theirs
    reached = sum(gain >= 0 for gain in gains.values())
    state = MET if reached > 1 else OPEN if reached + missing > 1 else MISSED
    found = "; ".join(f"{n} − {2 * n}: {signed(gain)}" for n, gain in gains.items()) or "no runs"
    what = f"4. GMCL with n labels − standard transforms with 2 n, {title}, AUC"
    return Target(what, "≥ 0 for two n or more", found, state)


def _no_harm(results: Results) -> Iterator[Target]:
    check = paired(results, "standard", lambda found: found.high >= 0 if found.pairs > 1 else None)
    for data in UNHARMED:
        split = results.primary_split(data)
        cells = results.cells(data, split) or [Cell(data, split, 0)]
        yield each(f"5. GMCL − standard transforms, {data}, AUC", "interval not below 0", cells, check)


def _shares(results: Results) -> Iterator[Target]:
    cells = [*_cells(results, PATCHES), *_cells(results, XRAYS)]
    whole = [cell for cell in cells if all(results.pairs(cell, ours, theirs) > 1 for _, ours, theirs in SHARES)]
    state = MET if len(whole) == len(cells) else OPEN
    found = f"{len(whole)} of {len(cells)} cells"
    yield Target("6. Shares of the gain, with intervals", "for each data set and n", found, state)


def _cells(results: Results, data: str, split: str | None = None) -> list[Cell]:
    """The cells that count, there or not."""
    return [Cell(data, split or results.primary_split(data), n) for n in SIZES[data]]


def paired(
    results: Results,
    theirs: str,
    reached: Callable[[PairedDifference], bool | None],
    path: tuple[str, ...] = (),
    ours: str = "gmcl",
) -> Callable[[Cell], Check]:
    """A check of one arm minus another; of AUC, unless a path is given."""

    def check(cell: Cell) -> Check:
        found = results.difference(cell, ours, theirs, *(path or score(cell)))
        return NO_RUNS if found is None else (reached(found), difference_text(found))

    return check


def each(what: str, wanted: str, cells: Sequence[Cell], check: Callable[[Cell], Check]) -> Target:
    """Return a want that must hold in each of some cells."""
    several = len({cell.data for cell in cells}) > 1
    names = [f"{cell.data} {cell.n}" if several else f"n = {cell.n}" for cell in cells]
    found = [check(cell) for cell in cells]
    texts = [f"{name}: {text}" for name, (_, text) in zip(names, found, strict=True) if text]
    missing = [name for name, (_, text) in zip(names, found, strict=True) if not text]
    if missing:
        texts.append("no runs" + (f" at {', '.join(missing)}" if texts else ""))
    states = [state for state, _ in found]
    return Target(what, wanted, "; ".join(texts), MISSED if False in states else OPEN if None in states else MET)
