# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Short error messages of ``python -m monai.bundle run``, without MONAI's traceback."""

from __future__ import annotations

import sys
from types import TracebackType

from monai.utils.misc import MONAIEnvVars

from monai_gmcl.exceptions import GMCLError

__all__ = ["reason", "shorten_errors"]


def shorten_errors() -> None:
    """Print only the message of a GMCLError that ends ``python -m monai.bundle``.

    MONAI wraps errors of a configuration, so that the message is above a long traceback. Other errors, and other
    programs, are not changed. With ``MONAI_DEBUG=true`` in the environment, every traceback is shown.
    """
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and spec.name == "monai.bundle.__main__" and not MONAIEnvVars.debug():
        sys.excepthook = _show


def reason(error: BaseException | None) -> GMCLError | None:
    """Return the GMCLError that an error is, or that is its cause; None if there is none."""
    while error is not None and not isinstance(error, GMCLError):
        error = error.__cause__ or error.__context__
    return error


def _show(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    own = reason(error)
    if own is None:
        sys.__excepthook__(kind, error, traceback)
    else:
        print(f"monai_gmcl: {own}\n(Set MONAI_DEBUG=true to show the traceback.)", file=sys.stderr)
