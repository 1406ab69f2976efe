# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What a comparison does differently for class labels and for masks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from monai.inferers.utils import sliding_window_inference
from monai.losses.dice import DiceCELoss
from torch import Tensor, nn

from monai_gmcl.benchmark import augmentations, mask_augmentations
from monai_gmcl.benchmark.data_sets import AugmentedImages, AugmentedPairs, BenchmarkData, DataOptions, Images
from monai_gmcl.benchmark.mask_data import MaskData
from monai_gmcl.benchmark.students import small_resnet, small_unet
from monai_gmcl.metrics.classification import classification_measures, mean_auc
from monai_gmcl.tasks.segmentation import Segmentation

__all__ = ["BATCH", "LabelKind", "class_probabilities", "kind_of"]

BATCH = 32
"""Images with classes in a step."""
OVERLAP = 0.25
"""Of neighboring windows of a student that labels pixels."""


class LabelKind(ABC):
    """Data, student, transforms and measures for one kind of labels.

    Attributes:
        metric: the measure that chooses weights and that reports compare: a key of :meth:`measures`.
        batch: real images, or patches, in a step.
        learning_rate: the highest of the one-cycle schedule.
        data: reads a data set.
        network: makes the student.
        augmented: the data set of a training; arguments as for :class:`AugmentedImages`.
    """

    metric: str
    batch: int
    learning_rate: float
    data: Callable[[DataOptions], BenchmarkData]
    network: Callable[[DataOptions], nn.Module]
    augmented: type[AugmentedImages]

    @abstractmethod
    def augmentation(
        self, name: str, options: DataOptions, images: Tensor, strength: float = 1.0
    ) -> Callable[..., Any]:
        """Return the transforms of the arm ``standard``, ``strong`` or ``trivial`` for labeled ``images``."""

    @abstractmethod
    def loss(self) -> nn.Module:
        """Return the student's loss."""

    @abstractmethod
    def score(self, network: nn.Module, images: Images, options: DataOptions) -> tuple[float, float]:
        """Return the metric on images that choose weights, and the mean correctness of an image."""

    @abstractmethod
    def measures(self, network: nn.Module, images: Images, options: DataOptions) -> dict[str, float]:
        """Return all measures of a student."""

    @abstractmethod
    def example(self, options: DataOptions) -> tuple[DataOptions, Images]:
        """Return a random batch, of small images where the size makes no difference, with the options that fit it."""


class Classes(LabelKind):
    """A class for each image."""

    metric = "auc"
    batch = BATCH
    # At 2e-3, with 100 labels of PCam, every arm was best in the first tenth of its steps, before the rate had risen.
    learning_rate = 4e-4
    data = BenchmarkData
    network = staticmethod(small_resnet)
    augmented = AugmentedImages

    def augmentation(
        self, name: str, options: DataOptions, images: Tensor, strength: float = 1.0
    ) -> Callable[..., Any]:
        if name == "trivial":
            return augmentations.trivial_augmentation(options)
        makers = {"standard": augmentations.standard_augmentation, "strong": augmentations.strong_augmentation}
        return makers[name](options, strength)

    def loss(self) -> nn.Module:
        return nn.CrossEntropyLoss()

    def score(self, network: nn.Module, images: Images, options: DataOptions) -> tuple[float, float]:
        probabilities = class_probabilities(network, images[0])
        right = probabilities.argmax(1) == images[1]
        return mean_auc(probabilities, images[1]), float(right.double().mean())

    def measures(self, network: nn.Module, images: Images, options: DataOptions) -> dict[str, float]:
        return classification_measures(class_probabilities(network, images[0]), images[1])

    def example(self, options: DataOptions) -> tuple[DataOptions, Images]:
        images = torch.rand(
            self.batch, options.channels, *options.image_size, generator=torch.Generator().manual_seed(0)
        )
        return options, (images, torch.arange(self.batch) % options.classes)


class Masks(LabelKind):
    """A class for each pixel: the mean Dice of an image's classes without the background, averaged over images."""

    metric = "dice"
    batch = 8
    learning_rate = 2e-3
    data = MaskData
    network = staticmethod(small_unet)
    augmented = AugmentedPairs

    def augmentation(
        self, name: str, options: DataOptions, images: Tensor, strength: float = 1.0
    ) -> Callable[..., Any]:
        if name == "strong":
            return mask_augmentations.nnunet_augmentation(options, float(images.std()), strength)
        makers = {
            "standard": mask_augmentations.standard_augmentation,
            "trivial": mask_augmentations.trivial_augmentation,
        }
        return makers[name](options, strength)

    def loss(self) -> nn.Module:
        return DiceCELoss(to_onehot_y=True, softmax=True)

    def score(self, network: nn.Module, images: Images, options: DataOptions) -> tuple[float, float]:
        dice = self.measures(network, images, options)["dice"]
        return dice, dice

    def measures(self, network: nn.Module, images: Images, options: DataOptions) -> dict[str, float]:
        """Return ``dice`` and ``iou``, means over images, and ``dice_class_1``, ... where there are several classes."""
        task, pairs = Segmentation(), zip(*images, strict=True)
        dice = torch.cat([task.answers(_logits(network, one[None], options), mask[None])[1] for one, mask in pairs])
        dice = dice[:, 1:].double()
        found = {"dice": dice.nanmean(1).nanmean(), "iou": (dice / (2 - dice)).nanmean(1).nanmean()}
        if options.classes > 2:
            found |= {f"dice_class_{k}": dice[:, k - 1].nanmean() for k in range(1, options.classes)}
        return {name: float(value) for name, value in found.items()}

    def example(self, options: DataOptions) -> tuple[DataOptions, Images]:
        small = replace(options, size=16 if options.spatial_dims == 3 else 32, crop=None, patch=None)
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(self.batch, options.channels, *small.image_size, generator=generator)
        masks = torch.randint(0, options.classes, (self.batch, 1, *small.image_size), generator=generator)
        return small, (images, masks.to(torch.uint8))


CLASSES, MASKS = Classes(), Masks()


def kind_of(options: DataOptions) -> LabelKind:
    """Return the kind of a data set's labels."""
    return MASKS if options.masks else CLASSES


@torch.no_grad()
def class_probabilities(network: nn.Module, images: Tensor) -> Tensor:
    """Return the probabilities of classes ``(N, K)`` of images ``(N, C, ...)``, from evaluation mode."""
    training = network.training
    network.eval()
    device = next(network.parameters()).device
    found = torch.cat([network(part.to(device)).softmax(1) for part in torch.split(images, 500)])
    network.train(training)
    return found.cpu()


@torch.no_grad()
def _logits(network: nn.Module, image: Tensor, options: DataOptions) -> Tensor:
    """Logits ``(1, K, *spatial)`` of an image, window by window where the student learned from patches."""
    training = network.training
    network.eval()
    image = image.to(next(network.parameters()).device)
    window = options.patch or image.shape[2:]
    found = sliding_window_inference(image, window, 4, network, overlap=OVERLAP)
    network.train(training)
    assert isinstance(found, Tensor)
    return found.cpu()
