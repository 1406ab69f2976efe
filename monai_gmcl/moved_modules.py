# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Old paths of modules. Importing one gives the names of the new module, with a DeprecationWarning."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["MOVED", "accept_old_paths"]

_INTO = {
    "attributes": ("engines.attributes",),
    "benchmark.arms": ("benchmark.default_teacher",),
    "benchmark.comparison": ("benchmark.tuning",),
    "benchmark.student_run": ("benchmark.peak_memory",),
    "benchmark.synthetic_images": ("benchmark.picture",),
    "data.file_faults": ("data.litter",),
    "data.label_names": ("data.entries",),
    "data.mask_files": ("data.mask_loading",),
    "data.part_lists": ("data.part_names", "data.trusted_rows"),
    "data.phantom": ("data.unlabeled_phantom",),
    "data.unlabeled": ("data.prediction",),
    "engines.batches": ("engines.extra_inputs", "engines.real_batch"),
    "engines.checks": ("engines.checks_of_arguments", "engines.checks_of_range", "engines.checks_of_ranks"),
    "engines.lesson_sources": ("engines.source_buffer", "engines.unlabeled_sources"),
    "engines.student_pass": ("engines.student_loss",),
    "engines.student_step": ("engines.finite_weights", "engines.precision"),
    "engines.teacher_step": ("engines.pending_lessons", "engines.teacher_pass"),
    "handlers.checkpoints.best": ("handlers.checkpoint_best",),
    "handlers.checkpoints.folder": ("handlers.checkpoint_folder",),
    "handlers.checkpoints.keeper": ("handlers.checkpoint",),
    "handlers.checkpoints.plain_state": ("handlers.checkpoint_state",),
    "handlers.checkpoints.signals": ("handlers.checkpoint_signals",),
    "handlers.checkpoints.settings": ("handlers.checkpoints.schedules",),
    "handlers.curriculum_log": ("handlers.curves",),
    "handlers.epoch_table": ("handlers.operation_table",),
    "handlers.predictions_saver": ("handlers.class_report",),
    "handlers.progress_bar": ("handlers.run_summary",),
    "handlers.report_sections": ("handlers.policy_section",),
    "labels": ("teachers.label_vectors",),
    "late_reading": ("engines.late_reading",),
    "per_image_loss": ("engines.per_image_loss",),
    "reporting.figures": ("handlers.pictures",),
    "reporting.image_sheet": ("handlers.grid_figure", "reporting.contours"),
    "reporting.page": ("page",),
    "reporting.run_figures": ("handlers.report_figures",),
    "synthesis.card": ("synthesis.measures",),
    "teachers.normal_latents": ("teachers.learned_spread",),
    "teachers.policy_to_monai": ("teachers.policy_text",),
    "weighting.base": ("weighting.confidence", "weighting.uniform"),
}
MOVED = {f"monai_gmcl.{old}": f"monai_gmcl.{new}" for new, paths in _INTO.items() for old in paths}
"""New modules by their old paths; kept for one version."""


class _OldPaths(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Return None, so that Python creates the module."""

    def exec_module(self, module: ModuleType) -> None:
        new = MOVED[module.__name__]
        warnings.warn(f"{module.__name__} has moved: import from {new}.", DeprecationWarning, stacklevel=2)
        own = vars(import_module(new))
        vars(module).update({name: value for name, value in own.items() if not name.startswith("__")})


def accept_old_paths() -> None:
    """Make the old paths of this package's modules importable."""
    if not any(isinstance(finder, _OldPaths) for finder in sys.meta_path):
        sys.meta_path.append(_OldPaths())
