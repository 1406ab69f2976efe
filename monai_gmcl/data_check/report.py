# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The report of a data check as a table, JSON or an error."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_gmcl.data.faults import KINDS, Fault, alike
from monai_gmcl.exceptions import DataError

__all__ = ["Report"]

SHOWN = 4
"""Largest number of faults in an error message; the table has all faults."""
WIDEST = 60


@dataclass(frozen=True)
class Report:
    """The report of a data check.

    Attributes:
        source: the folder or table.
        images: number of checked files.
        faults: faults sorted by kind, errors first.
    """

    source: str
    images: int
    faults: tuple[Fault, ...]

    @classmethod
    def of(cls, source: str, images: int, faults: Sequence[Fault]) -> Report:
        """Return a report with sorted faults, without duplicates."""
        order = list(KINDS)
        kept = sorted(dict.fromkeys(faults), key=lambda fault: order.index(fault.kind))
        return cls(source, images, tuple(kept))

    @property
    def errors(self) -> tuple[Fault, ...]:
        """The errors, which stop a training run."""
        return tuple(fault for fault in self.faults if fault.is_error)

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """The warnings, which do not stop a training run."""
        return tuple(fault for fault in self.faults if not fault.is_error)

    def summary(self) -> str:
        """Return one line with the numbers of images, errors and warnings."""
        return (
            f"{_count(self.images, 'image')} in {self.source!r}: {_count(len(self.errors), 'error')}, "
            f"{_count(len(self.warnings), 'warning')}"
        )

    def table(self) -> str:
        """Return all faults as text: file, fault, remedy. Equal faults of several files are one line."""
        rows = [("", "file", "problem", "what to do")]
        for faults in alike(self.faults):
            severity = "error" if faults[0].is_error else "warning"
            more = f" and {len(faults) - 1:,} more" if len(faults) > 1 else ""
            rows.append((severity, self._place(faults[0]) + more, _told(faults[0]), faults[0].remedy))
        widths = [min(max(len(row[column]) for row in rows), WIDEST) for column in range(3)]
        lines = [
            "  ".join([*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row[3]])
            for row in rows
        ]
        return "\n".join([*(lines if self.faults else []), self.summary()])

    def log(self, logger: logging.Logger) -> None:
        """Log the table, if there are faults."""
        if self.faults:
            logger.log(logging.ERROR if self.errors else logging.WARNING, "data check\n%s", self.table())

    def to_json(self) -> dict[str, Any]:
        """Return all faults by file, as JSON."""
        return {
            "source": self.source,
            "images": self.images,
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "faults": [
                {
                    "severity": "error" if fault.is_error else "warning",
                    "kind": fault.kind,
                    "file": fault.file,
                    "row": fault.row,
                    "expected": fault.expected,
                    "found": fault.found,
                    "remedy": fault.remedy,
                }
                for fault in self.faults
            ],
        }

    def stop(self) -> None:
        """Raise if there are errors.

        Raises:
            DataError: there are errors; the message has one line for each, at most six.
        """
        if not self.errors:
            return
        lines = [f"{self.summary()}."]
        lines += [f"{self._place(fault)}: {_told(fault)}; {fault.remedy}" for fault in self.errors[:SHOWN]]
        if len(self.errors) > SHOWN:
            lines.append(f"{len(self.errors) - SHOWN:,} more errors: see python -m monai_gmcl validate {self.source}")
        raise DataError("\n".join(lines))

    def _place(self, fault: Fault) -> str:
        path, folder = Path(fault.file), Path(self.source)
        folder = folder if folder.is_dir() else folder.parent
        shown = os.path.relpath(path, folder) if path.is_relative_to(folder) and path != folder else str(path)
        # a name may contain line breaks or control characters
        shown = shown if shown.isprintable() else repr(shown)
        return shown if fault.row is None else f"{shown}, row {fault.row}"


def _told(fault: Fault) -> str:
    return f"found {fault.found}; expected {fault.expected.rstrip(',')}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
