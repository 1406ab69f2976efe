# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Select, of the images that a GAN draws, those that a classifier of the real images is sure of and finds typical."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from monai_gmcl.benchmark.data_sets import Images

__all__ = ["probabilities_and_features", "select"]


def select(drawn: Images, real: Images, classifier: nn.Module, keep: float) -> Tensor:
    """Return the positions of the images to keep, ascending.

    Class by class, and one criterion after the other: how sure the classifier is of the label that the image was drawn
    for, then how near the image's features are to the mean features of the class's real images. Selecting by these two
    is Xue et al. 2021 (Medical Image Analysis 67, 10.1016/j.media.2020.101816). Ours is how: each criterion keeps the
    same share, ``sqrt(keep)``, of what the one before left, instead of what lies beyond a threshold, so that the number
    of images is known beforehand; and confidence is that of one pass.

    Args:
        drawn: images ``(M, C, *spatial)`` and the labels ``(M,)`` that they were drawn for.
        real: the labeled images.
        classifier: of the real images; its last linear layer takes the features.
        keep: share of each class to keep, above 0, at most 1; at least one image is kept.
    """
    confidence, features = probabilities_and_features(classifier, drawn[0])
    real_features = probabilities_and_features(classifier, real[0])[1]
    kept = []
    for label in torch.unique(drawn[1]):
        members = (drawn[1] == label).nonzero()[:, 0]
        count = max(1, round(keep * len(members)))
        sure = max(count, math.ceil(math.sqrt(keep) * len(members)))
        members = members[confidence[members, label].argsort(descending=True, stable=True)[:sure]]
        distance = (features[members] - real_features[real[1] == label].mean(0)).norm(dim=1)
        kept.append(members[distance.argsort(stable=True)[:count]])
    return torch.cat(kept).sort().values


@torch.no_grad()
def probabilities_and_features(classifier: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return class probabilities ``(N, K)`` and what enters the last linear layer, ``(N, F)``."""
    features: list[Tensor] = []
    last = [module for module in classifier.modules() if isinstance(module, nn.Linear)][-1]
    hook = last.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    training = classifier.training
    classifier.eval()
    try:
        device = next(classifier.parameters()).device
        logits = torch.cat([classifier(part.to(device)) for part in torch.split(images, 256)])
    finally:
        hook.remove()
        classifier.train(training)
    return logits.softmax(1).cpu(), torch.cat(features).cpu()
