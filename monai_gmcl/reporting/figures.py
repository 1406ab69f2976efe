# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Matplotlib figures as PNG, for any names and sizes; errors do not stop a run."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from monai_gmcl.exceptions import OutputError

__all__ = ["figure_png", "new_figure", "one_panel", "optional_picture", "plain_texts"]

logger = logging.getLogger(__name__)

MOST_PIXELS = 2**15
"""Largest side length in pixels; matplotlib's limit is less than twice this value."""


@contextmanager
def plain_texts() -> Iterator[None]:
    """Draw texts of matplotlib literally, so that a name with dollar signs is not a formula."""
    with matplotlib.rc_context({"text.parse_math": False, "text.usetex": False}):
        yield


@contextmanager
def optional_picture(path: Path) -> Iterator[None]:
    """Log a warning if a picture cannot be drawn, so that a run continues; OutputError if it cannot be written."""
    try:
        with plain_texts():
            yield
    except OutputError:
        raise
    except Exception as error:
        # Users' names, images or teachers may raise any error.
        logger.warning("The figure %s could not be drawn: %s", path, error)


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of a size in inches, without a window."""
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def one_panel(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of a size in inches with one panel."""
    figure = new_figure(width, height)
    return figure, figure.add_subplot()


def figure_png(figure: Figure, **options: Any) -> bytes:
    """Return a figure as a PNG, with a lower resolution if it is very large."""
    figure.set_dpi(min(figure.dpi, MOST_PIXELS / max(figure.get_size_inches())))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=figure.dpi, **options)
    return buffer.getvalue()
