# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Saves the teacher to its own file."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ignite.engine import Events

from monai_gmcl.atomic_file import make_folder
from monai_gmcl.engines.trainer import GMCLTrainer
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.handlers.last_handlers import pass_on_exceptions
from monai_gmcl.handlers.output_lock import hold_output
from monai_gmcl.ranks import on_first_rank
from monai_gmcl.student_description import StudentDescription
from monai_gmcl.teachers.base import Teacher
from monai_gmcl.teachers.policy import PolicyTeacher
from monai_gmcl.teachers.teacher_file import save_teacher

__all__ = ["TeacherSaver"]


class TeacherSaver:
    """Saves the teacher to its own file, for use as an augmentation without the student.

    The file is written after each epoch, at the end, and if the run fails; :func:`monai_gmcl.load_teacher` reads it. It
    also has the epoch, the seed, the last lesson's difficulty, which ``python -m monai_gmcl synthesize`` uses, and, for
    a policy, the names of the operations that were turned down. After an exception, the other handlers run before the
    exception is raised again.

    Args:
        output_dir: folder of the file; it is created if it does not exist.
        file_name: name of the file; an existing file is replaced.
        description: description of the student. Class names and preprocessing are stored in the file, for ``python -m
            monai_gmcl synthesize``.

    Raises:
        ConfigurationError: on attaching, a teacher that cannot be saved, or one with another number of classes than the
            student.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        file_name: str = "teacher.safetensors",
        description: StudentDescription | None = None,
    ) -> None:
        self.path = Path(output_dir) / file_name
        self.description = description

    @on_first_rank
    def attach(self, engine: GMCLTrainer) -> None:
        """Attach to an engine, whose teacher must be a :class:`monai_gmcl.Teacher`."""
        teacher = getattr(engine, "teacher", None)
        if not isinstance(teacher, Teacher):
            raise ConfigurationError(
                f"TeacherSaver got an engine whose teacher is a {type(teacher).__name__}; accepted are subclasses of "
                "monai_gmcl.Teacher. To save a plain module, give it to monai.handlers.CheckpointSaver."
            )
        # Checked now, so that a teacher that cannot be saved raises an error before the run.
        with TemporaryDirectory() as folder:
            self._save_to(Path(folder) / self.path.name, teacher, {})
        make_folder(self.path.parent)
        hold_output(engine, self.path.parent)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)
        engine.add_event_handler(Events.COMPLETED, self._save)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._save)
        pass_on_exceptions(engine)

    def _save(self, engine: GMCLTrainer, *_: BaseException) -> None:
        assert isinstance(engine.teacher, Teacher)
        training: dict[str, Any] = {"epoch": engine.state.epoch, "seed": engine.seed}
        if "difficulty" in engine.state.curriculum:
            training["difficulty"] = float(engine.state.curriculum["difficulty"])
        if isinstance(engine.teacher, PolicyTeacher):
            training["turned_down"] = engine.teacher.turned_down
        self._save_to(self.path, engine.teacher, training)

    def _save_to(self, path: Path, teacher: Teacher, training: dict[str, Any]) -> None:
        if self.description is None:
            save_teacher(teacher, path, training=training)
        else:
            reading = {"image_reading": self.description.reading()}
            save_teacher(teacher, path, self.description.class_names, {**training, **reading})
