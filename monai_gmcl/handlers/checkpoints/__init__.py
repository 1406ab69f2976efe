# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: written atomically, restored bit for bit, and checked against the settings of the run."""

from __future__ import annotations

from monai_gmcl.handlers.checkpoints.best import BestModelSaver
from monai_gmcl.handlers.checkpoints.folder import CheckpointFolder, newest_checkpoint
from monai_gmcl.handlers.checkpoints.keeper import CheckpointKeeper

__all__ = ["BestModelSaver", "CheckpointFolder", "CheckpointKeeper", "newest_checkpoint"]
