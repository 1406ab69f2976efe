# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["class_name", "multi_label", "sorted_names"]

LONGEST_NUMBER = 18


def class_name(label: Any, class_names: Sequence[str] | None = None) -> str | None:
    """Return the name of a class as a table writes it, or None where it can be no class.

    Blanks around a name go. A whole number is the same class however it is written: ``1``, ``1.0``, ``"1"`` (tables
    with gaps write whole numbers so). Negative numbers, fractions, NaN and infinity are labels gone wrong, unless
    they stand in ``class_names``.
    """
    if isinstance(label, bool) or not isinstance(label, str | int | float):
        return None
    name = str(label).strip()
    if not name or name in map(str, class_names or []):
        return name or None
    try:
        number = float(name)
    except ValueError:
        return name
    if not math.isfinite(number) or number < 0 or number != int(number):
        return None
    return str(int(number)) if "." in name else name


def multi_label(values: Sequence[Any]) -> list[float] | None:
    """Return labels of a multi-label task as numbers, or None where they are not all 0 or 1."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if numbers and all(number in (0.0, 1.0) for number in numbers) else None


def sorted_names(labels: Iterable[Any]) -> list[str]:
    """Return the distinct names: numbers first, as numbers, then the rest."""
    return sorted({str(label) for label in labels}, key=_order)


def _order(name: str) -> tuple[int, int, str]:
    number = name.isdecimal() and len(name) <= LONGEST_NUMBER
    return (0, int(name), name) if number else (1, 0, name)
