# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from monai.data.meta_tensor import MetaTensor
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

__all__ = ["RealBatch"]


@dataclass
class RealBatch:
    """A prepared batch as plain tensors; what MONAI knows about them is put aside and given back.

    Derivatives of MetaTensors are MetaTensors: slow, and carried into optimizers and checkpoints.

    Attributes:
        images: ``(B, C, H, W)`` or ``(B, C, D, H, W)``.
        labels: ``(B,)``, ``(B, 1)`` or ``(B, K)``.
        seed: seed of the student's pass on the batch.
        args: further arguments of the student, from ``prepare_batch``.
        kwargs: further keyword arguments of the student.
        metas: the MetaTensors that came, by key.
        accuracy: how right the student was, 0 to 1; None where no image has a known label.
        classes: the class of each image, below 0 where it has none.
    """

    images: Tensor
    labels: Tensor
    seed: int
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    metas: dict[str, MetaTensor] = field(default_factory=dict)
    accuracy: float | None = None
    classes: Sequence[int] = ()

    @classmethod
    def of(cls, prepared: Any, seed: int) -> RealBatch:
        """Return the batch of ``prepare_batch``'s answer: ``(image, label)`` or ``(image, label, args, kwargs)``."""
        images, labels, *rest = prepared if isinstance(prepared, tuple | list) else (prepared, None)
        metas = {str(k): t for k, t in ((Keys.IMAGE, images), (Keys.LABEL, labels)) if isinstance(t, MetaTensor)}
        args, kwargs = rest if rest else ((), {})
        return cls(_plain(images), _plain(labels), seed, tuple(args), dict(kwargs), metas)

    @cached_property
    def labels_on_host(self) -> Any:
        """The labels on the CPU, for checks: copied once, before the device has work that a copy would wait for."""
        return self.labels.cpu() if isinstance(self.labels, Tensor) else self.labels

    @property
    def meta(self) -> dict[str, Any]:
        """What MONAI knows about the images, such as their files."""
        image = self.metas.get(str(Keys.IMAGE))
        return {} if image is None else dict(image.meta)

    def restore(self, output: dict[str, Any]) -> None:
        """Give images, predictions and labels in the engine's output their meta data back."""
        for key, source in ((Keys.IMAGE, Keys.IMAGE), (Keys.PRED, Keys.IMAGE), (Keys.LABEL, Keys.LABEL)):
            meta = self.metas.get(str(source))
            if meta is not None and isinstance(output[key], Tensor):
                # Not through MetaTensor's arguments: these take the meta data of one image, not of a batch.
                output[key] = MetaTensor(output[key]).copy_meta_from(meta)  # type: ignore[no-untyped-call]


def _plain(value: Any) -> Any:
    return value.as_tensor() if isinstance(value, MetaTensor) else value
