# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks every file of a data set before training, and reports all problems in one table."""

from __future__ import annotations

from monai_gmcl.data_check.check import check_data, check_parts, check_source
from monai_gmcl.data_check.report import Report

__all__ = ["Report", "check_data", "check_parts", "check_source"]
