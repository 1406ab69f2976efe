# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from monai_gmcl.benchmark.report.formats import difference_text, short
from monai_gmcl.benchmark.report.paired_difference import PairedDifference
from monai_gmcl.benchmark.report.rows import CHECKPOINTS, PRIMARY, Cell, Results, score
from studies.proof.targets import MET, MISSED, OPEN, Target, each, paired

__all__ = ["unlabeled_targets"]

FINAL = "final"
OURS, EQUAL, BOUND = "gmcl_unlabeled", "gmcl_unlabeled_uniform", "gmcl_unlabeled_true"
ALONE = ("gmcl", "gmcl_twice_the_steps")
OTHERS = ("fixmatch", "fixmatch_longer", "mean_teacher", "mean_teacher_longer")
PATCHES, XRAYS = (100, 250, 500), (50, 100)
FEWEST = 100
GAIN = 0.015
ALLOWED_LOSS = 0.005
HALF = 0.5


def unlabeled_targets(results: Results) -> list[Target]:
    """Return the wants of lessons from unlabeled images, weighed by the look-ahead, on PCam and chest X-rays.

    The weights that validation chose decide; what the final ones say stands beside it.
    """
    cells = [Cell("pcam", results.primary_split("pcam"), n) for n in PATCHES]
    return [*_pooled(results, cells), _way_to_true_labels(results, cells), *_on_xrays(results)]


def _pooled(results: Results, cells: Sequence[Cell]) -> Iterator[Target]:
    wants: dict[str, tuple[str, Callable[[PairedDifference], bool]]] = {
        EQUAL: ("interval above 0", lambda found: found.low > 0),
        **dict.fromkeys(ALONE, (f"≥ {short(GAIN)}", lambda found: found.mean >= GAIN)),
        **dict.fromkeys(OTHERS, ("above 0", lambda found: found.mean > 0)),
    }
    for theirs, (wanted, reached) in wants.items():
        there = [cell for cell in cells if results.pairs(cell, OURS, theirs) > 1]
        found = {weights: results.pooled(there, OURS, theirs, weights) for weights in (PRIMARY, FINAL)}
        texts = [
            f"{CHECKPOINTS[weights]} {difference_text(one)} {_word(reached(one))}"
            for weights, one in found.items()
            if one
        ]
        decides = found[PRIMARY]
        state = OPEN if decides is None or len(there) < len(cells) else MET if reached(decides) else MISSED
        yield Target(
            f"Weighted − {results.title(theirs)}, PCam, AUC pooled over n",
            wanted,
            "; ".join([*texts, f"{len(there)} of {len(cells)} n"]),
            state,
        )


def _way_to_true_labels(results: Results, cells: Sequence[Cell]) -> Target:
    """How much of what true labels would add to equal weights the look-ahead adds."""
    cell = next(cell for cell in cells if cell.n == FEWEST)
    texts, state = [], OPEN
    for weights in (PRIMARY, FINAL):
        added = results.difference(cell, OURS, EQUAL, *score(cell, weights))
        whole = results.difference(cell, BOUND, EQUAL, *score(cell, weights))
        if added is None or whole is None or whole.mean <= 0:
            continue
        share = added.mean / whole.mean
        texts.append(f"{CHECKPOINTS[weights]} {short(share, 2)} {_word(share >= HALF)}")
        if weights == PRIMARY:
            state = MET if share >= HALF else MISSED
    what = f"Share of the gain of true labels over equal weights, PCam, n = {FEWEST}"
    return Target(what, f"≥ {short(HALF)}", "; ".join(texts) or "no runs", state)


def _on_xrays(results: Results) -> Iterator[Target]:
    check = paired(results, "gmcl", lambda found: found.mean >= -ALLOWED_LOSS, ours=OURS)
    for split in [split for data, split in results.places() if data == "pneumonia"]:
        cells = [Cell("pneumonia", split, n) for n in XRAYS]
        what = f"Weighted − {results.title('gmcl')}, X-rays ({split}), AUC"
        yield each(what, f"≥ −{short(ALLOWED_LOSS)} at every n", cells, check)


def _word(reached: bool) -> str:
    return "(met)" if reached else "(missed)"
