# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The content of a checkpoint: parts of the engine, and further objects of the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine
from torch import nn

from monai_gmcl.engines.student_pass import unwrapped
from monai_gmcl.exceptions import ConfigurationError

__all__ = ["check_parts", "parts_of"]

OF_ENGINE = {
    "model": "network",
    "optimizer": "optimizer",
    "teacher": "teacher",
    "teacher_optimizer": "teacher_optimizer",
    "scaler": "scaler",
}
"""Keys of a checkpoint, and the attributes of the engine that are saved under them, if it has them."""


def check_parts(save_dict: Mapping[str, Any]) -> None:
    """Raise if an object cannot be saved together with the parts of the engine.

    Raises:
        ConfigurationError: a key of the engine is used, or an object has no ``state_dict`` and ``load_state_dict``.
    """
    for key, part in save_dict.items():
        if key in (*OF_ENGINE, "trainer", "random"):
            raise ConfigurationError(
                f"save_dict must not have the key {key!r}, which the checkpoint uses for the engine. Use another key."
            )
        if not (hasattr(part, "state_dict") and hasattr(part, "load_state_dict")):
            raise ConfigurationError(
                f"save_dict[{key!r}] is a {type(part).__name__}; expected an object with state_dict and "
                "load_state_dict."
            )


def parts_of(engine: Engine, save_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Return the saved objects by key, with networks without wrappers."""
    found = {key: getattr(engine, attribute, None) for key, attribute in OF_ENGINE.items()}
    parts = {**{key: part for key, part in found.items() if part is not None}, **save_dict, "trainer": engine}
    return {key: unwrapped(part) if isinstance(part, nn.Module) else part for key, part in parts.items()}
