# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The trainer, its keys and its events."""

from __future__ import annotations

from monai_gmcl.engines.keys import GMCLEvents, GMCLKeys
from monai_gmcl.engines.trainer import GMCLTrainer

__all__ = ["GMCLEvents", "GMCLKeys", "GMCLTrainer"]
