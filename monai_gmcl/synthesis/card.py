# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The data card of a synthetic data set: content, origin and measurements."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from monai_gmcl.metrics import Memorization
from monai_gmcl.names import markdown_code, markdown_text
from monai_gmcl.reporting.page import render
from monai_gmcl.synthesis import out_folder
from monai_gmcl.synthesis.measures import Measures
from monai_gmcl.teachers.teacher_file import TeacherDescription

__all__ = ["card"]


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
    """Return the data card of a synthetic data set, in Markdown. It has no date, so that equal sets have equal cards.

    The record has the arguments of the set. Without real images, ``real_counts`` is empty; without masks,
    ``mask_classes`` is empty.
    """
    found = measures.memorization
    return render(
        "card.md",
        changes_sources=changes_sources,
        counts=counts,
        files=out_folder,
        classes=[[markdown_text(name), str(n), str(real_counts.get(name, "-"))] for name, n in counts.items()],
        origin=_origin(teacher, record, shapes, sum(real_counts.values())),
        diversity=[[markdown_text(name), *map(_number, pair)] for name, pair in measures.diversity.items()],
        kept=measures.diversity_kept,
        leak=measures.label_leak,
        found=found,
        masks=[f"{number} {markdown_text(name)}" for number, name in enumerate(mask_classes)],
        **(_distances(found) if isinstance(found, Memorization) else {}),
    )


def _origin(
    teacher: TeacherDescription, record: Mapping[str, Any], shapes: Sequence[str], real: int
) -> list[list[str]]:
    from monai_gmcl import __version__

    training = json.dumps(teacher.training, sort_keys=True)
    versions = ", ".join(f"{name} {version}" for name, version in sorted(teacher.versions.items()))
    found = {
        "teacher": f"{markdown_text(teacher.architecture.rpartition('.')[2])}, SHA-256 `{teacher.sha256}`",
        "teacher arguments": markdown_code(json.dumps(teacher.config, sort_keys=True)),
        "teacher training": markdown_code(training) if teacher.training else "not recorded",
        "difficulty": f"{record['difficulty']:g}",
        "seed": str(record["seed"]),
        "shape": ", ".join(shapes),
        "real images": f"{real} real images, SHA-256 `{record['source_sha256']}`" if real else "none",
        "crop, size, intensity range": f"{record['crop']}, {record['size']}, {record['intensity_range']}",
        "spacing": str(record["spacing"]),
        "made with": f"monai_gmcl {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
        "teacher saved with": markdown_text(versions),
    }
    return [[name, told] for name, told in found.items()]


def _distances(found: Memorization) -> dict[str, Any]:
    def percentiles(distances: Tensor) -> list[str]:
        return [f"{float(torch.quantile(distances, q)):.4f}" for q in (0.0, 0.05, 0.5)]

    rows = [
        ["synthetic to real", *percentiles(found.distances)],
        ["real to other real", *percentiles(found.real_distances)],
    ]
    by_chance = (found.quantile * (1 - found.quantile) / len(found.distances)) ** 0.5
    return {"distances": rows, "by_chance": by_chance}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
