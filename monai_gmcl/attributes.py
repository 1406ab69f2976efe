# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Descriptors for attributes that are stored in a part, cannot be set again, or have a new name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from monai_gmcl.exceptions import ConfigurationError

__all__ = ["Fixed", "Kept", "Renamed", "adopt_old_names"]


class Kept:
    """An attribute of a trainer that is stored in one of its parts, which reads it at each step.

    Args:
        path: path of the attribute in the trainer, such as ``"student.inferer"``.
        check: called with the trainer and the new value, before the value is set on a built trainer.
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
    """An attribute of a trainer that cannot be set again.

    Raises:
        ConfigurationError: the attribute is set again.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, trainer: Any, owner: type | None = None) -> Any:
        return self if trainer is None else getattr(trainer, f"_{self.name}")

    def __set__(self, trainer: Any, value: Any) -> None:
        if hasattr(trainer, f"_{self.name}") and getattr(trainer, f"_{self.name}") is not value:
            raise ConfigurationError(
                f"{self.name} cannot be replaced in a {type(trainer).__name__}, whose state belongs to it. Build "
                f"another trainer with {self.name}=..., or load a checkpoint into one."
            )
        setattr(trainer, f"_{self.name}", value)


class Renamed:
    """The old name of an attribute or a method, which works for one version with a DeprecationWarning.

    Args:
        new: the new name.
    """

    def __init__(self, new: str) -> None:
        self.new = new

    def __set_name__(self, owner: type, name: str) -> None:
        self.old = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        self.warn(type(instance))
        kind = type(instance)
        if getattr(kind, self.old, self) is self:
            return getattr(instance, self.new)
        # A subclass defines a method with the old name, and calls the method of its base class.
        names = (vars(base) for base in kind.__mro__)
        below = next(n[self.new] for n in names if self.new in n and n.get(self.old, self) is self)
        return below.__get__(instance, kind)

    def __set__(self, instance: Any, value: Any) -> None:
        self.warn(type(instance))
        setattr(instance, self.new, value)

    def warn(self, owner: type) -> None:
        """Warn about the new name, at the line that uses the old one."""
        warnings.warn(f"{owner.__name__}.{self.old} is now called {self.new}.", DeprecationWarning, stacklevel=3)


def adopt_old_names(cls: type) -> None:
    """Make methods that a subclass defines under old names available under the new names."""
    for renamed in [v for base in cls.__mro__ for v in vars(base).values() if isinstance(v, Renamed)]:
        own = vars(cls).get(renamed.old, renamed)
        if own is not renamed:
            renamed.warn(cls)
            setattr(cls, renamed.new, own)
