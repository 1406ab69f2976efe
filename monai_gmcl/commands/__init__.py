# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The commands of ``python -m monai_gmcl``, one module for each."""

from __future__ import annotations
