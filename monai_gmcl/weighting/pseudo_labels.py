# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pseudo-labels of unlabeled images, from a running average of the student or from a first student."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor, nn

from monai_gmcl.exceptions import CheckpointError, ConfigurationError
from monai_gmcl.labels import known_label_vectors
from monai_gmcl.tasks import Classification, MultiLabel, Segmentation
from monai_gmcl.weighting.distribution_alignment import DistributionAlignment, average_momentum

__all__ = ["LabelProposal", "PseudoLabeler"]

LabelProposal = Callable[..., tuple[Tensor, Tensor]]
"""A function from images ``(B, C, ...)`` to labels (int64 ``(B,)``, float ``(B, K)`` or masks) and their confidence, 0
to 1 ``(B,)``.

A class outside the classes is a LabelError, on a GPU after up to ten steps; until then, the nearest class is used.

For masks the confidence may be that of each pixel, ``(B, 1, *spatial)`` or ``(B, K, *spatial)``. A pixel with the
confidence 0 is left out: it gets the ``ignore_index`` of the loss or, if the loss has none or masks have several
channels, the weight of the image is multiplied by the share of its other pixels.

Where ``prepare_batch`` gives extra inputs, they come after the images, as the student gets them."""
MOMENTUM = "pseudo_label_momentum"


class PseudoLabeler:
    """Proposes labels of unlabeled images: the predictions of a running average of the student's weights.

    The average (EMA, ignite's ``EMAHandler``; Tarvainen and Valpola 2017, arXiv 1703.01780) predicts in evaluation
    mode, on the images of the loader, without changes by the teacher. For classes, the proposed label is the most
    probable class, and the confidence is its probability. For one logit or several labels, it is the more probable
    value of each label, and the confidence is the mean of these probabilities. For masks, the same holds for each
    pixel, and the confidence is the mean over pixels; with ``pixel_threshold``, each pixel has its own confidence.

    With ``network``, a *first student*, which was trained on the labeled images before, proposes the labels. Its
    proposals do not depend on the training with them, so that errors are not reinforced.

    Args:
        network: the first student, images ``(B, C, ...)`` to logits ``(B, K)``, on the trainer's device. It is not
            changed, and checkpoints do not contain it. Default: None, the running average.
        momentum: weight of the current parameters in the running average at each student step, above 0 and below 1. In
            step t, the weight is at least 9/(t + 8): see :func:`average_momentum`.
        temperature: temperature of the probabilities, above 0.
        pixel_threshold: lowest accepted probability of a pixel's proposed class, 0 to 1. Other pixels of a mask are not
            used, see :data:`LabelProposal`. Default: 0, all pixels are used.
        multi_label: whether an image may have several labels, float ``(B, K)``, or a pixel several classes.
        align: whether to align the frequencies of proposed classes with those of the labeled images
            (:class:`DistributionAlignment`). Use it if the unlabeled images have the same class frequencies as the
            labeled ones, and some class is rare.

    Raises:
        ConfigurationError: an argument out of its range; on attaching, a first student that is the student itself.
    """

    def __init__(
        self,
        momentum: float = 0.01,
        temperature: float = 1.0,
        multi_label: bool = False,
        align: bool = False,
        network: nn.Module | None = None,
        pixel_threshold: float = 0.0,
    ) -> None:
        if not 0 < momentum < 1:
            raise ConfigurationError(f"PseudoLabeler: momentum must be above 0 and below 1, got {momentum}.")
        if temperature <= 0:
            raise ConfigurationError(f"PseudoLabeler: temperature must be above 0, got {temperature}.")
        if not 0 <= pixel_threshold <= 1:
            raise ConfigurationError(f"PseudoLabeler: pixel_threshold must be from 0 to 1, got {pixel_threshold}.")
        self.momentum = momentum
        self.temperature = temperature
        self.multi_label = multi_label
        self.align = align
        self.pixel_threshold = pixel_threshold
        self._alignment: DistributionAlignment | None = None
        self._first_student = network
        self._handler: EMAHandler | None = None
        self._inferer: Callable[..., Tensor] | None = None

    def attach(self, engine: Engine, network: nn.Module, inferer: Callable[..., Tensor]) -> None:
        """Average a student over an engine's iterations, if there is no first one.

        Args:
            engine: the trainer.
            network: the student.
            inferer: ``(images, network, *args, **kwargs) -> outputs``.
        """
        self._inferer = inferer
        if self._first_student is network:
            raise ConfigurationError(
                "PseudoLabeler: network is the student that is being trained. Give a copy of an earlier student."
            )
        if self._first_student is None:
            self._handler = EMAHandler(network, self.momentum, handle_buffers="update")
            # ignite's own warm-up is not used: it has one name for all averages of an engine, and restarts in a resumed
            # run.
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._warm_up)
            self._handler.attach(engine, MOMENTUM, warn_if_exists=False)
        if self.align:
            self._alignment = DistributionAlignment(self.momentum)
            engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._observe)

    def _warm_up(self, engine: Engine) -> None:
        setattr(engine.state, MOMENTUM, average_momentum(self.momentum, engine.state.iteration))

    def _observe(self, engine: Engine) -> None:
        output = engine.state.output
        assert self._alignment is not None and isinstance(output, dict)
        self._refuse_masks(output[Keys.PRED])
        columns = output[Keys.PRED][0].numel()
        self._alignment.observe(*known_label_vectors(output[Keys.LABEL], columns))

    @property
    def averages(self) -> bool:
        """Whether a running average proposes (no first student)."""
        return self._first_student is None

    @property
    def network(self) -> nn.Module:
        """The network that proposes: the first student, or the running average.

        Raises:
            ConfigurationError: before :meth:`attach`.
        """
        if self._first_student is not None:
            return self._first_student
        if self._handler is None:
            raise ConfigurationError("PseudoLabeler: attach it to an engine and a student first.")
        return self._handler.ema_model

    @torch.no_grad()
    def __call__(self, images: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Propose labels.

        Args:
            images: ``(B, C, H, W)`` or ``(B, C, D, H, W)``, in the form of the student's real images.
            args: extra inputs of the student, if it has any.
            kwargs: extra keyword inputs of the student.

        Returns:
            Labels, int64 ``(B,)``, or float ``(B, K)`` for one logit and several labels, and confidences ``(B,)``. For
            outputs ``(B, K, *spatial)``, masks: int64 ``(B, 1, *spatial)``, or float ``(B, K, *spatial)``; with
            ``pixel_threshold``, the confidence has the shape of the masks, and is 0 below the threshold.

        Raises:
            ConfigurationError: ``align`` with masks.
        """
        network = self.network.eval()
        assert self._inferer is not None
        outputs = self._inferer(images, network, *args, **kwargs).float()
        if outputs.ndim > 2:
            self._refuse_masks(outputs)
            masks, confidence = Segmentation.propose(outputs / self.temperature, self.multi_label)
            if self.pixel_threshold == 0:
                return masks, confidence.flatten(1).mean(1)
            return masks, confidence.where(confidence >= self.pixel_threshold, 0)
        outputs = outputs.reshape(len(images), -1)
        binary = self.multi_label or outputs.shape[1] == 1
        if self._alignment is not None:
            outputs = self._alignment(outputs, binary)
        return (MultiLabel if binary else Classification).propose(outputs / self.temperature)

    def _refuse_masks(self, outputs: Tensor) -> None:
        if self.align and outputs.ndim > 2:
            raise ConfigurationError(
                "PseudoLabeler: align=True needs one label for each image, got outputs for every pixel, "
                f"{tuple(outputs.shape)}. Set align=False."
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the running average and, with ``align``, the state of the alignment."""
        average = None
        if self._first_student is None:
            average = {name: value.clone() for name, value in self.network.state_dict().items()}
        return {"average": average, "alignment": None if self._alignment is None else self._alignment.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state. If the state contains no alignment, the alignment starts again.

        Raises:
            CheckpointError: the state has no running average, because something else proposed the labels.
        """
        if self._first_student is None:
            if state.get("average") is None:
                raise CheckpointError(
                    "PseudoLabeler: the checkpoint has no running average, because its run used another "
                    "label_proposal, such as a first student. Use the label_proposal of that run."
                )
            self.network.load_state_dict(dict(state["average"]))
        if self._alignment is not None and state.get("alignment") is not None:
            self._alignment.load_state_dict(state["alignment"])
