# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The sources of lessons: the latest real images of each class, and unlabeled images."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from monai_gmcl.curriculum import ClassSampler
from monai_gmcl.engines.batches import CyclingLoader, ExtraInputs, RealBatch, stacked
from monai_gmcl.engines.checks import RangeCheck, check_images
from monai_gmcl.exceptions import DataError
from monai_gmcl.labels import are_masks, class_ids
from monai_gmcl.late_reading import Read, at_once
from monai_gmcl.tasks import Task
from monai_gmcl.weighting.pseudo_labels import LabelProposal, PseudoLabeler

__all__ = ["LessonSources", "SourceBuffer", "Sources", "UnlabeledSources"]


class Sources(NamedTuple):
    """The sources of one lesson.

    Attributes:
        images: ``(n + U, C, ...)``, n real images, then U unlabeled images.
        labels: their labels.
        confidence: confidence of the labels, 0 to 1 ``(n + U,)``; None if all labels were given.
        sure_share: fraction of the pixels of each mask that are used, ``(n + U,)``; None if all are used, or if the
            unused pixels are marked in the mask.
        args: the student's extra arguments for these images.
        kwargs: the student's extra keyword arguments for these images.
    """

    images: Tensor
    labels: Tensor
    confidence: Tensor | None
    sure_share: Tensor | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class LessonSources:
    """Draws the sources of lessons: the latest real images of each class and, if there are any, unlabeled images."""

    def __init__(self, buffer: SourceBuffer, unlabeled: UnlabeledSources | None, device: torch.device) -> None:
        self.buffer = buffer
        self.unlabeled = unlabeled
        self.device = device
        self.extra = ExtraInputs()

    @contextmanager
    def keeping(self, real: RealBatch, for_later: bool) -> Iterator[None]:
        """Keep a real batch for lessons that are drawn in this context or, with ``for_later``, after this context."""
        if not for_later:
            self._keep(real)
        yield
        if for_later:
            self._keep(real)

    def _keep(self, real: RealBatch) -> None:
        """Keep the images whose class is known, with the student's extra inputs for each."""
        extra = self.extra.split(real.args, real.kwargs, len(real.images))
        self.buffer.add(real.images, real.labels_on_host, real.classes, extra, real.images_before)

    def draw(self, n: int, class_sampler: ClassSampler, generator: torch.Generator, task: Task) -> Sources:
        """Draw ``n`` real images, and append the next batch of unlabeled images; DataError if sizes differ."""
        classes = class_sampler.draw(n, self.buffer.classes, generator)
        images, labels, extra = self.buffer.draw(classes, generator, self.device)
        if self.unlabeled is None:
            return Sources(images, labels, None, None, *self.extra.join(extra))
        batch, proposals, confidence, sure_share = self.unlabeled.draw(labels, task)
        if batch.images.shape[1:] != images.shape[1:]:
            raise DataError(
                f"Expected unlabeled images shaped {tuple(images.shape[1:])} as the labeled ones of the same lesson, "
                f"got {tuple(batch.images.shape[1:])}. Resize both to one size in the transforms."
            )
        theirs = self.extra.split(batch.args, batch.kwargs, len(batch.images))
        extra = [_both(one, other) for one, other in zip(extra, theirs, strict=True)]
        given = torch.ones(n, device=self.device)
        return Sources(
            torch.cat([images, batch.images]),
            torch.cat([labels, proposals]),
            torch.cat([given, confidence]),
            None if sure_share is None else torch.cat([given, sure_share]),
            *self.extra.join(extra),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the buffer, the structure of extra inputs, and the position in the unlabeled images."""
        unlabeled = None if self.unlabeled is None else self.unlabeled.state_dict()
        return {"buffer": self.buffer.state_dict(), "extra": self.extra.state_dict(), "unlabeled": unlabeled}

    def load_state_dict(self, state: Mapping[str, Any], seed: int, alone: bool = True) -> None:
        """Restore a saved state. With several ranks, each rank starts with an empty buffer."""
        if alone:
            self.buffer.load_state_dict(state["buffer"])
            self.extra.load_state_dict(state["extra"])
        if self.unlabeled is not None and state["unlabeled"] is not None:
            self.unlabeled.load_state_dict(state["unlabeled"], seed)


def _both(one: Any, other: Any) -> Any:
    return torch.cat([one, other.to(one)]) if isinstance(one, Tensor) else [*one, *other]


MOST_BYTES = 2**30
"""Largest memory of sources on the device, in bytes."""
MOST_HOST_BYTES = 2**32
"""Largest memory of sources on the CPU, in bytes."""


USUAL_SIZE, MOST_PATCHES, PATCH_BYTES = 16, 256, 2**28
"""Number of images that are kept for each class. With masks, the memory limit sets the number, within both bounds."""


class SourceBuffer:
    """The latest ``size`` real images of each class, from which lessons are made.

    With the buffer, rare classes can be drawn more often than they occur. Multi-label images belong to one class. An
    image with a mask belongs to each class in its mask, and is kept once. If the full buffer takes at most 1 GiB,
    images stay on their device without a copy. Otherwise, and in a saved state, they are on the CPU, and if they would
    take more than 4 GiB, fewer images of each class are kept. Masks of class indices are kept as uint8 or int16. By
    default, 16 images are kept; of images with masks, which are usually random patches, up to 256, within 256 MiB.
    """

    def __init__(self, size: int | None = None) -> None:
        self.size = size
        self._by_class: dict[int, deque[Kept]] = {}
        self._label_type: torch.dtype | None = None

    def add(
        self,
        images: Tensor,
        labels: Tensor,
        classes: Sequence[Sequence[int]] | None = None,
        extra: Sequence[Any] = (),
        images_before: Tensor | None = None,
    ) -> None:
        """Keep real images ``(B, C, ...)`` with their labels; they replace the oldest images of each class.

        Classes below 0 are padding; an image without any class is not kept. Extra inputs are tensors ``(B, ...)`` or
        lists of length B. ``images_before`` are the same images on the CPU, if they are available there.
        """
        size = self.size or self._usual_size(images, labels)
        latest: dict[int, deque[int]] = {}
        for place, of_image in enumerate([[one] for one in class_ids(labels)] if classes is None else classes):
            for class_id in of_image:
                if class_id >= 0:
                    latest.setdefault(class_id, deque(maxlen=size)).append(place)
        if not latest:
            return
        self._label_type = labels.dtype
        in_bytes = images[0].numel() * images.element_size()
        if are_masks(labels):
            labels = _compact(labels)
            in_bytes += labels[0].numel() * labels.element_size()
        in_bytes *= len(self._by_class.keys() | latest.keys())
        keep = images.device if size * in_bytes <= MOST_BYTES else torch.device("cpu")
        if keep.type == "cpu" and images_before is not None:
            images = images_before
        # Only the images that are kept are copied.
        places = list(dict.fromkeys(place for kept in latest.values() for place in kept))
        own_images, own_labels = (_taken(values, places) for values in (images, labels))
        # Clones, because a view would keep the memory of its whole batch.
        entries = {
            place: (image.clone(), label.clone(), tuple(_own(values[place], keep) for values in extra))
            for place, image, label in zip(places, own_images.to(keep), own_labels.cpu(), strict=True)
        }
        most = max(1, MOST_HOST_BYTES // in_bytes)
        for class_id, kept_places in latest.items():
            kept = self._by_class.setdefault(class_id, deque())
            kept.extend(entries[place] for place in kept_places)
            while len(kept) > min(size, most):
                kept.popleft()

    @staticmethod
    def _usual_size(images: Tensor, labels: Tensor) -> int:
        if not are_masks(labels):
            return USUAL_SIZE
        return max(USUAL_SIZE, min(MOST_PATCHES, PATCH_BYTES // (images[0].numel() * images.element_size())))

    @property
    def classes(self) -> list[int]:
        """Classes seen so far, sorted."""
        return sorted(self._by_class)

    def draw(
        self, classes: Tensor, generator: torch.Generator, device: torch.device
    ) -> tuple[Tensor, Tensor, list[Any]]:
        """Draw one image for each entry of ``classes`` ``(n,)``, with replacement, with its label and extra inputs.

        All images have the size of the first. A class without an image of this size is replaced by the class of the
        first image.
        """
        numbers = torch.rand(len(classes), generator=generator)
        chosen: list[tuple[int, int]] = []
        for class_id, number in zip(classes.tolist(), numbers.tolist(), strict=True):
            places = [(class_id, i) for i in range(len(self._by_class[class_id]))]
            if chosen:
                class_id, first = chosen[0]
                shape = self._by_class[class_id][first][0].shape
                places = [place for place in places if self._image(place).shape == shape] or [
                    (class_id, i) for i, one in enumerate(self._by_class[class_id]) if one[0].shape == shape
                ]
            chosen.append(places[int(number * len(places))])
        # Each image is moved to the device once, even if it was drawn several times.
        order = {one: i for i, one in enumerate(dict.fromkeys(chosen))}
        images, labels, extra = zip(*(self._by_class[class_id][i] for class_id, i in order), strict=True)
        places_in_order = [order[one] for one in chosen]
        found = [stacked([extra[order[one]][k] for one in chosen], device) for k in range(len(extra[0]))]
        # After loading a state, some images may still be on the CPU.
        moved = torch.stack([image.to(device, non_blocking=True) for image in images])
        kind = reduce(torch.promote_types, (label.dtype for label in labels))
        of_all = torch.stack([label.to(kind) for label in labels])[places_in_order].to(device, non_blocking=True)
        return _taken(moved, places_in_order), of_all.to(self._label_type or kind), found

    def _image(self, place: tuple[int, int]) -> Tensor:
        class_id, i = place
        return self._by_class[class_id][i][0]

    def state_dict(self) -> dict[str, Any]:
        """Return all images with their labels and extra inputs, and which images belong to each class."""
        entries = {id(one): one for kept in self._by_class.values() for one in kept}
        order = {one: i for i, one in enumerate(entries)}
        columns = zip(*entries.values(), strict=True) if entries else ((), (), ())
        return {
            **{name: _packed(of_all) for name, of_all in zip(KEPT, columns, strict=True)},
            "drawers": {class_id: [order[id(one)] for one in kept] for class_id, kept in self._by_class.items()},
            "label_type": None if self._label_type is None else str(self._label_type).removeprefix("torch."),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state."""
        if "images" not in state:
            # In states of versions without masks, each class has its own images.
            kept = state["drawers"].items()
            entries = {class_id: zip(*(of_one[name] for name in KEPT), strict=True) for class_id, of_one in kept}
            self._by_class = {class_id: deque(of_one) for class_id, of_one in entries.items()}
            return
        all_of_them = list(zip(*(state[name] for name in KEPT), strict=True))
        self._by_class = {
            class_id: deque(all_of_them[i] for i in places) for class_id, places in state["drawers"].items()
        }
        self._label_type = None if state["label_type"] is None else getattr(torch, state["label_type"])


Kept = tuple[Tensor, Tensor, tuple[Any, ...]]
KEPT = ("images", "labels", "extra")


def _compact(masks: Tensor) -> Tensor:
    """Return integer masks as uint8 or, if necessary, int16; other masks unchanged."""
    if masks.is_floating_point() and not torch.equal(masks, masks.round()):
        return masks
    least, most = (int(end) for end in masks.aminmax())
    for kind in (torch.uint8, torch.int16):
        if torch.iinfo(kind).min <= least and most <= torch.iinfo(kind).max:
            return masks.to(kind)
    return masks


def _packed(of_all: Sequence[Any]) -> Any:
    """Stack tensors of one size and type; return others as a list."""
    of_all = [one.cpu() if isinstance(one, Tensor) else one for one in of_all]
    one_size = bool(of_all) and isinstance(of_all[0], Tensor) and len({(one.shape, one.dtype) for one in of_all}) == 1
    return torch.stack(of_all) if one_size else of_all


def _taken(values: Tensor, places: Sequence[int]) -> Tensor:
    """Return the rows without making the host wait for the indices on the device."""
    return values.detach()[torch.tensor(places).to(values.device, non_blocking=True)]


def _own(value: Any, device: torch.device) -> Any:
    return value.detach().to(device).clone() if isinstance(value, Tensor) else value


class UnlabeledSources:
    """Unlabeled images from which lessons are made, each with a proposed label.

    Labels in the loader's batches are ignored. ``propose`` returns labels and their confidence; ``prepare`` is the
    trainer's ``prepare_batch`` and returns ``(images, labels or None)``.
    """

    def __init__(
        self,
        loader: Iterable[Any],
        propose: LabelProposal,
        teacher: nn.Module,
        seed: int,
        prepare: Callable[[Any], Any],
        read: Read = at_once,
    ) -> None:
        self.num_classes = getattr(teacher, "num_classes", None)
        self.read = read
        self.check_range = RangeCheck(teacher, read)
        self.batches = CyclingLoader(loader, seed, "unlabeled_data_loader")
        self.propose = propose
        self.prepare = prepare

    def draw(self, like: Tensor, task: Task) -> tuple[RealBatch, Tensor, Tensor, Tensor | None]:
        """Return the next batch of images ``(U, C, ...)``, their proposed labels and the confidence of each ``(U,)``.

        The last result is a factor of each image's weight ``(U,)``, or None: see :meth:`Task.leave_out_unsure`.
        Proposed labels must have the shape and type of ``like``, the labels of real images; ``(U,)`` is accepted for
        ``(U, 1)``. LabelError if not; DataError or ImageRangeError for images that are not finite, or outside the
        teacher's range.
        """
        batch = RealBatch.of(self.prepare(next(self.batches)), seed=0)
        images = batch.images
        check_images(images, batch.meta, self.read)
        self.check_range(images, batch.meta)
        proposals, confidence = (values.to(images.device, non_blocking=True) for values in self._proposed(batch))
        labels = task.check_proposals(proposals, len(images), like, self.num_classes, self.read)
        return batch, *task.leave_out_unsure(labels, confidence)

    def _proposed(self, batch: RealBatch) -> tuple[Tensor, Tensor]:
        return self.propose(batch.images, *batch.args, **batch.kwargs)

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the loader, and the averaged weights of a :class:`PseudoLabeler`."""
        labeler = self.propose.state_dict() if isinstance(self.propose, PseudoLabeler) else {}
        return {"batches": self.batches.state_dict(), "labeler": labeler}

    def load_state_dict(self, state: Mapping[str, Any], seed: int) -> None:
        """Restore a saved state."""
        self.batches.seed = seed
        self.batches.load_state_dict(state["batches"])
        if isinstance(self.propose, PseudoLabeler):
            self.propose.load_state_dict(state["labeler"])
