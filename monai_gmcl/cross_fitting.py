# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Students that predict images on whose labels they did not train."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from monai.data.dataloader import DataLoader
from monai.data.dataset import CacheDataset, Dataset
from monai.engines.trainer import SupervisedTrainer
from monai.handlers.lr_schedule_handler import LrScheduleHandler
from monai.transforms.compose import Compose
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Subset
from tqdm import tqdm

from monai_gmcl.data.listing import Item
from monai_gmcl.data.splits import classes_in, grouped_stratified_split
from monai_gmcl.exceptions import ConfigurationError, DataError
from monai_gmcl.generalized_cross_entropy import GeneralizedCrossEntropy

__all__ = ["Fitting", "class_probabilities", "cross_fit", "folds_of"]

Judged = Callable[[Item, Tensor, Tensor], None]
"""Called with an item, the class probabilities ``(K,)`` of its image, and the image."""
JUDGED_AT_ONCE = 100
DEALS = 3
"""Number of random splits into folds; the predictions of as many students are averaged for each image."""


@dataclass(frozen=True)
class Fitting:
    """How the student of each fold is trained: AdamW with a one-cycle schedule, all labels alike.

    A student that trains for too long memorizes wrong labels. Students are therefore trained for a quarter of the
    epochs, for half of them, and for all.

    Attributes:
        network: the untrained student, images to logits; each fold begins with a copy.
        load: from an item to one whose ``image`` is a tensor ``(C, ...)`` with values from 0 to 1.
        random_transforms: of the training's images.
        max_epochs: of the longest training, 1 or more.
        batch_size: 2 or more.
        learning_rate: the highest of the schedule, above 0.
        seed: of everything random.
        device: where to train.
        loss_function: of logits ``(B, K)`` and classes ``(B,)``, a mean over images. The default learns less from
            labels that seem improbable.
    """

    network: nn.Module
    load: Callable[[Any], Any]
    random_transforms: Sequence[Callable[[Any], Any]] = ()
    max_epochs: int = 20
    batch_size: int = 16
    learning_rate: float = 5e-4
    seed: int = 0
    device: torch.device = torch.device("cpu")
    loss_function: Callable[[Tensor, Tensor], Tensor] = GeneralizedCrossEntropy()

    def __post_init__(self) -> None:
        for name, least in (("max_epochs", 1), ("batch_size", 2)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigurationError(f"{name}: expected a whole number of at least {least}, got {value!r}.")
        if not 0 < self.learning_rate < float("inf"):
            raise ConfigurationError(f"learning_rate: expected a number above 0, got {self.learning_rate!r}.")

    @property
    def lengths(self) -> list[int]:
        """Numbers of epochs, the shortest first."""
        return sorted({max(1, self.max_epochs // 4), max(1, self.max_epochs // 2), self.max_epochs})


def cross_fit(
    items: Sequence[Item],
    folds: int,
    fitting: Fitting,
    on_judged: Judged,
    further: Sequence[Item] = (),
    twins: Mapping[str, Hashable] | None = None,
    always: Sequence[Item] = (),
) -> int:
    """Train a student for each fold on the other folds, and predict the classes of the images in the fold.

    The number of epochs with the lowest cross-entropy on the given labels of left-out images is chosen, because correct
    labels can be predicted and wrong labels cannot. Students are then trained on two more random splits.

    Args:
        items: with ``image`` (path), ``label`` (a class) and, where known, ``group``, which stays in one fold.
        folds: number of parts into which the items are split, 2 or more.
        fitting: how each is trained.
        on_judged: called once for each item, in the order of ``items`` and ``further``.
        further: items on which no student trains. Their predictions are the mean of all students.
        twins: of each path, something equal for images that show the same, which stay in one fold.
        always: items with trusted labels, on which every student trains. They are not predicted.

    Returns:
        The chosen number of epochs.

    Raises:
        ConfigurationError: no number of folds.
        DataError: too few images, patients or slides for as many folds; images of several shapes.
    """
    deals = [folds_of(items, folds, fitting.seed + deal, twins) for deal in range(DEALS)]
    plain = [{"image": item["image"], "label": item["label"]} for item in (*items, *further, *always)]
    images = CacheDataset(plain, Compose([fitting.load]), progress=False)
    shapes = list(dict.fromkeys(tuple(torch.as_tensor(images[i]["image"]).shape) for i in range(len(plain))))
    if len(shapes) > 1:
        raise DataError(f"Expected images of one shape, found {shapes[0]} and {shapes[1]}. Resize them: image_size.")
    others = list(range(len(items), len(items) + len(further)))
    sure = range(len(items) + len(further), len(plain))
    rest = images, others, list(sure)
    said = {epochs: _judgments(*rest, deals[0], fitting, epochs) for epochs in fitting.lengths}
    labels = torch.tensor([item["label"] for item in items])

    def error(epochs: int) -> float:
        return float(functional.nll_loss(said[epochs][: len(items)].clamp(min=1e-12).log(), labels))

    best = min(said, key=error)
    seeds = [fitting.seed + deal * folds for deal in range(DEALS)]
    others_said = [_judgments(*rest, deals[k], replace(fitting, seed=seeds[k]), best) for k in range(1, DEALS)]
    found = torch.stack([said[best], *others_said]).mean(0)
    for index, item in enumerate((*items, *further)):
        on_judged(item, found[index], torch.as_tensor(images[index]["image"]).as_subclass(Tensor))
    return best


def folds_of(items: Sequence[Item], folds: int, seed: int, twins: Mapping[str, Hashable] | None = None) -> list[int]:
    """Return the number of each item's fold: patients, slides and equal images stay together, classes keep their share.

    Args:
        items: with ``image``, ``label`` and, where known, ``group``.
        folds: how many, 2 or more.
        seed: order of groups of equal size.
        twins: of each path, something equal for images that show the same. Default: the path.

    Raises:
        ConfigurationError: no number of folds.
        DataError: too few images, patients or slides: a fold would stay empty, or a class stands in one fold alone, so
            that the student that predicts it has never seen it.
    """
    if isinstance(folds, bool) or not isinstance(folds, int) or folds < 2:
        raise ConfigurationError(f"folds: expected a whole number of at least 2, got {folds!r}.")
    numbered = [{**item, "position": position} for position, item in enumerate(items)]
    parts = grouped_stratified_split(numbered, [1 / folds] * folds, seed, twins=twins)
    known = classes_in(items)
    numbers = [0] * len(items)
    for number, part in enumerate(parts):
        absent = known - classes_in([item for other in parts if other is not part for item in other])
        if absent:
            raise DataError(
                f"Expected each class in two folds or more, found class {min(absent)} in one fold: its images come "
                "from too few patients or slides. Add images of other patients, or remove the class."
            )
        for item in part:
            numbers[item["position"]] = number
    return numbers


@torch.no_grad()
def class_probabilities(
    network: nn.Module, images: Any, indices: Sequence[int], device: torch.device
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield for each index its class probabilities ``(K,)`` by a student of one class an image, and the image.

    Args:
        network: images to logits; it is put into evaluation mode.
        images: a data set of mappings with ``image``.
        indices: in the data set.
        device: of the network.
    """
    network.eval()
    for start in range(0, len(indices), JUDGED_AT_ONCE):
        chosen = indices[start : start + JUDGED_AT_ONCE]
        batch = torch.stack([torch.as_tensor(images[index]["image"]).as_subclass(Tensor) for index in chosen])
        found = network(batch.to(device)).double().softmax(1).cpu()
        yield from zip(chosen, found, batch, strict=True)


def _judgments(
    images: Any, others: Sequence[int], sure: Sequence[int], numbers: Sequence[int], fitting: Fitting, epochs: int
) -> Tensor:
    """Class probabilities of the images in folds, then of the others, by students of one length of training."""
    folds = max(numbers) + 1
    found: dict[int, Tensor] = {}
    # What is random here is so by the seed, and leaves the caller's generators alone.
    devices = [fitting.device] if fitting.device.type == "cuda" else []
    for fold in tqdm(range(folds), desc=f"cross-fitting, {epochs} epochs", unit="fold"):
        with torch.random.fork_rng(devices):
            torch.manual_seed(fitting.seed + fold)
            learned = [*(i for i, number in enumerate(numbers) if number != fold), *sure]
            student = _fitted(fitting, images, learned, epochs)
        held_out = [i for i, number in enumerate(numbers) if number == fold]
        for index, probabilities, _ in class_probabilities(student, images, held_out, fitting.device):
            found[index] = probabilities
        for index, probabilities, _ in class_probabilities(student, images, others, fitting.device):
            found[index] = found.get(index, 0) + probabilities / folds
    return torch.stack([found[index] for index in sorted(found)])


def _fitted(fitting: Fitting, images: Any, indices: Sequence[int], epochs: int) -> nn.Module:
    """A student that trained on some of the images."""
    network = copy.deepcopy(fitting.network).to(fitting.device)
    chosen: Any = Subset(images, indices)
    data = Dataset(chosen, Compose(list(fitting.random_transforms)))
    # A batch of one image has no variance for batch normalization.
    alone = len(indices) % fitting.batch_size == 1
    loader = DataLoader(data, batch_size=fitting.batch_size, shuffle=True, num_workers=0, drop_last=alone)
    if not len(loader):
        raise DataError(f"Expected at least two training images for each fold, found {len(indices)}.")
    optimizer = torch.optim.AdamW(network.parameters(), lr=fitting.learning_rate)
    # One step more than the run has: ignite's last event comes after the last step.
    steps = epochs * len(loader) + 1
    schedule: Any = torch.optim.lr_scheduler.OneCycleLR(optimizer, fitting.learning_rate, total_steps=steps)
    trainer = SupervisedTrainer(
        device=fitting.device,
        max_epochs=epochs,
        train_data_loader=loader,
        network=network,
        optimizer=optimizer,
        loss_function=fitting.loss_function,
        decollate=False,
        train_handlers=[LrScheduleHandler(schedule, print_lr=False, epoch_level=False)],
    )
    trainer.run()
    return network
