# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A TensorBoard writer that does not create empty files."""

from __future__ import annotations

import os
from typing import Any

from torch.utils.tensorboard import SummaryWriter

__all__ = ["LazySummaryWriter"]


class LazySummaryWriter:
    """A TensorBoard writer that creates its file with the first number, so that a run without steps writes no file.

    It has all attributes of ``torch.utils.tensorboard.SummaryWriter``.

    Args:
        log_dir: folder of the event files; it is created if it does not exist.
        options: further arguments of ``SummaryWriter``.
    """

    def __init__(self, log_dir: str | os.PathLike[str], **options: Any) -> None:
        self.log_dir = os.fspath(log_dir)
        self._options = options
        self._writer: SummaryWriter | None = None

    def __getattr__(self, name: str) -> Any:
        if self._writer is None:
            self._writer = SummaryWriter(self.log_dir, **self._options)
        return getattr(self._writer, name)

    def flush(self) -> None:
        """Flush the file, if it exists."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Flush and close the file, if it exists."""
        if self._writer is not None:
            self._writer.close()
