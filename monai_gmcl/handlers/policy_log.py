# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""``policy.csv``: the learned policy, and the effects of its operations on the student."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.engines.evaluator import SupervisedEvaluator
from monai.engines.utils import IterationEvents, default_prepare_batch
from monai.networks.utils import eval_mode
from monai.utils.enums import CommonKeys as Keys
from monai.utils.type_conversion import convert_to_tensor
from torch import Tensor

from monai_gmcl.engines.batches import derive_seed
from monai_gmcl.engines.keys import GMCLEvents
from monai_gmcl.engines.student_pass import seeded, unwrapped
from monai_gmcl.engines.trainer import GMCLTrainer
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.handlers.epoch_table import OperationTable
from monai_gmcl.handlers.last_handlers import call_last
from monai_gmcl.metrics import operation_effects, prediction_error
from monai_gmcl.ranks import Ranks
from monai_gmcl.teachers.policy import PolicyTeacher
from monai_gmcl.transforms.counterparts import harmful_counterparts

__all__ = ["PolicyLog"]


class PolicyLog:
    """Logs the policy of a :class:`monai_gmcl.PolicyTeacher`, and the effects of its operations on the student.

    ``policy.csv`` gets a row for each epoch and operation: its range, ``probability`` and ``share``, its ``effect`` on
    the student's error with the ``standard_error``, and ``turned_down`` (share below 1/2). The error of an image is 1
    minus the probability that the student gives to its label. The effect is what the operation adds to this error. It
    is estimated by comparing images with and without the operation (:func:`monai_gmcl.metrics.operation_effects`):

    - with an evaluator, on unseen images. In each validation the teacher changes each batch, at the last lesson's
      difficulty, and the student predicts it in evaluation mode, which costs one further pass. The error of the
      unchanged image is subtracted. Weights, metrics and random state of the run are not changed;
    - without an evaluator, on the lessons of the epoch, in training mode. The student has been trained on their
      sources.

    After the run, one line of the log names the operations that were turned down. A warning follows for each random
    transform of the real images that still applies one of them
    (:func:`monai_gmcl.transforms.counterparts.harmful_counterparts`). Nothing is written for other teachers.

    A resumed run continues the same file and replaces the rows of epochs that it repeats. If it is resumed within an
    epoch, the log must be in ``save_dict`` of :class:`CheckpointKeeper`, so that the first lessons of the epoch are
    included.

    Args:
        output_dir: folder of ``policy.csv``; it is created if it does not exist.
        summary_writer: a TensorBoard writer; numbers are written to ``policy_share/<operation>`` and
            ``policy_effect/<operation>`` by epoch.
        evaluator: a ``monai.engines.SupervisedEvaluator``, whose student gives logits.

    Raises:
        ConfigurationError: another evaluator; on attaching, an engine without a teacher.
        DataError: on attaching, if an existing ``policy.csv`` is not such a table.
    """

    FILE_NAME = "policy.csv"

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        summary_writer: Any | None = None,
        evaluator: SupervisedEvaluator | None = None,
    ) -> None:
        if not (evaluator is None or isinstance(evaluator, SupervisedEvaluator)):
            raise ConfigurationError(
                f"PolicyLog got the evaluator {type(evaluator).__name__}; expected a "
                "monai.engines.SupervisedEvaluator, or None to measure effects on lessons."
            )
        self.table = OperationTable(Path(output_dir) / self.FILE_NAME)
        self.summary_writer = summary_writer
        self.evaluator = evaluator
        self.logger = logging.getLogger(__name__)
        self._epoch = 0
        self._acts: list[Tensor] = []
        self._errors: list[Tensor] = []
        # Whether validation images were compared with changed images; None before the first validation.
        self._compared: bool | None = None

    def attach(self, engine: GMCLTrainer) -> None:
        """Attach to an engine."""
        if not hasattr(engine, "teacher"):
            raise ConfigurationError(
                f"PolicyLog got a {type(engine).__name__} without a teacher; expected a GMCLTrainer."
            )
        if not isinstance(engine.teacher, PolicyTeacher):
            return
        if Ranks().index == 0:
            self.table.path.parent.mkdir(parents=True, exist_ok=True)
            self.table.read()  # read now, so that a wrong file raises an error before the first epoch
        call_last(engine, Events.EPOCH_COMPLETED, self._write)  # after the validation of the epoch
        engine.add_event_handler(Events.COMPLETED, self._tell)
        if self.evaluator is None:
            engine.add_event_handler(GMCLEvents.LESSON_COMPLETED, self._observe_lesson)
        else:
            self.evaluator.add_event_handler(Events.STARTED, self._forget)
            self.evaluator.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._observe_validation, engine)

    def state_dict(self) -> dict[str, Any]:
        """Return the values collected in this epoch."""
        acts = torch.cat(self._acts).cpu() if self._acts else torch.zeros(0, 0, dtype=torch.bool)
        errors = torch.cat(self._errors).cpu() if self._errors else torch.zeros(0, dtype=torch.float64)
        return {"epoch": self._epoch, "acts": acts, "errors": errors}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        self._epoch = state["epoch"]
        self._acts, self._errors = ([state[name]] if len(state[name]) else [] for name in ("acts", "errors"))

    def _forget(self) -> None:
        self._acts, self._errors = [], []

    def _add(self, epoch: int, acts: Tensor, errors: Tensor) -> None:
        if epoch != self._epoch:
            self._forget()
            self._epoch = epoch
        self._acts.append(acts.detach())
        self._errors.append(errors)

    def _observe_lesson(self, engine: GMCLTrainer) -> None:
        lesson, teacher = engine.state.lesson, engine.teacher
        assert isinstance(teacher, PolicyTeacher)
        if lesson.difficulty == 0:
            return
        # Proposed labels are predictions of the student, so that they do not measure its error.
        n = lesson.num_labeled
        acts = teacher.acts(lesson.latents[:n], lesson.image_shape[1:], lesson.difficulty)
        self._add(engine.state.epoch, acts, prediction_error(lesson.outputs[:n], lesson.labels[:n]))

    def _observe_validation(self, evaluator: SupervisedEvaluator, engine: GMCLTrainer) -> None:
        difficulty = float(engine.state.curriculum.get("difficulty", 0))
        self._compared = bool(self._compared) or difficulty != 0
        if difficulty == 0:
            return
        assert isinstance(engine.teacher, PolicyTeacher)
        seed = derive_seed(engine.rank_seed, "effects", engine.state.iteration, evaluator.state.iteration)
        self._add(engine.state.epoch, *_experiment(evaluator, engine.teacher, difficulty, seed))

    def _write(self, engine: GMCLTrainer) -> None:
        teacher = engine.teacher
        assert isinstance(teacher, PolicyTeacher)
        effects, ranks = self._effects(engine), Ranks()
        if ranks.index > 0:
            return
        epoch = engine.state.epoch
        policy = teacher.policy(float(engine.state.curriculum["difficulty"]), effects)
        self.table.put(epoch, policy)
        if self.summary_writer is not None:
            for name, row in policy.items():
                self.summary_writer.add_scalar(f"policy_share/{name}", row["share"], epoch)
                if not math.isnan(row["effect"]):
                    self.summary_writer.add_scalar(f"policy_effect/{name}", row["effect"], epoch)

    def _effects(self, engine: GMCLTrainer) -> dict[str, tuple[float, float]]:
        """Return the effects over the epoch's images on all ranks, by name of the operation."""
        names = [operation.name for operation in engine.teacher.operations]
        seen = self._acts if self._epoch == engine.state.epoch else []
        ranks = Ranks()
        # Floats, because NCCL does not gather bools.
        acts = torch.cat([torch.zeros(0, len(names), dtype=torch.float64), *(a.double().cpu() for a in seen)])
        errors = torch.cat([torch.zeros(0, dtype=torch.float64), *(e.cpu() for e in (self._errors if seen else []))])
        acts, errors = ranks.all_gather(acts) > 0, ranks.all_gather(errors)
        self._forget()
        finite = errors.isfinite()
        if not finite.all():
            self.logger.warning(
                "Effects do not include %d images with NaN or infinite predictions.", int((~finite).sum())
            )
        found = operation_effects(acts[finite], errors[finite])
        return dict(zip(names, zip(*(part.tolist() for part in found), strict=True), strict=True))

    def _tell(self, engine: GMCLTrainer) -> None:
        assert isinstance(engine.teacher, PolicyTeacher)
        if Ranks().index > 0:
            return
        turned_down = engine.teacher.turned_down
        self.logger.info("operations turned down: %s", ", ".join(turned_down) or "nothing")
        for sentence in harmful_counterparts(engine.data_loader, turned_down):
            self.logger.warning(sentence)
        if self.evaluator is not None and all(math.isnan(row["effect"]) for row in self.table.read()):
            self.logger.warning("%s has no effects: %s", self.table.path, self._reason_of_no_effects(self.evaluator))

    def _reason_of_no_effects(self, evaluator: SupervisedEvaluator) -> str:
        if self._compared:
            return "the validation images are too few to separate the operations. Add validation images."
        if self._compared is not None:
            return "the evaluator ran only while the difficulty was 0. Raise the difficulty of the curriculum."
        if evaluator.state.iteration:
            return (
                "the iteration of the evaluator does not fire IterationEvents.FORWARD_COMPLETED. Fire this event in it."
            )
        return "the evaluator did not run. Attach a ValidationHandler to the trainer."


@torch.no_grad()
def _experiment(
    evaluator: SupervisedEvaluator, teacher: PolicyTeacher, difficulty: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Change the evaluator's batch; return which operations acted ``(n, K)``, and the increase of the error ``(n,)``.

    Called after the student's pass, before postprocessing.
    """
    output: Any = evaluator.state.output
    images, labels, outputs = (convert_to_tensor(output[key]) for key in (Keys.IMAGE, Keys.LABEL, Keys.PRED))
    shape = images.shape[1:]
    latents = teacher.draw_latents(len(images), shape, torch.Generator().manual_seed(seed)).to(images)
    network = unwrapped(evaluator.network)
    with (
        seeded(seed, images.device),
        eval_mode(network),
        torch.autocast("cuda", enabled=evaluator.amp, **evaluator.amp_kwargs),
    ):
        further: Any = ((), {})
        if evaluator.prepare_batch is not default_prepare_batch:
            batch = evaluator.prepare_batch(
                evaluator.state.batch, evaluator.state.device, evaluator.non_blocking, **evaluator.to_kwargs
            )
            further = batch[2:] or further
        changed = teacher(images, labels, latents, difficulty)
        found = evaluator.inferer(changed, network, *further[0], **further[1])
        moved = teacher.change_labels(labels, latents, difficulty)
    grown = prediction_error(convert_to_tensor(found), moved) - prediction_error(outputs, labels)
    return teacher.acts(latents, shape, difficulty), grown
