# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The report of a comparison. Needs pandas and scipy (``pip install "monai_gmcl[benchmark]"``)."""

from __future__ import annotations

from monai_gmcl.benchmark.report.writing import keep_command, write_report

__all__ = ["keep_command", "write_report"]
