# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A trained teacher as a random transform of an image."""

from __future__ import annotations

import os
from typing import Any

from monai.config.type_definitions import NdarrayOrTensor
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import RandomizableTransform
from monai.utils.enums import TransformBackends
from monai.utils.misc import MAX_SEED
from monai.utils.type_conversion import convert_to_tensor
from torch import Tensor, nn

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.labels import are_masks
from monai_gmcl.one_thread import one_thread
from monai_gmcl.transforms.frozen_teacher import FrozenTeacher, check_difficulty, label_rows
from monai_gmcl.transforms.synthetic_meta import synthetic_image

__all__ = ["RandTeacherAugment"]


class RandTeacherAugment(RandomizableTransform):
    """With probability ``prob``, replaces an image by a synthetic image that a trained teacher makes.

    A teacher such as :class:`monai_gmcl.PolicyTeacher` changes the given image; a teacher that needs no images makes a
    new one from the label. The latents come from a separate generator, seeded by ``self.R``: torch's global generator
    is neither used nor advanced. To get the same images with any number of data loader workers, see
    :class:`SeededItems`. As a random transform it is never cached by ``CacheDataset`` or ``PersistentDataset``. It is
    not invertible.

    A synthetic image has its own meta data: ``synthetic``, ``teacher``, ``label``, ``seed``, ``difficulty`` and
    ``geometry_of_source``. If it is a change of the source, it keeps affine and spacing, but not the file name and
    header fields. ``teacher(image, label, latents of that seed, difficulty)`` gives the same image again.

    Args:
        teacher: a teacher, which is copied, or the path of a teacher file. A module with the same call signature is
            accepted, too.
        prob: probability of a synthetic image.
        difficulty: strength of the change, or a range ``(low, high)`` from which it is drawn uniformly.

    Shape:
        image ``(C, H, W)`` or ``(C, D, H, W)`` in the teacher's ``value_range``; shape, type and device are kept.
        Computation is in float32; integer images are rounded. A mask ``(K, *spatial)`` keeps its type and its values.

    Raises:
        ConfigurationError: neither a module nor a path, a probability outside 0 to 1, a wrong difficulty; in use, an
            image of other channels or dimensions, or one that is too small for the teacher.
        CheckpointError: a teacher file that cannot be read.
        ImageRangeError: in use, values outside the teacher's ``value_range``.
        LabelError: in use, a label that does not fit the teacher's classes, or no label for a teacher that needs it.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 (as MONAI declares it)

    def __init__(
        self,
        teacher: nn.Module | str | os.PathLike[str],
        prob: float = 0.1,
        difficulty: float | tuple[float, float] = 1.0,
    ) -> None:
        if not 0 <= prob <= 1:
            raise ConfigurationError(f"prob must be from 0 to 1, got {prob}.")
        RandomizableTransform.__init__(self, prob)
        self.teacher = FrozenTeacher(teacher)
        self.difficulty = check_difficulty(difficulty)
        self._drawn: tuple[int, float] | None = None

    def randomize(self, data: Any = None) -> None:
        """Draw whether the next image is changed, the seed of its latents and the difficulty."""
        super().randomize(None)
        if self._do_transform:
            strength = self.R.uniform(*self.difficulty)
            self._drawn = int(self.R.randint(MAX_SEED, dtype="uint32")), strength

    def __call__(self, img: NdarrayOrTensor, label: Any = None, randomize: bool = True) -> Tensor | tuple[Tensor, Any]:
        """Apply the transform.

        Args:
            img: the image, channel first.
            label: class of the image, float labels ``(K,)``, or mask ``(K, *spatial)``; None is accepted if the teacher
                does not use labels.
            randomize: whether to draw new random numbers, or to use the last ones.

        Returns:
            The image; with a mask, the image and the mask, which is moved in the same way.
        """
        image: Tensor = convert_to_tensor(img, track_meta=get_track_meta())
        if randomize:
            self.randomize()
        rows = None if label is None else label_rows(label)
        of_pixels = are_masks(rows)
        if not self._do_transform:
            return (image, label) if of_pixels else image
        if self._drawn is None:
            raise ConfigurationError("No random parameters were drawn. Call randomize() first, or use randomize=True.")
        seed, difficulty = self._drawn
        plain = convert_to_tensor(image, track_meta=False)[None]
        rows = None if rows is None else rows.to(plain.device)
        with one_thread():
            changed = self.teacher(plain, rows, seed, difficulty)[0]
            changed = self._described(changed, image, None if of_pixels else rows)
            if rows is None or not of_pixels:
                return changed
            mask = self.teacher.change_masks(rows, plain, seed, difficulty)[0]
        return changed, self._described(mask, label, None)

    def _described(self, changed: Tensor, source: Any, rows: Tensor | None) -> Tensor:
        if not isinstance(source, MetaTensor) or self._drawn is None:
            return changed
        kept = source if self.teacher.needs_images else None
        return synthetic_image(changed, kept, self.teacher.name, rows, *self._drawn)
