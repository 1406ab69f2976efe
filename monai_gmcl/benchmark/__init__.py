# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Comparisons of small-data methods, and what GMCL costs."""

from __future__ import annotations
