# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""A TensorBoard writer that writes no empty file."""

from __future__ import annotations

import os
from typing import Any

from torch.utils.tensorboard import SummaryWriter


class LazySummaryWriter:
    """A TensorBoard writer that creates its file with the first number, so that a run without steps writes no file.

    It has all attributes of ``torch.utils.tensorboard.SummaryWriter``.

    Args:
        log_dir: folder of the events; made if there is none.
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
        """Write what is there."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Write what is there, and close the file."""
        if self._writer is not None:
            self._writer.close()
