# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from monai_gmcl.exceptions import ConfigurationError

__all__ = ["Fixed", "Kept"]


class Kept:
    """An attribute of a trainer that one of its parts keeps and reads at each step: set on the one, set on the other.

    Args:
        path: where it is kept, such as ``"student.inferer"``.
        check: called with the trainer and the value before a built trainer takes it.
    """

    def __init__(self, path: str, check: Callable[[Any, Any], None] | None = None) -> None:
        self.part, self.name = path.rsplit(".", 1)
        self.check = check

    def __get__(self, trainer: Any, owner: type | None = None) -> Any:
        return self if trainer is None else getattr(attrgetter(self.part)(trainer), self.name)

    def __set__(self, trainer: Any, value: Any) -> None:
        part = attrgetter(self.part)(trainer)
        if self.check is not None and value is not getattr(part, self.name):
            self.check(trainer, value)
        setattr(part, self.name, value)


class Fixed:
    """An attribute of a trainer that stays as it was given.

    Raises:
        ConfigurationError: on setting it again.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, trainer: Any, owner: type | None = None) -> Any:
        return self if trainer is None else getattr(trainer, f"_{self.name}")

    def __set__(self, trainer: Any, value: Any) -> None:
        if hasattr(trainer, f"_{self.name}") and getattr(trainer, f"_{self.name}") is not value:
            raise ConfigurationError(
                f"{self.name}: a built {type(trainer).__name__} keeps the one that it was given, because what it has "
                f"learned belongs to it. Build another trainer with {self.name}=..., or load a checkpoint into one."
            )
        setattr(trainer, f"_{self.name}", value)
