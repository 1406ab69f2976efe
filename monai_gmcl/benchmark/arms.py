# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The arms of a comparison: each builds the trainer of one small-data method."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from monai.engines.trainer import SupervisedTrainer, Trainer

from monai_gmcl.benchmark.arm import Arm
from monai_gmcl.benchmark.data_sets import DataOptions
from monai_gmcl.benchmark.student_run import Setup
from monai_gmcl.curriculum import Competence, Curriculum
from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.hypergradients import Hypergradient
from monai_gmcl.teachers import PolicyTeacher, Teacher

__all__ = ["ARMS", "STRENGTHS", "WITHIN_BUDGET", "arms_of", "gmcl_arm", "policy_teacher"]

STRENGTHS = (0.5, 1.0, 2.0)
"""Times the usual strength of an arm that is tuned."""
WITHIN_BUDGET = "_tuned_within_budget"
"""End of the name of a tuned arm whose strengths share the steps of one run."""


def _supervised(name: str) -> Callable[[Setup], Trainer]:
    """Return the builder of a student with transforms and no teacher."""
    return lambda setup: SupervisedTrainer(**setup.arguments(setup.augmentation(name, setup.strength)))


def policy_teacher(options: DataOptions) -> PolicyTeacher:
    """Return the default teacher, with the same options of the images as the standard transforms.

    Where the center makes the label, it may not move or zoom.
    """
    exclude = ("shift", "zoom") if options.centered else ()
    shape = (options.spatial_dims, options.channels, options.classes)
    return PolicyTeacher(*shape, exclude=exclude, upright=options.upright)


def gmcl_arm(
    teacher: Callable[[DataOptions], Teacher] = policy_teacher,
    learned: bool = True,
    hypergradient: type[Hypergradient] | None = None,
    competence: Callable[[], Competence] = Competence,
    **curriculum: Any,
) -> Callable[[Setup], Trainer]:
    """Return the builder of GMCL on labeled images: a teacher made for a data set, which learns or stays as it is.

    ``competence`` leads the difficulty, where that is not among the arguments of the curriculum.
    """

    def build(setup: Setup) -> Trainer:
        model = teacher(setup.options).to(setup.device)
        return GMCLTrainer(
            **setup.arguments(setup.augmentation("standard")),
            teacher=model,
            teacher_optimizer=model.optimizer() if learned else None,
            # Competence is new for each run: it follows one student.
            curriculum=Curriculum(**{"difficulty": competence(), **curriculum}),
            hypergradient=None if hypergradient is None else hypergradient(),
            seed=setup.seed,
        )

    return build


ARMS: dict[str, Arm] = {
    "standard": Arm("standard MONAI transforms", _supervised("standard"), tuned=True),
    "strong": Arm("strong MONAI transforms", _supervised("strong"), tuned=True),
    "trivial_augment": Arm("TrivialAugment of MONAI transforms", _supervised("trivial")),
    "frozen": Arm("GMCL with a frozen random teacher", gmcl_arm(learned=False, difficulty=1.0), equal_compute=False),
    "gmcl": Arm("GMCL", gmcl_arm(), equal_compute=False),
}
"""The arms of ``compare``, by their short names, in the order of tables."""


def arms_of(names: Iterable[str]) -> dict[str, Arm]:
    """Return :data:`ARMS` and those that are named ``module:NAME``; ConfigurationError for what is no arm."""
    own = [name.removesuffix(WITHIN_BUDGET) for name in names if ":" in name]
    return {**ARMS, **{name: _imported(name) for name in own}}


def _imported(name: str) -> Arm:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"compare: arms: {name!r} cannot be imported: {error}. Expected module:NAME of an Arm. Install the module, "
            "or add its folder to PYTHONPATH."
        ) from error
    if not isinstance(found, Arm):
        raise ConfigurationError(
            f"compare: arms: expected {name!r} to be a monai_gmcl.benchmark.arm.Arm, found {type(found).__name__}."
        )
    return found
