# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from monai_gmcl.engines.checks import check_images
from monai_gmcl.engines.checks_of_range import RangeCheck
from monai_gmcl.engines.data_order import EndlessBatches
from monai_gmcl.engines.real_batch import RealBatch
from monai_gmcl.tasks import Task
from monai_gmcl.weighting.pseudo_labels import LabelProposal, PseudoLabeler

__all__ = ["UnlabeledSources"]


class UnlabeledSources:
    """Images without labels that lessons are made from, each with a proposed label.

    Args:
        loader: gives batches of images; labels that come with them are not looked at.
        propose: images to labels and how sure each is.
        teacher: changes the images; may know how many classes there are, and their range of values.
        seed: of the loader's order and transforms.
        prepare: the trainer's ``prepare_batch``, to ``(images, labels or None)``.
    """

    def __init__(
        self,
        loader: Iterable[Any],
        propose: LabelProposal,
        teacher: nn.Module,
        seed: int,
        prepare: Callable[[Any], Any],
    ) -> None:
        self.num_classes = getattr(teacher, "num_classes", None)
        self.check_range = RangeCheck(teacher)
        self.batches = EndlessBatches(loader, seed, "unlabeled_data_loader")
        self.propose = propose
        self.prepare = prepare

    def draw(self, like: Tensor, task: Task) -> tuple[RealBatch, Tensor, Tensor]:
        """Return the next batch of images ``(U, C, ...)``, their proposed labels and how sure each is ``(U,)``.

        Args:
            like: labels of real images, whose shape and type proposals must have; ``(U,)`` stands for ``(U, 1)``.
            task: what labels mean.

        Raises:
            LabelError: they have another, or are not among the classes.
            DataError, ImageRangeError: images that are not finite, or outside the teacher's range.
        """
        batch = RealBatch.of(self.prepare(next(self.batches)), seed=0)
        images = batch.images
        check_images(images, batch.meta)
        self.check_range(images, batch.meta)
        proposals, confidence = self.propose(images, *batch.args, **batch.kwargs)
        labels = task.check_proposals(proposals, len(images), like, self.num_classes)
        return batch, labels, confidence.to(images.device)

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the loader, and the average of a :class:`PseudoLabeler`."""
        labeler = self.propose.state_dict() if isinstance(self.propose, PseudoLabeler) else {}
        return {"batches": self.batches.state_dict(), "labeler": labeler}

    def load_state_dict(self, state: Mapping[str, Any], seed: int) -> None:
        """Put back what was saved."""
        self.batches.seed = seed
        self.batches.load_state_dict(state["batches"])
        if isinstance(self.propose, PseudoLabeler):
            self.propose.load_state_dict(state["labeler"])
