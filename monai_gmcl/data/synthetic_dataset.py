# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A data set whose synthetic images are made when they are accessed."""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.utils.enums import MetaKeys
from monai.utils.type_conversion import convert_to_tensor
from torch import Tensor, nn
from torch.utils.data import Dataset

from monai_gmcl.data.labeled_sources import Label, LabeledSources, read_label
from monai_gmcl.exceptions import ConfigurationError, DataError, ImageRangeError, LabelError, TeacherError
from monai_gmcl.one_thread import one_thread
from monai_gmcl.teachers.base import Teacher, draw_latents

__all__ = ["SyntheticDataset", "SyntheticPlan"]

_one_at_a_time = threading.RLock()


class SyntheticPlan(NamedTuple):
    """The inputs of a synthetic image.

    Attributes:
        label: class, or row of labels, of the image.
        number: index of the image among the images of this label.
        seed: seed of the latents.
        source: index of the source image; None without sources.
    """

    label: Label
    number: int
    seed: int
    source: int | None


class SyntheticDataset(Dataset[dict[str, Any]]):
    """``per_class`` labeled synthetic images of each class, which a teacher makes when they are accessed.

    This is a map-style data set for ``DataLoader``, ``CacheDataset`` and, together with real data, ``ConcatDataset``.
    An image depends only on (teacher, difficulty, seed, label, number, source). On the same machine, it is therefore
    equal bit for bit for every order, worker and batch, and a larger data set with the same seed contains the smaller
    one. The first ``per_class`` images belong to the first class, and so on. All sources of a class are used before one
    is used again.

    Items are dicts. ``image`` is a MetaTensor ``(C, H, W)`` or ``(C, D, H, W)`` with the shape and normalization of the
    sources. Its meta data are ``synthetic`` (True), ``teacher``, ``label``, ``seed``, ``difficulty`` and ``geometry``.
    ``geometry`` is "source" if affine and space are copied from a source, otherwise "none"; no other meta data of a
    source are copied. ``label`` is an int (a tensor if the sources have tensors), or a float tensor ``(K,)`` for
    multi-label tasks. For sources with masks, it is the mask, moved together with its image, with the image's affine.

    The data set uses a copy of the teacher, in evaluation mode on the CPU. Later training does not change the copy.

    Args:
        teacher: the teacher, or a plain module with the same call signature.
        per_class: number of images of each class. In multi-label tasks, a class is a combination of labels. All sources
            with masks belong to class 0.
        sources: real images for a teacher that changes images, in a form that :class:`LabeledSources` accepts.
        classes: the classes, or rows of labels, of the images. Default: all classes of the teacher; in multi-label
            tasks, all combinations of labels in the sources.
        difficulty: strength of the teacher's change, at least 0.
        seed: seed of all images.
        image_key: key of the image in sources and items.
        label_key: key of the label in sources and items.
        teacher_name: name of the teacher in the meta data. Default: the name of its class.

    Raises:
        ConfigurationError: missing or unnecessary sources, sources with random transforms, ``per_class`` below 1, a
            negative difficulty, or a teacher that needs no sources and has no known image size.
        LabelError: labels that do not fit the teacher's classes, or a class without a source.
        DataError: when an image is made: a source with other channels or dimensions than the teacher's, or a source
            that is too small for the teacher.
        ImageRangeError: when an image is made: a source with values outside the teacher's value range.
        TeacherError: the teacher returned something other than one finite image of the source's shape.
    """

    def __init__(
        self,
        teacher: nn.Module,
        per_class: int,
        sources: Any = None,
        classes: Sequence[Any] | None = None,
        difficulty: float = 1.0,
        seed: int = 0,
        image_key: str = "image",
        label_key: str = "label",
        teacher_name: str | None = None,
    ) -> None:
        if per_class < 1 or not difficulty >= 0:
            raise ConfigurationError(
                f"Expected per_class of at least 1 and difficulty of at least 0, got {per_class} and {difficulty}."
            )
        needs_images = getattr(teacher, "needs_images", True)
        if needs_images != (sources is not None):
            wanted = "changes images and needs sources" if needs_images else "needs no images and takes no sources"
            raise ConfigurationError(f"{type(teacher).__name__} {wanted}.")
        self.teacher = copy.deepcopy(teacher).cpu().eval().requires_grad_(False)
        self.teacher_name = type(teacher).__name__ if teacher_name is None else teacher_name
        self.per_class, self.difficulty, self.seed = per_class, float(difficulty), seed
        self.image_key, self.label_key = image_key, label_key
        self.sources = LabeledSources(sources, image_key, label_key) if needs_images else None
        self._made_shape = () if needs_images else _made_shape(teacher)
        self.classes = self._choose_classes(classes)
        self._orders = (
            {label: self._order(self.sources.by_label[label], label) for label in self.classes} if self.sources else {}
        )

    def __len__(self) -> int:
        return self.per_class * len(self.classes)

    def plan(self, index: int) -> SyntheticPlan:
        """Return the inputs of image ``index`` without making the image.

        Raises:
            IndexError: ``index`` is beyond the last image.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        place, number = divmod(index % len(self), self.per_class)
        label, source = self.classes[place], None
        if label in self._orders:
            source = self._orders[label][number % len(self._orders[label])]
        return SyntheticPlan(label, number, _derive(self.seed, "latents", label, number), source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        plan = self.plan(index)
        with _one_at_a_time, one_thread(), torch.no_grad():
            if self.sources is None or plan.source is None:
                source, image = None, self._make(plan, None, self._made_shape)
            else:
                source, mask = self.sources.read(plan.source, plan.label)
                image = self._change(plan, source, self.sources.name(plan.source, source), mask)
                if mask is not None:
                    moved = self._described(self._moved(plan, mask, tuple(image.shape)), source, plan)
                    return {self.image_key: self._described(image, source, plan), self.label_key: moved}
        of_classes = isinstance(plan.label, int)
        tensor_label = not of_classes or (self.sources is not None and self.sources.tensor_labels)
        label: Any = torch.tensor(plan.label) if tensor_label else plan.label
        return {self.image_key: self._described(image, source, plan), self.label_key: label}

    def _change(self, plan: SyntheticPlan, source: Tensor, name: str, mask: Tensor | None) -> Tensor:
        image = convert_to_tensor(source, track_meta=False)
        if isinstance(self.teacher, Teacher):
            _check_image(self.teacher, image, name)
        try:
            made = self._make(plan, image, tuple(image.shape), mask)
        except RuntimeError as error:
            # this is an error of torch, not a GMCLError: the image does not fit a layer
            raise DataError(
                f"{type(self.teacher).__name__} cannot change {name} of shape {tuple(image.shape)}, which may be "
                f"too small for it: {error}"
            ) from error
        return made.to(image.dtype) if image.is_floating_point() else made

    def _make(
        self, plan: SyntheticPlan, image: Tensor | None, shape: tuple[int, ...], mask: Tensor | None = None
    ) -> Tensor:
        latents = self._latents(plan, shape)
        images = None if image is None else image[None].to(latents.dtype)
        labels = torch.tensor([plan.label]) if mask is None else convert_to_tensor(mask, track_meta=False)[None]
        made = self.teacher(images, labels, latents, self.difficulty)
        if not isinstance(made, Tensor) or tuple(made.shape) != (1, *shape) or not bool(made.isfinite().all()):
            found = f"shape {tuple(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
            raise TeacherError(
                f"{type(self.teacher).__name__} must return one image with finite values of shape {(1, *shape)}, "
                f"got {found}."
            )
        # cloned, because at difficulty 0 the image is the source itself
        plain: Tensor = convert_to_tensor(made, track_meta=False)
        return plain[0].clone()

    def _latents(self, plan: SyntheticPlan, shape: tuple[int, ...]) -> Tensor:
        dtype = next((p.dtype for p in self.teacher.parameters() if p.is_floating_point()), torch.float32)
        return draw_latents(self.teacher, 1, shape, _generator(plan.seed)).to(dtype)

    def _moved(self, plan: SyntheticPlan, mask: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return the mask, moved as the image with the same latents; a plain module does not move masks."""
        plain: Tensor = convert_to_tensor(mask, track_meta=False)
        change = getattr(self.teacher, "change_labels", None)
        if change is None:
            return plain.clone()
        moved = change(plain[None], self._latents(plan, shape), self.difficulty)
        if not isinstance(moved, Tensor) or moved.shape != (1, *plain.shape):
            found = f"shape {tuple(moved.shape)}" if isinstance(moved, Tensor) else type(moved).__name__
            raise TeacherError(
                f"{type(self.teacher).__name__}.change_labels must return masks {(1, *plain.shape)}, got {found}."
            )
        return moved[0].clone().to(plain.dtype)

    def _described(self, image: Tensor, source: Tensor | None, plan: SyntheticPlan) -> Tensor:
        """Return the image with its meta data, if MONAI tracks meta data."""
        if not get_track_meta():
            return image
        meta: dict[Any, Any] = {
            "synthetic": True,
            "teacher": self.teacher_name,
            "label": plan.label if isinstance(plan.label, int) else torch.tensor(plan.label),
            "seed": plan.seed,
            "difficulty": self.difficulty,
            "geometry": "none",
        }
        affine = None
        if isinstance(source, MetaTensor):
            affine, meta["geometry"] = source.affine.clone(), "source"
            if MetaKeys.SPACE in source.meta:
                meta[MetaKeys.SPACE] = source.meta[MetaKeys.SPACE]
        return MetaTensor(image, affine=affine, meta=meta)

    def _order(self, members: Sequence[int], label: Label) -> list[int]:
        """Return the sources of a label in the order in which they are used."""
        order = torch.randperm(len(members), generator=_generator(_derive(self.seed, "sources", label)))
        return [members[i] for i in order.tolist()]

    def _choose_classes(self, classes: Sequence[Any] | None) -> list[Label]:
        count = getattr(self.teacher, "num_classes", None)
        found: list[Any] = sorted(self.sources.by_label) if self.sources is not None else []
        for label in found:
            _check_label(label, count, "a source")
        if self.sources is not None and self.sources.of_masks:
            if classes is not None:
                raise LabelError(f"Sources with masks have no single class. Expected classes=None, got {classes}.")
            return found
        if classes is not None:
            chosen = [read_label(label) for label in classes]
        elif count is None or (found and not isinstance(found[0], int)):
            chosen = found
        else:
            chosen = list(range(count))
        if not chosen or len(set(chosen)) < len(chosen):
            raise LabelError(f"Expected distinct classes, got {chosen}.")
        for label in chosen:
            _check_label(label, count, "classes")
            if found and label not in found:
                raise LabelError(f"Expected a source of each class, found no source of class {label}, only of {found}.")
        return chosen


def _check_image(teacher: Teacher, image: Tensor, name: str) -> None:
    try:
        teacher.check_shape(image.shape)
        teacher.check_range(image[None])
    except ConfigurationError as error:
        raise DataError(f"{name}: {error}") from error
    except ImageRangeError as error:
        raise ImageRangeError(f"{name}: {error}") from error


def _check_label(label: Label, count: int | None, where: str) -> None:
    if isinstance(label, int):
        fits, wanted = label >= 0 and (count is None or label < count), f"classes from 0 to {(count or 1) - 1}"
    else:
        fits, wanted = count is None or len(label) == count, f"rows of {count} labels"
    if not fits:
        raise LabelError(f"The teacher was built for {wanted}, found {label} in {where}.")


def _made_shape(teacher: nn.Module) -> tuple[int, ...]:
    size, channels = getattr(teacher, "image_size", None), getattr(teacher, "in_channels", None)
    if size is None or channels is None:
        raise ConfigurationError(
            f"{type(teacher).__name__} takes no sources: expected attributes image_size and in_channels that give the "
            "shape of its images."
        )
    return (int(channels), *map(int, size))


def _derive(*parts: Any) -> int:
    """Return a seed from 0 to 2⁶³ - 1 that depends on all parts, the same on every machine."""
    return random.Random("/".join(map(str, parts))).getrandbits(63)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
