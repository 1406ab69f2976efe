# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""``label_leak.csv``: whether labels can be predicted from the teacher's changes."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import torch
from ignite.engine import Events
from monai.utils.type_conversion import convert_to_tensor
from torch import Tensor

from monai_gmcl.atomic_file import make_folder, write_whole
from monai_gmcl.engines.batches import derive_seed, seed_loader
from monai_gmcl.engines.trainer import GMCLTrainer
from monai_gmcl.handlers.output_lock import hold_output
from monai_gmcl.metrics import label_leak
from monai_gmcl.names import csv_text
from monai_gmcl.ranks import on_first_rank

__all__ = ["LabelLeakLog"]


class LabelLeakLog:
    """Reports at the end of the run whether labels can be predicted from the teacher's changes (label leak).

    ``label_leak.csv`` has the held-out AUC of a small classifier whose input is only the change of an image and, as a
    reference, the same AUC for a teacher that gets the labels in random order (:func:`monai_gmcl.metrics.label_leak`).
    A teacher without ``condition_on_label`` cannot leak labels; nothing is written for it.

    Args:
        output_dir: folder of ``label_leak.csv``; it is created if it does not exist.
        images: largest number of training images for the measurement.
        seed: seed of latents and classifier.
    """

    FILE_NAME = "label_leak.csv"

    def __init__(self, output_dir: str | os.PathLike[str], images: int = 512, seed: int = 0) -> None:
        self.path = Path(output_dir) / self.FILE_NAME
        self.images = images
        self.seed = seed
        self.logger = logging.getLogger(__name__)

    @on_first_rank
    def attach(self, engine: GMCLTrainer) -> None:
        """Attach to an engine."""
        if getattr(engine.teacher, "condition_on_label", False):
            hold_output(engine, self.path.parent)
            engine.add_event_handler(Events.COMPLETED, self._write)

    def _write(self, engine: GMCLTrainer) -> None:
        # The images and their order must not depend on earlier draws, because a resumed run has made no draws.
        devices = [engine.device] if engine.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            seed_loader(engine.data_loader, derive_seed(self.seed, "label leak"))
            self._measure(engine)

    def _measure(self, engine: GMCLTrainer) -> None:
        images, labels = self._training_images(engine)
        difficulty = float(engine.state.curriculum["difficulty"])
        leak = label_leak(engine.teacher, images, labels, difficulty, self.seed)
        header = ["auc", "unconditioned_auc", "images", "difficulty"]
        row = [leak.auc, leak.unconditioned_auc, len(images), difficulty]
        make_folder(self.path.parent)
        write_whole(self.path, csv_text(header, [row], "\r\n"))
        self.logger.info("Label leak: AUC %.3f, unconditioned %.3f.", leak.auc, leak.unconditioned_auc)

    def _training_images(self, engine: GMCLTrainer) -> tuple[Tensor, Tensor]:
        images: list[Tensor] = []
        labels: list[Tensor] = []
        for batch in engine.data_loader:
            image, label, *_ = engine.prepare_batch(batch, engine.state.device, engine.non_blocking, **engine.to_kwargs)
            images.append(convert_to_tensor(image))
            labels.append(convert_to_tensor(label))
            if sum(map(len, labels)) >= self.images:
                break
        return torch.cat(images)[: self.images], torch.cat(labels)[: self.images]
