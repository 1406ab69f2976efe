# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m monai_gmcl report``: what the runs of a comparison say so far."""

from __future__ import annotations

from importlib.util import find_spec

from monai_gmcl.exceptions import ConfigurationError

__all__ = ["check_installed", "report"]


def report(out: str, pictures: bool = False) -> None:
    """Write the report of a comparison again from the runs in its folder, also while ``compare`` is running.

    Args:
        out: folder of the comparison. It gets ``report.html``, ``summary.md``, ``results.csv`` and ``figures``.
        pictures: whether ``report.html`` shows the training images of each method. They are images of the data set and
            may be images of patients.

    Raises:
        ConfigurationError, DataError: a package is not installed, or the folder has no valid runs.
    """
    check_installed("scipy", "pandas")
    # Here: the other commands of monai_gmcl do without the packages that reports need.
    from monai_gmcl.benchmark.report import write_report

    print(f"See {write_report(str(out), pictures)}")


def check_installed(*packages: str) -> None:
    """Raise ``ConfigurationError`` that names what is not installed of the packages that comparisons need."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f'compare needs {" and ".join(missing)}, not installed here. Run pip install "monai_gmcl[benchmark]".'
        )
