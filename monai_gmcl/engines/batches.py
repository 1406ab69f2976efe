# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Batches of the trainer: plain tensors with extra inputs, in an order that depends on a seed."""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from ignite.engine import Engine
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import set_rnd
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.data import RandomSampler

from monai_gmcl.exceptions import DataError

__all__ = ["CyclingLoader", "ExtraInputs", "Moves", "RealBatch", "SeededLoader", "derive_seed"]

logger = logging.getLogger(__name__)


@dataclass
class RealBatch:
    """A prepared batch as plain tensors; the meta data of MetaTensors are stored and restored in the output.

    Gradients of MetaTensors are MetaTensors, too. They are slow, and would be stored in optimizers and checkpoints.

    Attributes:
        images: ``(B, C, H, W)`` or ``(B, C, D, H, W)``.
        labels: ``(B,)``, ``(B, 1)`` or ``(B, K)``, or masks ``(B, K, *spatial)``.
        had_no_channel: whether masks came as ``(B, *spatial)``, as torch's cross-entropy takes them.
        seed: seed of the student's pass on the batch.
        args: further arguments of the student, from ``prepare_batch``.
        kwargs: further keyword arguments of the student.
        metas: the MetaTensors of the batch, by key.
        images_before: the images on the CPU, before ``prepare_batch`` moved them to the device; None if unknown.
        labels_before: the labels on the CPU, likewise.
        classes: the classes of each image, padded with numbers below 0.
    """

    images: Tensor
    labels: Tensor
    seed: int
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    metas: dict[str, MetaTensor] = field(default_factory=dict)
    images_before: Tensor | None = None
    labels_before: Tensor | None = None
    classes: Sequence[Sequence[int]] = ()
    had_no_channel: bool = False

    @classmethod
    def of(cls, prepared: Any, seed: int, moves: Moves | None = None) -> RealBatch:
        """Return the batch of what ``prepare_batch`` returns: ``(image, label)``, or with args and kwargs."""
        images, labels, *rest = prepared if isinstance(prepared, tuple | list) else (prepared, None)
        metas = {str(k): t for k, t in ((Keys.IMAGE, images), (Keys.LABEL, labels)) if isinstance(t, MetaTensor)}
        args, kwargs = rest if rest else ((), {})
        batch = cls(_plain(images), _plain(labels), seed, tuple(args), dict(kwargs), metas)
        if moves is not None:
            batch.images_before, batch.labels_before = moves.source_of(images), moves.source_of(labels)
        if isinstance(labels, Tensor) and isinstance(images, Tensor) and labels.ndim > 2:
            batch.had_no_channel = labels.shape[1:] == images.shape[2:]
        if batch.had_no_channel:
            before = batch.labels_before
            batch.labels, batch.labels_before = batch.labels[:, None], None if before is None else before[:, None]
        return batch

    @cached_property
    def labels_on_host(self) -> Any:
        """The labels on the CPU, for checks and classes: the tensor before it was moved or, if unknown, a copy.

        The host waits for a copy.
        """
        if not isinstance(self.labels, Tensor) or self.labels.device.type == "cpu":
            return self.labels
        return self.labels.cpu() if self.labels_before is None else self.labels_before

    @property
    def meta(self) -> dict[str, Any]:
        """The meta data of the images, such as their file names."""
        image = self.metas.get(str(Keys.IMAGE))
        return {} if image is None else dict(image.meta)

    def restore(self, output: dict[str, Any]) -> None:
        """Restore the meta data of images, predictions and labels in the output, and the shape of masks."""
        if self.had_no_channel:
            output[Keys.LABEL] = output[Keys.LABEL].squeeze(1)
        for key, source in ((Keys.IMAGE, Keys.IMAGE), (Keys.PRED, Keys.IMAGE), (Keys.LABEL, Keys.LABEL)):
            meta = self.metas.get(str(source))
            if meta is not None and isinstance(output[key], Tensor):
                # MetaTensor's arguments are not used: they accept the meta data of one image, not of a batch.
                output[key] = MetaTensor(output[key]).copy_meta_from(meta)  # type: ignore[no-untyped-call]


def _plain(value: Any) -> Any:
    return value.as_tensor() if isinstance(value, MetaTensor) else value


class Moves(TorchFunctionMode):
    """Records which CPU tensors ``to`` or ``cuda`` move to a device, so that they need not be read back.

    A tensor that was changed in place afterwards, or computed on the device, has no record.
    """

    def __init__(self) -> None:
        super().__init__()
        self._moved: dict[int, tuple[tuple[Tensor, Tensor], list[int]]] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (Tensor.to, Tensor.cuda) and args[0].device.type == "cpu" and result.device.type != "cpu":
            pair = result, _plain(args[0])
            self._moved[id(result)] = pair, _versions(pair)
        return result

    def source_of(self, tensor: Any) -> Tensor | None:
        """Return the CPU tensor that was moved, in its current type; None if there is no record."""
        pair, versions = self._moved.get(id(tensor), (None, []))
        if pair is None or _versions(pair) != versions:
            return None
        return pair[1].to(tensor.dtype)


def _versions(tensors: Iterable[Tensor]) -> list[int]:
    """Return how often each tensor was changed in place; -1 for tensors from inference mode, which have no count."""
    return [-1 if one.is_inference() else one._version for one in map(_plain, tensors)]


def derive_seed(*parts: int | str) -> int:
    """Return a seed from 0 to 2³² - 1 that depends on all parts, the same on every machine."""
    return random.Random("/".join(map(str, parts))).getrandbits(32)


def warn_of_persistent_workers(loader: Any, name: str) -> None:
    """Log a warning if a resumed run could not repeat the random transforms."""
    if getattr(loader, "persistent_workers", False):
        logger.warning(
            "%s has persistent_workers=True. The workers keep the state of random transforms, so a resumed run differs "
            "from an uninterrupted one. Use persistent_workers=False.",
            name,
        )


def seed_loader(loader: Any, seed: int) -> None:
    """Make the next pass over a loader depend on ``seed`` alone: order, transforms and workers."""
    torch.manual_seed(seed)
    sampler = getattr(loader, "sampler", None)
    if isinstance(sampler, RandomSampler) and sampler.generator is None:
        # A sampler that uses the global generator draws earlier if workers prefetch.
        sampler.generator = torch.Generator()
    for owner in (loader, getattr(loader, "sampler", None)):
        generator = getattr(owner, "generator", None)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(seed)
    if getattr(loader, "num_workers", 0) == 0 and hasattr(loader, "dataset"):
        set_rnd(loader.dataset, seed=seed)


class SeededLoader:
    """The training batches, their order and random transforms derived from (seed, iteration at which a pass begins).

    A run that resumes in the middle of an epoch begins the same pass again and skips what it has seen. Workers that
    outlive a pass (``persistent_workers=True``) keep their random state, which cannot be repeated. A warning is logged.
    The attributes of the user's loader are also attributes of this loader.
    """

    def __init__(self, loader: Iterable[Any], engine: Engine, seed: int) -> None:
        warn_of_persistent_workers(loader, "train_data_loader")
        self.loader = loader
        self.engine = engine
        self.seed = seed
        self.began = 0
        self.resuming = False

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        # Handlers test whether engine.state.dataloader is a DataLoader.
        return type(self.loader)

    def __iter__(self) -> Iterator[Any]:
        iteration = self.engine.state.iteration
        skipped = iteration - self.began if self.resuming else 0
        self.began, self.resuming = iteration - skipped, False
        seed_loader(self.loader, derive_seed(self.seed, "pass", self.began))
        return self._after(iter(self.loader), skipped)

    def _after(self, batches: Iterator[Any], skipped: int) -> Iterator[Any]:
        for index in itertools.count():
            # Samplers and transforms may draw from torch's global generator. The seed makes them independent of
            # earlier draws.
            torch.manual_seed(derive_seed(self.seed, "batch", self.began + index))
            try:
                batch = next(batches)
            except StopIteration:
                break
            if index >= skipped:
                yield batch
        if index == 0:
            raise DataError("The training data loader has no batch; expected at least one labeled image.")


class CyclingLoader:
    """Batches of a loader, pass after pass, resumable at any batch; ``name`` is for error messages."""

    def __init__(self, loader: Iterable[Any], seed: int, name: str) -> None:
        warn_of_persistent_workers(loader, name)
        self.loader = loader
        self.seed = seed
        self.name = name
        self.passes = 0
        self.position = 0
        self._batches: Iterator[Any] | None = None

    def __next__(self) -> Any:
        if self._batches is None:
            self._begin()
        assert self._batches is not None
        torch.manual_seed(derive_seed(self.seed, self.name, self.passes, self.position))
        batch = next(self._batches, None)
        if batch is None:
            if self.position == 0:
                raise DataError(f"{self.name} has no batch; expected at least one.")
            self.passes, self.position, self._batches = self.passes + 1, 0, None
            return next(self)
        self.position += 1
        return batch

    def _begin(self) -> None:
        seed_loader(self.loader, derive_seed(self.seed, self.name, self.passes))
        self._batches = iter(self.loader)
        for position in range(self.position):
            torch.manual_seed(derive_seed(self.seed, self.name, self.passes, position))
            # The first rank saved its position. The loader of another rank may be shorter.
            next(self._batches, None)

    def state_dict(self) -> dict[str, int]:
        """Return the position in the data."""
        return {"passes": self.passes, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from a position in the data."""
        self.passes, self.position, self._batches = state["passes"], state["position"], None


Inputs = tuple[tuple[Any, ...], dict[str, Any]]
PLAIN = (bool, int, float, str, type(None))


class ExtraInputs:
    """The student's inputs in addition to the images, from the ``args`` and ``kwargs`` of ``prepare_batch``.

    The images of a lesson have the extra inputs of their sources. In the first batch of B images, tensors ``(B, ...)``
    and lists of B numbers or strings are inputs per image. All other inputs are shared by all images, and are taken
    from the newest batch. Accepted are tensors, numbers, strings, None, and nested lists, tuples and dictionaries of
    them.
    """

    def __init__(self) -> None:
        self._form: Any = None

    def split(self, args: Sequence[Any], kwargs: Mapping[str, Any], n: int) -> list[Any]:
        """Return the inputs per image of a batch, each as a tensor or a list of length ``n``.

        DataError for an input of another type, or inputs with another structure than in the first batch.
        """
        leaves: list[Any] = []
        form = _form((tuple(args), dict(kwargs)), n, leaves, self._form, "prepare_batch's extra inputs")
        self._form = form
        return leaves

    def join(self, leaves: Sequence[Any]) -> Inputs:
        """Return ``args`` and ``kwargs`` for other images: the reverse of :meth:`split`."""
        if self._form is None:
            return (), {}
        inputs: Inputs = _filled(self._form, leaves)
        return inputs

    def state_dict(self) -> dict[str, Any]:
        """Return which inputs are per image, and the shared inputs."""
        return {"form": self._form}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self._form = state["form"]


def _form(value: Any, n: int, leaves: list[Any], known: Any, name: str) -> Any:
    """Split a value into leaves and a form. The form is a tagged tree, so that a checkpoint can store it."""
    value = value.as_tensor() if isinstance(value, MetaTensor) else value
    each = _is_one_each(value, n) if known is None else known["kind"] == "each"
    if each:
        if not isinstance(value, Tensor | list) or len(value) != n:
            found = tuple(value.shape) if isinstance(value, Tensor) else repr(value)
            raise DataError(
                f"{name}: expected one value for each of {n} images, as in the first batch, got {found}. A value for "
                "all images must not have the length of a batch."
            )
        leaves.append(value)
        return {"kind": "each", "place": len(leaves) - 1}
    kind = type(value).__name__ if isinstance(value, list | tuple | dict) else "same"
    if known is not None and known["kind"] != kind:
        raise DataError(f"{name}: expected the same form in every batch, got {known['kind']} first and {kind} now.")
    if kind == "same":
        if not isinstance(value, PLAIN + (Tensor,)):
            raise DataError(
                f"{name}: expected tensors, numbers, strings, None, and lists, tuples and dictionaries of them, got "
                f"{type(value).__name__}. Lessons copy these inputs for each image."
            )
        return {"kind": "same", "value": value.detach() if isinstance(value, Tensor) else value}
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    if known is not None and list(known["parts"]) != keys:
        raise DataError(f"{name}: expected {list(known['parts'])} as in the first batch, got {keys}.")
    parts = {k: _form(value[k], n, leaves, known and known["parts"][k], f"{name}[{k!r}]") for k in keys}
    return {"kind": kind, "parts": parts}


def _is_one_each(value: Any, n: int) -> bool:
    if isinstance(value, Tensor):
        return value.ndim > 0 and len(value) == n
    # Collating tuples gives a list of tensors.
    return isinstance(value, list) and len(value) == n and all(isinstance(item, PLAIN) for item in value)


def _filled(form: Any, leaves: Sequence[Any]) -> Any:
    if form["kind"] == "each":
        return leaves[form["place"]]
    if form["kind"] == "same":
        return form["value"]
    parts = {key: _filled(part, leaves) for key, part in form["parts"].items()}
    if form["kind"] == "dict":
        return parts
    return list(parts.values()) if form["kind"] == "list" else tuple(parts.values())


def stacked(parts: Sequence[Any], device: torch.device) -> Any:
    """Join the leaf of each image to one leaf for several images: a tensor on the device, or a list."""
    return torch.stack(list(parts)).to(device) if isinstance(parts[0], Tensor) else list(parts)
