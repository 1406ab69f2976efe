# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The data card of a synthetic data set: content, origin and measurements."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.utils.type_conversion import convert_to_tensor
from torch import Tensor

from monai_gmcl.exceptions import ConfigurationError, LabelError
from monai_gmcl.metrics import LabelLeak, Memorization, diversity, diversity_kept, label_leak, memorization
from monai_gmcl.names import markdown_code, markdown_text
from monai_gmcl.reporting.page import render
from monai_gmcl.synthesis import out_folder
from monai_gmcl.synthesis.real_images import RealImages
from monai_gmcl.teachers.base import Teacher, draw_latents
from monai_gmcl.teachers.teacher_file import TeacherDescription

__all__ = ["Measures", "card", "looks_at_labels", "measure"]

SOURCES_FOR_DIVERSITY, SOURCES_FOR_LEAK, IMAGES_FOR_DIVERSITY = 16, 512, 200
"""Largest number of images, evenly spaced, for each measurement."""


@dataclass(frozen=True)
class Measures:
    """Measurements of a synthetic data set; a string states the reason if a value was not measured.

    Attributes:
        diversity: diversity of synthetic and of real images by class; None for fewer than two images.
        diversity_kept: diversity of the teacher's images relative to that of the untrained teacher.
        label_leak: label leak of a teacher that changes images.
        memorization: distances to real images.
    """

    diversity: Mapping[str, tuple[float | None, float | None]]
    diversity_kept: float | str
    label_leak: LabelLeak | str
    memorization: Memorization | str


def measure(
    teacher: Teacher,
    synthetic: Mapping[str, Tensor],
    real: Mapping[str, Tensor],
    sources: RealImages | None,
    neighbors: tuple[Tensor, Tensor] | None,
    difficulty: float,
    seed: int,
) -> Measures:
    """Measure a set of synthetic images.

    Reduced images ``(n, D)`` of synthetic and real images are passed by class, and of all images (``neighbors``) in the
    order of the files; ``sources`` are the real images in the form of the teacher's input.
    """
    apart = {name: (_diversity(pixels), _diversity(real.get(name))) for name, pixels in synthetic.items()}
    if neighbors is None:
        found: Memorization | str = "not measured: no real images were given (`--source`)"
    elif len(neighbors[1]) < 3:
        found = f"not measured: three real images are needed, {len(neighbors[1])} were given"
    else:
        found = memorization(*neighbors)
    return Measures(apart, _kept(teacher, sources, difficulty, seed), _leak(teacher, sources, difficulty, seed), found)


def _diversity(pixels: Tensor | None) -> float | None:
    return (
        diversity(pixels[_spread(len(pixels), IMAGES_FOR_DIVERSITY)])
        if pixels is not None and len(pixels) > 1
        else None
    )


def _spread(count: int, most: int) -> list[int]:
    """Return at most ``most`` evenly spaced indices."""
    positions: list[int] = torch.linspace(0, count - 1, min(count, most), dtype=torch.double).round().long().tolist()
    return positions


def _alike(sources: RealImages, most: int) -> tuple[Tensor, Tensor]:
    """Return images of one size and their labels."""
    items = [sources[position] for position in _spread(len(sources), most)]
    shape = items[0]["image"].shape
    items = [item for item in items if item["image"].shape == shape]
    images = torch.stack([convert_to_tensor(item["image"], track_meta=False) for item in items])
    return images, torch.stack([torch.as_tensor(item["label"]) for item in items])


def _kept(teacher: Teacher, sources: RealImages | None, difficulty: float, seed: int) -> float | str:
    if sources is not None and teacher.needs_images:
        images, labels = _alike(sources, SOURCES_FOR_DIVERSITY)
    else:
        size = getattr(teacher, "image_size", ())
        images = torch.zeros(teacher.num_classes, teacher.in_channels, *size)
        labels = torch.arange(teacher.num_classes)
    try:
        return diversity_kept(teacher, images, labels, difficulty, seed=seed)
    except ConfigurationError as error:
        return f"not measured: {error}"


def _leak(teacher: Teacher, sources: RealImages | None, difficulty: float, seed: int) -> LabelLeak | str:
    if sources is None or not teacher.needs_images:
        return "not applicable: the images are made from labels and are expected to show them"
    images, labels = _alike(sources, SOURCES_FOR_LEAK)
    if not looks_at_labels(teacher, images[:4], labels[:4], difficulty):
        return "none: the teacher's changes do not depend on the label"
    if sources.of_masks:
        return "not measured: images are expected to show their masks"
    try:
        return label_leak(teacher, images, labels, difficulty, seed)
    except LabelError as error:
        return f"not measured: {error}"


@torch.no_grad()
def looks_at_labels(teacher: Teacher, images: Tensor, labels: Tensor, difficulty: float) -> bool:
    """Whether the images of a teacher depend on the labels, for the same sources and latents."""
    latents = draw_latents(teacher, len(images), images.shape[1:], torch.Generator().manual_seed(0))
    others = 1 - labels if labels.is_floating_point() else (labels + 1) % teacher.num_classes
    return not torch.equal(teacher(images, labels, latents, difficulty), teacher(images, others, latents, difficulty))


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
        diversity=[
            [markdown_text(name), *("-" if value is None else f"{value:.3f}" for value in pair)]
            for name, pair in measures.diversity.items()
        ],
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
