# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of synthetic images from fixed sources and latents in each epoch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.engines.utils import IterationEvents
from monai.networks.utils import eval_mode
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from monai_gmcl.atomic_file import make_folder, write_whole
from monai_gmcl.engines.batches import derive_seed
from monai_gmcl.engines.checks import check_counts
from monai_gmcl.engines.trainer import GMCLTrainer
from monai_gmcl.handlers.output_lock import hold_output
from monai_gmcl.labels import class_ids
from monai_gmcl.ranks import on_first_rank
from monai_gmcl.reporting.figures import optional_picture
from monai_gmcl.reporting.image_sheet import SheetRow, image_sheet, unnormalized
from monai_gmcl.teachers.base import Teacher, draw_latents

__all__ = ["HEADINGS", "TILE", "ImageGridHandler"]

HEADINGS = ("real images", "the teacher's images")
TILE = 160
"""Side length of an image in the picture, in pixels."""


class ImageGridHandler:
    """Draws the teacher's images from fixed sources and latents in each epoch: ``output_dir/images/epoch_0001.png``.

    One row for each class: the first ``per_class`` real images of the training, beside the synthetic images that the
    teacher makes from them at the current difficulty. Latents are drawn once. Between two pictures only the teacher and
    the difficulty change, also if the run is stopped and resumed by :class:`CheckpointKeeper`. Multi-label images share
    a row.

    The random state of the training is not changed.

    Args:
        output_dir: folder in which the folder ``images`` is created.
        class_names: names of the classes, by label. Default: their numbers.
        per_class: images of each class, at least 1.
        interval: epochs between pictures, at least 1.
        seed: seed of the latents.

    Shape:
        images ``(B, C, H, W)`` or ``(B, C, D, H, W)``. For volumes, the middle slice along D is drawn. Three channels
        are drawn in color; with another number of channels, the first is drawn.

    Raises:
        ConfigurationError: ``per_class`` or ``interval`` below 1.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        class_names: Sequence[str] | None = None,
        per_class: int = 4,
        interval: int = 1,
        seed: int = 0,
    ) -> None:
        check_counts("ImageGridHandler: ", per_class=per_class, interval=interval)
        self.folder = Path(output_dir) / "images"
        self.class_names = class_names
        self.per_class = per_class
        self.interval = interval
        self.seed = seed
        self._sources: dict[int, list[tuple[Tensor, Tensor]]] = {}
        self._latents: dict[int, Tensor] = {}

    @on_first_rank
    def attach(self, engine: GMCLTrainer) -> None:
        """Attach to an engine."""
        make_folder(self.folder)
        hold_output(engine, self.folder.parent)
        # Before decollating and postprocessing, which may convert labels to one-hot and rescale images.
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), self._draw)

    def state_dict(self) -> dict[str, Any]:
        """Return the images and their latents."""
        return {
            "sources": {drawer: [list(pair) for pair in kept] for drawer, kept in self._sources.items()},
            "latents": dict(self._latents),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self._sources = {drawer: [(image, label) for image, label in kept] for drawer, kept in state["sources"].items()}
        self._latents = dict(state["latents"])

    def _collect(self, engine: GMCLTrainer) -> None:
        images, labels = engine.state.output[Keys.IMAGE].detach(), engine.state.output[Keys.LABEL].detach()
        for image, label, drawer in zip(images, labels, class_ids(labels), strict=True):
            kept = self._sources.setdefault(drawer, [])
            if len(kept) < self.per_class:
                kept.append((image.cpu().clone(), label.cpu().clone()))

    def _draw(self, engine: GMCLTrainer) -> None:
        path = self.folder / f"epoch_{engine.state.epoch:04d}.png"
        with optional_picture(path):
            self._draw_rows(engine, path)

    def _draw_rows(self, engine: GMCLTrainer, path: Path) -> None:
        difficulty = engine.state.curriculum["difficulty"]
        # A plain module may draw from the global generators, although it should not.
        devices = [engine.device] if engine.device.type == "cuda" else []
        with eval_mode(engine.teacher), torch.random.fork_rng(devices=devices):
            rows = [self._row(engine, drawer, difficulty) for drawer in sorted(self._sources)]
        title = f"Epoch {engine.state.epoch}, difficulty {difficulty:.3g}"
        value_range = engine.teacher.value_range if isinstance(engine.teacher, Teacher) else None
        write_whole(path, image_sheet(rows, title, HEADINGS, value_range, TILE))

    def _row(self, engine: GMCLTrainer, drawer: int, difficulty: float) -> SheetRow:
        teacher, device = engine.teacher, engine.device
        images, labels = (torch.stack(parts).to(device) for parts in zip(*self._sources[drawer], strict=True))
        latents = self._latents_of(teacher, drawer, images).to(device)
        sources = images if getattr(teacher, "needs_images", True) else None
        synthetic = teacher(sources, labels, latents, difficulty)
        name = "all" if labels[0].numel() > 1 else str(drawer)
        if self.class_names is not None and labels[0].numel() == 1 and 0 <= drawer < len(self.class_names):
            name = self.class_names[drawer]
        return SheetRow(name, [unnormalized(images, teacher), unnormalized(synthetic, teacher)])

    def _latents_of(self, teacher: torch.nn.Module, drawer: int, images: Tensor) -> Tensor:
        """Return the latents of a class, drawn once for the largest possible number of images."""
        if drawer not in self._latents:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "image grid", drawer))
            self._latents[drawer] = draw_latents(teacher, self.per_class, images.shape[1:], generator).cpu()
        return self._latents[drawer][: len(images)]
