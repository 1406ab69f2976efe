# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The end of a ``python -m monai.bundle run`` that fails for a known reason: the reason, without MONAI's traceback."""

from __future__ import annotations

import sys
from types import TracebackType

from monai.utils.misc import MONAIEnvVars

from monai_gmcl.exceptions import GMCLError

__all__ = ["reason", "shorten_errors"]


def shorten_errors() -> None:
    """Let an error of monai_gmcl that ends ``python -m monai.bundle`` print its message alone.

    MONAI wraps what a configuration raises, which puts the message above a long traceback. Other errors, and other
    programs, are left alone. With ``MONAI_DEBUG=true`` in the environment every traceback is shown.
    """
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and spec.name == "monai.bundle.__main__" and not MONAIEnvVars.debug():
        sys.excepthook = _show


def reason(error: BaseException | None) -> GMCLError | None:
    """Return the error of monai_gmcl that an error is, or was raised because of; None where there is none."""
    while error is not None and not isinstance(error, GMCLError):
        error = error.__cause__ or error.__context__
    return error


def _show(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    own = reason(error)
    if own is None:
        sys.__excepthook__(kind, error, traceback)
    else:
        print(f"monai_gmcl: {own}\n(Set MONAI_DEBUG=true to show the traceback.)", file=sys.stderr)
