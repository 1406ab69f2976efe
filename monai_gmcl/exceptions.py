# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""One family of exceptions. A message says what was expected, what was found and what to do."""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "ConfigurationError",
    "DataError",
    "GMCLError",
    "HeadNotFoundError",
    "ImageRangeError",
    "LabelError",
    "NonFiniteLossError",
    "OutputError",
    "StudentOutputError",
    "TeacherError",
    "UnsupportedOptimizerError",
]


class GMCLError(Exception):
    """Base class of all exceptions of monai_gmcl."""


class ConfigurationError(GMCLError, ValueError):
    """An argument, or a combination of arguments, is not valid."""


class DataError(GMCLError, ValueError):
    """A file, folder or table of the user's data cannot be used; the message names it."""


class ImageRangeError(GMCLError, ValueError):
    """Images are outside the teacher's value range."""


class LabelError(GMCLError, ValueError):
    """Labels have a wrong type, shape or range."""


class StudentOutputError(GMCLError, ValueError):
    """The student's output does not match the labels or the number of classes."""


class TeacherError(GMCLError, ValueError):
    """The teacher returned something that is not a batch of images like its sources."""


class HeadNotFoundError(GMCLError, ValueError):
    """The student has no head, that is, no suitable last linear layer."""


class UnsupportedOptimizerError(GMCLError, TypeError):
    """The student's optimizer has no update rule."""


class NonFiniteLossError(GMCLError, ArithmeticError):
    """The student's loss is NaN or infinite."""


class OutputError(GMCLError, OSError):
    """A file or folder cannot be written; the message names it."""


class CheckpointError(GMCLError, ValueError):
    """A saved file cannot be read, or does not fit."""
