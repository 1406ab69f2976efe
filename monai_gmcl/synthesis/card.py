# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from monai_gmcl.metrics import LabelLeak, Memorization
from monai_gmcl.names import markdown_code, markdown_text
from monai_gmcl.synthesis.measures import Measures
from monai_gmcl.synthesis.out_folder import CONTACT_SHEET, DATALIST, IMAGES, LABELS, MANIFEST, RECORD
from monai_gmcl.teachers.teacher_file import TeacherDescription

__all__ = ["card"]


DERIVED = (
    "**Derived from real images: not anonymous.** Each image is a change of one real image, which may be recognized in "
    "it. Share the set only with those who may see the real images."
)
FROM_NOTHING = (
    "Made from labels and random numbers alone. The network that makes them was trained with real images, and may have "
    "learned some by heart: see the nearest real images below."
)
CONTENTS = (
    f"- `{IMAGES}/`: the images, a folder for each class",
    f"- `{DATALIST}`: MONAI datalist; `python -m monai.bundle run ... --dataset_dir {DATALIST}` trains on it",
    f"- `{MANIFEST}`: label, seed and SHA-256 of each image",
    f"- `{CONTACT_SHEET}`: some images of each class",
    f"- `{RECORD}`: the arguments of the set, with which a run that was cut off goes on",
)
INTENDED_USE = (
    "Training images for classifiers, beside real ones, in research and teaching. Measure a classifier on real images "
    "alone, of patients that no image here was derived from. Not for diagnosis, and not to show what a disease looks "
    "like: labels were given to the teacher, and no expert has read the images."
)

USE_WITH_MASKS = (
    "Training images for segmentation, beside real ones, in research and teaching. Measure a network on real images "
    "alone, of patients that no image here was derived from. Not for diagnosis: masks were moved with their images, "
    "and no expert has read either."
)


def card(
    teacher: TeacherDescription,
    changes_sources: bool,
    record: Mapping[str, Any],
    counts: Mapping[str, int],
    real_counts: Mapping[str, int],
    shapes: Sequence[str],
    measures: Measures,
    mask_classes: Sequence[str] = (),
) -> str:
    """Return the card of a set of synthetic images, in Markdown. The same set gives the same card: it bears no date.

    Args:
        teacher: what its file says.
        changes_sources: whether it changes real images.
        record: the arguments of the set.
        counts: synthetic images by class.
        real_counts: real images by class; empty where there are none.
        shapes: of the images, as text.
        measures: of the set.
        mask_classes: names of the classes in the masks; empty where images have none.
    """
    real = sum(real_counts.values())
    of_class = [[markdown_text(name), str(count), str(real_counts.get(name, "-"))] for name, count in counts.items()]
    apart = [[markdown_text(name), *map(_number, pair)] for name, pair in measures.diversity.items()]
    sections = {
        "Contents": [
            *CONTENTS,
            *_of_masks(mask_classes),
            "",
            *_table(["class", "synthetic images", "real images"], of_class),
        ],
        "How they were made": _table(["", ""], _origin(teacher, record, shapes, real)),
        "Diversity": [
            "Root mean square difference of two images of a class (values from 0 to 1, small versions of the images):",
            "",
            *_table(["class", "synthetic", "real"], apart),
            "",
            _kept(measures.diversity_kept),
        ],
        "Label leak": [_leak(measures.label_leak)],
        "Nearest real images": _neighbors(measures.memorization, changes_sources),
        "Intended use": [USE_WITH_MASKS if mask_classes else INTENDED_USE],
    }
    kind = "with masks" if mask_classes else f"in {len(counts)} classes"
    lines = [f"# {sum(counts.values())} synthetic images {kind}", ""]
    lines += ["**Synthetic, not for diagnosis.** " + (DERIVED if changes_sources else FROM_NOTHING)]
    for heading, body in sections.items():
        lines += ["", f"## {heading}", "", *body]
    return "\n".join(lines) + "\n"


def _origin(
    teacher: TeacherDescription, record: Mapping[str, Any], shapes: Sequence[str], real: int
) -> list[list[str]]:
    from monai_gmcl import __version__

    ours = f"monai_gmcl {__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    theirs = ", ".join(f"{name} {version}" for name, version in sorted(teacher.versions.items()))
    source = f"{real} real images, SHA-256 `{record['source_sha256']}`" if real else "none"
    return [
        ["teacher", f"{markdown_text(teacher.architecture.rpartition('.')[2])}, SHA-256 `{teacher.sha256}`"],
        ["its arguments", markdown_code(json.dumps(teacher.config, sort_keys=True))],
        [
            "its training",
            markdown_code(json.dumps(teacher.training, sort_keys=True)) if teacher.training else "not told",
        ],
        ["difficulty", f"{record['difficulty']:g}"],
        ["seed", str(record["seed"])],
        ["shape", ", ".join(shapes)],
        ["real images", source],
        ["crop, size, intensity range", f"{record['crop']}, {record['size']}, {record['intensity_range']}"],
        ["spacing", str(record["spacing"])],
        ["made with", ours],
        ["teacher saved with", markdown_text(theirs)],
    ]


def _of_masks(classes: Sequence[str]) -> list[str]:
    told = ", ".join(f"{number} {markdown_text(name)}" for number, name in enumerate(classes))
    return [f"- `{LABELS}/`: a mask of each image, with the numbers of the classes: {told}"] if classes else []


def _kept(kept: float | str) -> str:
    if isinstance(kept, str):
        return f"The teacher's own: {kept}."
    return f"The teacher's draws keep {kept:.0%} of the diversity of an untrained one's (below 50%, it has collapsed)."


def _leak(leak: LabelLeak | str) -> str:
    if isinstance(leak, str):
        return f"{leak[:1].upper()}{leak[1:]}."
    return (
        f"What the teacher added tells a small classifier the label with an AUC of {leak.auc:.3f}; with labels that "
        f"have nothing to do with the images, {leak.unconditioned_auc:.3f}. The difference, "
        f"{leak.auc - leak.unconditioned_auc:+.3f}, is what the teacher writes into the images."
    )


def _neighbors(found: Memorization | str, changes_sources: bool) -> list[str]:
    if isinstance(found, str):
        return [f"{found[:1].upper()}{found[1:]}."]
    lines = [
        "Root mean square difference to the nearest real image (values from 0 to 1, small versions of the images):",
        "",
        *_table(
            ["", "least", "5%", "median"],
            [
                ["synthetic to real", *_percentiles(found.distances)],
                ["real to other real", *_percentiles(found.real_distances)],
            ],
        ),
        "",
    ]
    if changes_sources:
        return [*lines, "The nearest real image is, as a rule, the one that the image was derived from."]
    by_chance = (found.quantile * (1 - found.quantile) / len(found.distances)) ** 0.5
    return [
        *lines,
        f"Memorization: {found.share:.1%} of the images are at most {found.threshold:.4f} from a real one. Of fresh "
        f"images that would be about {found.quantile:.0%} (standard deviation {by_chance:.1%}); more means images "
        "learned by heart. Fewer is no proof of anonymity: a copy that is shifted or brightened is not found.",
    ]


def _percentiles(distances: Tensor) -> list[str]:
    return [f"{float(torch.quantile(distances, q)):.4f}" for q in (0.0, 0.05, 0.5)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(" ".join(cell.split()) for cell in line) + " |" for line in lines]
