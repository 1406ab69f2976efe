# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""How a trained student fares on images that were changed: by an attacker, or by another scanner.

Needs captum (``pip install "monai_gmcl[benchmark]"``).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from captum.robust import FGSM, PGD
from monai.metrics.rocauc import compute_roc_auc
from torch import Tensor, nn

from monai_gmcl.exceptions import ConfigurationError, ImageRangeError
from studies.proof.image_shifts import SHIFTS

__all__ = ["RADII", "attack_accuracy", "robust_measures", "shifted_auc"]

RADII = {"1/255": 1 / 255, "2/255": 2 / 255, "4/255": 4 / 255}
"""Greatest change of a pixel that an attacker may make, by its name in rows."""
ATTACKS = ("fgsm", "pgd")
PGD_STEPS = 10
BATCH = 100


def robust_measures(network: nn.Module, images: Tensor, labels: Tensor, seed: int = 0) -> dict[str, Any]:
    """Return the accuracy on images as they are, under both attacks at each radius, and the AUC under each shift.

    The value of ``robust`` in a row of a comparison: ``{"accuracy": ..., "fgsm": {"1/255": ..., ...}, "pgd": {...},
    "stain_shift": ..., "blur": ..., "jpeg": ...}``.

    Args:
        network: images to two logits.
        images: from 0 to 1, ``(N, 1, H, W)`` or ``(N, 3, H, W)``.
        labels: int64 ``(N,)``, 0 and 1.
        seed: of random starts and shifts.

    Raises:
        ConfigurationError, ImageRangeError: other shapes, other values.
    """
    _check_range(images)
    with _evaluating(network), torch.no_grad():
        right = torch.cat([network(batch).argmax(1) for batch in torch.split(images, BATCH)]) == labels
    attacked = {
        attack: {name: attack_accuracy(network, images, labels, attack, radius, seed) for name, radius in RADII.items()}
        for attack in ATTACKS
    }
    return {
        "accuracy": float(right.double().mean()),
        **attacked,
        **{name: shifted_auc(network, images, labels, name, seed) for name in SHIFTS},
    }


def attack_accuracy(
    network: nn.Module, images: Tensor, labels: Tensor, attack: str, radius: float, seed: int = 0
) -> float:
    """Return the accuracy on images that an attacker changed, no pixel by more than a radius.

    The attacker knows the network. ``fgsm``: one step of the radius along the sign of the gradient (Goodfellow et al.
    2015, arXiv 1412.6572). ``pgd``: ten steps of a quarter of the radius from a random start, each brought back to the
    radius (Madry et al. 2018, arXiv 1706.06083). Both are captum's. What is raised is the greatest wrong logit minus
    the right one (Carlini and Wagner 2017, arXiv 1608.04644): of two classes its gradient has the signs of
    cross-entropy's, but does not vanish where the network is sure, so that an overfitted network does not pass for a
    robust one. The changed images stay within 0 to 1; the network is in evaluation mode.

    Args:
        network: images to logits ``(N, K)``.
        images: from 0 to 1, ``(N, C, ...)``.
        labels: int64 ``(N,)``.
        attack: ``fgsm`` or ``pgd``.
        radius: above 0.
        seed: of the random start.

    Raises:
        ConfigurationError: an unknown attack.
        ImageRangeError: images outside 0 to 1.
    """
    if attack not in ATTACKS:
        raise ConfigurationError(f"attack: expected one of {', '.join(ATTACKS)}, got {attack!r}.")
    _check_range(images)
    fgsm, pgd = FGSM(network, _wrong_margin, 0.0, 1.0), PGD(network, _wrong_margin, 0.0, 1.0)
    # By default captum takes small gradients for none.
    fgsm.zero_thresh = pgd.fgsm.zero_thresh = 0.0
    devices = [images.device] if images.is_cuda else []
    right = 0
    with _evaluating(network), torch.random.fork_rng(devices), warnings.catch_warnings():
        # captum says of each batch that it will compute gradients by it.
        warnings.filterwarnings("ignore", "Input Tensor 0 did not already require gradients")
        torch.manual_seed(seed)
        for batch, wanted in zip(torch.split(images, BATCH), torch.split(labels, BATCH), strict=True):
            if attack == "fgsm":
                changed = fgsm.perturb(batch, radius, wanted)
            else:
                step = 2.5 * radius / PGD_STEPS
                changed = pgd.perturb(batch, radius, step, PGD_STEPS, wanted, random_start=True)
            with torch.no_grad():
                right += int((network(changed).argmax(1) == wanted).sum())
    return right / len(images)


def shifted_auc(network: nn.Module, images: Tensor, labels: Tensor, shift: str, seed: int = 0) -> float:
    """Return the AUC of class 1 on images that were stained, blurred or compressed otherwise.

    Args:
        network: images to two logits.
        images: from 0 to 1, ``(N, 1, H, W)`` or ``(N, 3, H, W)``.
        labels: int64 ``(N,)``, 0 and 1.
        shift: ``stain_shift`` (of grey images: contrast and brightness), ``blur`` or ``jpeg``; see
            :mod:`studies.proof.image_shifts`.
        seed: of ``stain_shift``.

    Raises:
        ConfigurationError: an unknown shift, or other shapes.
        ImageRangeError: images outside 0 to 1.
    """
    if shift not in SHIFTS:
        raise ConfigurationError(f"shift: expected one of {', '.join(SHIFTS)}, got {shift!r}.")
    _check_range(images)
    changed = SHIFTS[shift](images.cpu(), seed).to(images.device)
    with _evaluating(network), torch.no_grad():
        logits = torch.cat([network(batch) for batch in torch.split(changed, BATCH)])
    if logits.ndim != 2 or logits.shape[1] != 2:
        raise ConfigurationError(f"Expected two logits of each image, found shape {tuple(logits.shape)}.")
    auc: Any = compute_roc_auc((logits[:, 1] - logits[:, 0]).cpu(), labels.cpu())
    return float(auc)


def _wrong_margin(logits: Tensor, labels: Tensor) -> Tensor:
    right = nn.functional.one_hot(labels, logits.shape[1]).bool()
    return logits.masked_fill(right, -torch.inf).amax(1) - logits[right]


def _check_range(images: Tensor) -> None:
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):
        raise ImageRangeError(f"Expected images from 0 to 1, the scale of radii, found {low:.3g} to {high:.3g}.")


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
