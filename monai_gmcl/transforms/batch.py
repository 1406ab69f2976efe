# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A trained teacher that adds synthetic images to a batch, or replaces images by them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.engines.utils import PrepareBatch, default_prepare_batch
from monai.transforms.transform import Randomizable
from monai.utils.misc import MAX_SEED, get_seed
from monai.utils.type_conversion import convert_to_tensor
from torch import Tensor, nn

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.labels import are_masks
from monai_gmcl.transforms.frozen_teacher import FrozenTeacher, check_difficulty
from monai_gmcl.transforms.synthetic_meta import mixed_batch

__all__ = ["TeacherBatchAugment"]

MODES = ("replace", "append")


class TeacherBatchAugment(PrepareBatch, Randomizable):
    """Replaces a fraction of every batch by a trained teacher's synthetic images; a ``prepare_batch`` for MONAI.

    The teacher runs on the device of the engine. ``fraction * B`` images are drawn without replacement. If that is not
    a whole number, it is rounded up or down at random, so that the fraction holds on average, for partial last batches
    and for batches of one volume, too.

    The seed is that of ``monai.utils.set_determinism``, or of :meth:`set_random_state`. The meta data of a batch with
    synthetic images are those that MONAI's collation of real and synthetic images would give: the geometry, and
    ``synthetic``, ``teacher``, ``label``, ``seed`` and ``difficulty`` for each image. File names are removed, also
    those of real images.

    Args:
        teacher: a teacher, which is copied, or the path of a teacher file.
        fraction: fraction of the batch; in mode ``replace`` at most 1.
        mode: ``replace`` replaces the source images by the synthetic images. ``append`` adds the synthetic images, with
            the labels of their sources, after the real images, so that the batch grows. MONAI's engines apply
            ``postprocessing`` to as many items as the loader gave: in mode ``append``, training metrics get
            postprocessed real images and unprocessed synthetic ones.
        difficulty: strength of the change, or a range ``(low, high)`` from which each batch draws uniformly.
        prepare_batch: function that prepares the batch first. It returns ``(images, labels)``, or these and further
            arguments of the network.

    Shape:
        images ``(B, C, H, W)`` or ``(B, C, D, H, W)``; labels ``(B,)``, ``(B, 1)`` or float ``(B, K)``, masks
        ``(B, K, *spatial)``, which are moved with their images, or None if the teacher does not use labels.

    Raises:
        ConfigurationError: neither a module nor a path, an unknown mode, a wrong fraction or difficulty; in use, images
            of other channels or dimensions or too small for the teacher, or further arguments of the network in mode
            ``append``.
        CheckpointError: a teacher file that cannot be read.
        ImageRangeError: in use, values outside the teacher's ``value_range``.
        LabelError: in use, labels that do not fit the teacher's classes, or no labels for a teacher that needs them.
    """

    def __init__(
        self,
        teacher: nn.Module | str | os.PathLike[str],
        fraction: float = 0.5,
        mode: str = "replace",
        difficulty: float | tuple[float, float] = 1.0,
        prepare_batch: Callable[..., Any] = default_prepare_batch,
    ) -> None:
        if mode not in MODES:
            raise ConfigurationError(f"mode must be one of {', '.join(MODES)}, got {mode!r}.")
        if not 0 <= fraction < math.inf or (mode == "replace" and fraction > 1):
            raise ConfigurationError(
                f"fraction must be at least 0, and at most 1 in mode replace, got {fraction} in mode {mode}."
            )
        self.teacher = FrozenTeacher(teacher)
        self.fraction = fraction
        self.mode = mode
        self.difficulty = check_difficulty(difficulty)
        self.prepare_batch = prepare_batch
        self._sources: np.ndarray[Any, np.dtype[np.int64]] = np.empty(0, np.int64)
        self._seed = 0
        self._strength = 0.0
        self.set_random_state(get_seed())

    def randomize(self, data: int) -> None:
        """Draw the sources among ``data`` images, the seed of the latents and the difficulty."""
        wanted = self.fraction * data
        count = int(wanted) + int(self.R.rand() < wanted % 1)
        rounds = [self.R.permutation(data) for _ in range(math.ceil(count / data))]
        self._sources = np.concatenate([np.empty(0, np.int64), *rounds])[:count]
        self._seed = int(self.R.randint(MAX_SEED, dtype="uint32"))
        self._strength = self.R.uniform(*self.difficulty)

    def __call__(
        self,
        batchdata: Any,
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Prepare a batch and change it; the arguments are those of MONAI's ``prepare_batch``."""
        prepared = self.prepare_batch(batchdata, device, non_blocking, **kwargs)
        images, labels, *rest = prepared if isinstance(prepared, tuple | list) else (prepared, None)
        if self.mode == "append" and any(rest):
            raise ConfigurationError(
                "mode append cannot enlarge the extra inputs that prepare_batch gives to the network. Use mode replace."
            )
        if not len(images):
            return (images, labels, *rest)
        self.randomize(len(images))
        if len(self._sources):
            images, labels = self._augment(images, labels)
        return (images, labels, *rest)

    def _augment(self, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        real = convert_to_tensor(images, track_meta=False)
        plain_labels = None if labels is None else convert_to_tensor(labels, track_meta=False)
        index = torch.as_tensor(self._sources, device=real.device)
        chosen = None if plain_labels is None else plain_labels[index]
        synthetic = self.teacher(real[index], chosen, self._seed, self._strength)
        of_pixels = are_masks(chosen)
        if chosen is not None and of_pixels:
            chosen = self.teacher.change_masks(chosen, real[index], self._seed, self._strength)
        rows, fresh = torch.arange(len(real)), torch.zeros(len(real), dtype=torch.bool)
        sources = torch.as_tensor(self._sources)
        if self.mode == "replace":
            together = real.index_copy(0, index, synthetic)
            fresh[sources] = True
            if plain_labels is not None and chosen is not None and of_pixels:
                labels = plain_labels.index_copy(0, index, chosen)
        else:
            together = torch.cat([real, synthetic])
            labels = None if plain_labels is None or chosen is None else torch.cat([plain_labels, chosen])
            rows, fresh = torch.cat([rows, sources]), torch.cat([fresh, torch.ones(len(sources), dtype=torch.bool)])
        if isinstance(images, MetaTensor):
            together = mixed_batch(
                together,
                images,
                rows,
                fresh,
                keep_geometry=self.teacher.needs_images,
                teacher=self.teacher.name,
                labels=None if labels is None or of_pixels else convert_to_tensor(labels, track_meta=False),
                seed=self._seed,
                difficulty=self._strength,
            )
        return together, labels
