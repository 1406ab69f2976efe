# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""``lesson_weights.csv``: the weights of the images in lessons, with pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from ignite.engine import Events
from torch import Tensor

from monai_gmcl.atomic_file import make_folder, write_whole
from monai_gmcl.engines.checks import check_counts
from monai_gmcl.engines.keys import GMCLEvents
from monai_gmcl.engines.trainer import GMCLTrainer
from monai_gmcl.handlers.epoch_table import EpochTable
from monai_gmcl.handlers.image_grid import HEADINGS, TILE
from monai_gmcl.handlers.output_lock import hold_output
from monai_gmcl.labels import class_ids, is_multi_label
from monai_gmcl.ranks import on_first_rank
from monai_gmcl.reporting.figures import optional_picture
from monai_gmcl.reporting.image_sheet import SheetRow, image_sheet, unnormalized
from monai_gmcl.teachers.base import Teacher

__all__ = ["LessonWeightsLog"]


class _Weighed(NamedTuple):
    """A weight with its image and the source of the image, as inputs of the student."""

    weight: float
    source: Tensor
    image: Tensor


class LessonWeightsLog:
    """Logs the weights of lesson images: a row of ``lesson_weights.csv`` for each epoch, and pictures.

    Columns: ``mean_given`` is the mean weight of images with given labels, and ``zero_given`` is the fraction of these
    weights that are 0; ``mean_proposed`` and ``zero_proposed`` are the same for images with proposed labels;
    ``mean_<class>`` and ``zero_<class>`` are the same for each class. An image with several labels, float ``(n, K)``,
    counts for each label above .5, in the table and in the pictures; an image without labels counts for none.

    ``weights/epoch_0001.png`` shows for each class the images of the epoch with the highest and the lowest weights,
    beside their sources. If there are images with proposed labels, only these are shown. A teacher that needs no images
    has no pictures.

    Args:
        output_dir: folder of both; it is created if it does not exist.
        class_names: names of the classes, or of the labels, by number. Default: their numbers.
        per_class: images of each class or label with the highest, and with the lowest, weights, at least 1.
        interval: epochs between pictures, at least 1.

    Shape:
        images ``(B, C, H, W)`` or ``(B, C, D, H, W)``. For volumes, the middle slice along D is drawn.

    Raises:
        ConfigurationError: ``per_class`` or ``interval`` below 1.
        DataError: on attaching, if an existing ``lesson_weights.csv`` is not such a table.
    """

    FILE_NAME = "lesson_weights.csv"

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        class_names: Sequence[str] | None = None,
        per_class: int = 6,
        interval: int = 1,
    ) -> None:
        check_counts("LessonWeightsLog: ", per_class=per_class, interval=interval)
        self.folder = Path(output_dir)
        self.table = EpochTable(self.folder / self.FILE_NAME)
        self.class_names = class_names
        self.per_class = per_class
        self.interval = interval
        self._weights: dict[str, list[Tensor]] = {}
        self._ends: dict[int, list[_Weighed]] = {}

    @on_first_rank
    def attach(self, engine: GMCLTrainer) -> None:
        """Attach to an engine."""
        make_folder(self.folder)
        hold_output(engine, self.folder)
        self.table.read()  # read now, so that a wrong file raises an error before the first epoch
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        engine.add_event_handler(GMCLEvents.LESSON_COMPLETED, self._observe)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._write)
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), self._draw)

    def state_dict(self) -> dict[str, Any]:
        """Return the values collected in this epoch."""
        ends = {label: [list(one) for one in found] for label, found in self._ends.items()}
        return {"weights": {name: torch.cat(parts) for name, parts in self._weights.items()}, "ends": ends}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self._weights = {name: [weights] for name, weights in state["weights"].items()}
        self._ends = {label: [_Weighed(*one) for one in found] for label, found in state["ends"].items()}

    def _begin(self) -> None:
        self._weights, self._ends = {}, {}

    def _observe(self, engine: GMCLTrainer) -> None:
        lesson = engine.state.lesson
        weights, places = lesson.weights.cpu(), _places_by_label(lesson.labels)
        parts = {"given": weights[: lesson.num_labeled], "proposed": weights[lesson.num_labeled :]}
        parts |= {self._name(label): weights[of_class] for label, of_class in places.items()}
        for name, part in parts.items():
            self._weights.setdefault(name, []).append(part)
        if lesson.sources is None or engine.state.epoch % self.interval:
            return
        first = lesson.num_labeled if lesson.num_pseudo_labeled else 0
        for label, of_class in places.items():
            of_class = of_class[of_class >= first]
            if not len(of_class):
                continue
            order = of_class[weights[of_class].argsort(stable=True)].tolist()
            at_ends = dict.fromkeys([*order[: self.per_class], *order[-self.per_class :]])
            found = [
                _Weighed(float(weights[i]), lesson.sources[i].cpu(), lesson.images[i].detach().cpu()) for i in at_ends
            ]
            self._ends[label] = self._both_ends([*self._ends.get(label, []), *found])

    def _both_ends(self, found: list[_Weighed]) -> list[_Weighed]:
        found = sorted(found, key=lambda one: one.weight)
        return found if len(found) <= 2 * self.per_class else [*found[: self.per_class], *found[-self.per_class :]]

    def _write(self, engine: GMCLTrainer) -> None:
        row: dict[str, float] = {}
        for name, parts in self._weights.items():
            weights = torch.cat(parts)
            if len(weights):
                row[f"mean_{name}"] = float(weights.mean())
                row[f"zero_{name}"] = float((weights == 0).float().mean())
        self.table.put(engine.state.epoch, row)

    def _draw(self, engine: GMCLTrainer) -> None:
        path = self.folder / "weights" / f"epoch_{engine.state.epoch:04d}.png"
        with optional_picture(path):
            self._draw_ends(engine, path)

    def _draw_ends(self, engine: GMCLTrainer, path: Path) -> None:
        rows = []
        for label in sorted(self._ends):
            found = self._ends[label]
            half = min(self.per_class, max(1, len(found) // 2))
            for title, part in (("highest", found[: -half - 1 : -1]), ("lowest", found[:half])):
                least, most = min(one.weight for one in part), max(one.weight for one in part)
                sides = (torch.stack([getattr(one, name) for one in part]) for name in ("source", "image"))
                name = f"{self._name(label)}, {title}: {least:.2g} to {most:.2g}"
                rows.append(SheetRow(name, [unnormalized(side, engine.teacher) for side in sides]))
        if rows:
            make_folder(path.parent)
            title = f"Epoch {engine.state.epoch}: weights of lesson images"
            value_range = engine.teacher.value_range if isinstance(engine.teacher, Teacher) else None
            write_whole(path, image_sheet(rows, title, HEADINGS, value_range, TILE))

    def _name(self, label: int) -> str:
        known = self.class_names is not None and 0 <= label < len(self.class_names)
        return self.class_names[label] if known and self.class_names is not None else str(label)


def _places_by_label(labels: Tensor) -> dict[int, Tensor]:
    """Return the indices of the images of each class in a lesson or, for multi-label images, of each label."""
    if is_multi_label(labels):
        return {label: has.nonzero().flatten() for label, has in enumerate((labels.flatten(1) > 0.5).cpu().T)}
    classes = torch.tensor(class_ids(labels))
    return {label: (classes == label).nonzero().flatten() for label in sorted(set(classes.tolist()))}
