# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""``report.html``: a run on one page."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor, nn

from monai_gmcl.atomic_file import make_folder, write_whole
from monai_gmcl.engines.student_pass import unwrapped
from monai_gmcl.engines.trainer import GMCLTrainer
from monai_gmcl.handlers.curriculum_log import CurvesHandler
from monai_gmcl.handlers.epoch_table import EpochTable
from monai_gmcl.handlers.output_lock import hold_output
from monai_gmcl.handlers.report_sections import accuracy_section, environment_section, policy_section
from monai_gmcl.handlers.segmentation_section import SegmentedImage, segment, segmentation_section
from monai_gmcl.names import shown_name
from monai_gmcl.ranks import on_first_rank
from monai_gmcl.reporting.figures import plain_texts
from monai_gmcl.reporting.image_sheet import unnormalized
from monai_gmcl.reporting.page import Picture, Section, html_page
from monai_gmcl.reporting.run_figures import attention_picture
from monai_gmcl.student_file import load_student
from monai_gmcl.tasks import Classification, MultiLabel, Segmentation
from monai_gmcl.teachers import Teacher

__all__ = ["RunReport"]

logger = logging.getLogger(__name__)

GRIDS = 4
"""Pictures of the teacher's images, from the first epoch to the last."""
LOOKED_AT = 6
"""Number of images for which Grad-CAM is shown."""
TITLE = "A GMCL training run"


class RunReport:
    """Writes ``report.html`` at the end of a run: one file with results, pictures and settings, which needs no network.

    The report has the student's results on validation images, by class, with confusion matrix and reliability
    (segmentation: Dice of each class, and the worst and the best images with the contours of their masks); the curves
    of :class:`CurvesHandler` and the grids of :class:`ImageGridHandler`, if they are in the folder; Grad-CAM; the
    teacher's policy with the operations that were turned down and, with :class:`PolicyLog`, their effects and their
    shares by epoch; settings and environment. If a part cannot be made, the report has the reason in its place, and the
    run does not fail.

    Attach this handler after the handlers whose pictures it shows.

    Args:
        output_dir: folder of the page and of the pictures.
        evaluator: the engine of the validation; its data are read once more.
        class_names: names of the classes, by label. Default: their numbers.
        model_file: file of the student, as :class:`BestModelSaver` writes it. Default: the student's current weights.
        settings: further settings to list, by name.

    Shape:
        images ``(B, C, H, W)`` or ``(B, C, D, H, W)``; labels ``(B,)``, ``(B, K)`` for multi-label tasks, or masks
        ``(B, K, *spatial)``.
    """

    FILE_NAME = "report.html"

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        evaluator: Engine,
        class_names: Sequence[str] | None = None,
        model_file: str | os.PathLike[str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(output_dir)
        self.evaluator = evaluator
        self.class_names = class_names
        self.model_file = None if model_file is None else Path(model_file)
        self.settings = dict(settings or {})

    @on_first_rank
    def attach(self, engine: GMCLTrainer) -> None:
        """Attach to a trainer."""
        hold_output(engine, self.folder)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _write(self, engine: GMCLTrainer) -> None:
        try:
            of_student = self._of_student(engine)
        except Exception as error:
            logger.warning("%s was not written: the student could not be validated again: %s", self.FILE_NAME, error)
            return
        # A user's student, teacher or images may raise any error.
        parts: dict[str, Callable[[], Section] | None] = {
            "The student": of_student["The student"],
            "Curriculum": self._curves,
            "Synthetic images by epoch": lambda: self._grids(engine.state.epoch),
            "Where the student looks": of_student.get("Where the student looks"),
            "The teacher": lambda: policy_section(engine, self.folder),
        }
        sections = [_made(title, make) for title, make in parts.items() if make is not None]
        page = html_page(TITLE, self._facts(engine), [*sections, environment_section(engine)])
        make_folder(self.folder)
        write_whole(self.folder / self.FILE_NAME, page)

    def _of_student(self, engine: GMCLTrainer) -> dict[str, Callable[[], Section]]:
        network = self._student(engine)
        if isinstance(engine.task, Segmentation):
            cases = segment(engine, self.evaluator, network)
            return {"The student": lambda: segmentation_section(cases, self._class_names(cases), self._weights())}
        outputs, labels, first = self._validation(engine, network)
        names, task = self._names(outputs), _task(engine, labels, outputs)
        return {
            "The student": lambda: accuracy_section(task, outputs, labels, names, self._weights()),
            "Where the student looks": lambda: self._attention(engine, network, outputs, labels, first),
        }

    def _student(self, engine: GMCLTrainer) -> nn.Module:
        network = deepcopy(unwrapped(engine.network))
        chosen = self._chosen()
        if chosen is not None:
            load_student(network, chosen)
        return network.eval()

    @torch.no_grad()
    def _validation(self, engine: GMCLTrainer, network: nn.Module) -> tuple[Tensor, Tensor, dict[int, Tensor]]:
        """Return outputs and labels of all images, and the first images of each class by their indices."""
        evaluator: Any = self.evaluator
        outputs, labels = [], []
        first: dict[int, Tensor] = {}
        seen: Counter[int] = Counter()
        for batch in evaluator.data_loader:
            prepared = evaluator.prepare_batch(batch, engine.device, False)
            images, of_images = (torch.as_tensor(part) for part in prepared[:2])
            output = torch.as_tensor(engine.inferer(images, network)).float()
            for image, label in zip(images, _task(engine, of_images, output).classes(of_images).tolist(), strict=True):
                if seen[label] < LOOKED_AT:
                    first[seen.total()] = image
                seen[label] += 1
            outputs.append(output.cpu())
            labels.append(of_images.cpu())
        return torch.cat(outputs), torch.cat(labels), first

    def _names(self, outputs: Tensor) -> list[str]:
        count = max(outputs.shape[1], 2) if self.class_names is None else len(self.class_names)
        return [str(k) for k in range(count)] if self.class_names is None else list(map(shown_name, self.class_names))

    def _class_names(self, cases: Sequence[SegmentedImage]) -> list[str]:
        """Return the class names. For masks, the background is first; it has no name if channels overlap."""
        names = list(map(shown_name, self.class_names or []))
        count = len(cases[0].dice)
        return ["background", *names][-count:] if len(names) >= count - 1 else [str(k) for k in range(count)]

    def _weights(self) -> str:
        return "the last checkpoint" if self._chosen() is None else "the best-validation checkpoint"

    def _chosen(self) -> Path | None:
        return self.model_file if self.model_file is not None and self.model_file.is_file() else None

    def _curves(self) -> Section:
        text = "Lesson weight, hardness, difficulty, losses and accuracies of each epoch."
        file = self.folder / CurvesHandler.FILE_NAME
        if not file.is_file():
            return Section("Curriculum", [f"{file.name} was not found. Attach a CurvesHandler before."])
        rows = EpochTable(self.folder / "curriculum.csv").read()
        ends = {name: (rows[0].get(name), rows[-1].get(name)) for name in ("difficulty", "diversity")}
        told = [f"{name}: {a:.3g} in the first epoch, {b:.3g} in the last." for name, (a, b) in ends.items() if a and b]
        return Section("Curriculum", [text, *told], pictures=[Picture("curves", "Curves by epoch", file.read_bytes())])

    def _grids(self, epoch: int) -> Section:
        # Pictures of later epochs belong to an earlier run.
        every = {int(f.stem[6:]): f for f in (self.folder / "images").glob("epoch_*.png") if f.stem[6:].isdecimal()}
        files = [every[number] for number in sorted(every) if number <= epoch]
        if not files:
            return Section("Synthetic images by epoch", ["No pictures were found. Attach an ImageGridHandler before."])
        count = min(GRIDS, len(files))
        chosen = dict.fromkeys(files[round(k * (len(files) - 1) / max(1, count - 1))] for k in range(count))
        text = "Left are real images, right the synthetic images made from them, with the same latents in all epochs."
        pictures = [Picture(f.stem, f"Epoch {int(f.stem.split('_')[1])}", f.read_bytes()) for f in chosen]
        return Section("Synthetic images by epoch", [text], pictures=pictures)

    def _attention(
        self, engine: GMCLTrainer, network: nn.Module, outputs: Tensor, labels: Tensor, first: dict[int, Tensor]
    ) -> Section:
        task = _task(engine, labels, outputs)
        classes = task.classes(labels).tolist()
        by_class = sorted(first, key=lambda place: (classes[place], place))
        step = max(1, len(by_class) // LOOKED_AT)
        places = by_class[::step][:LOOKED_AT]
        images = torch.stack([first[place] for place in places])
        taken = outputs[places].argmax(1) if outputs.shape[1] > 1 else (outputs[places, 0] > 0).long()
        names = self._names(outputs)
        several = isinstance(task, MultiLabel) and outputs.shape[1] > 1
        titles = [
            f"most likely {names[int(most)]}" if several else f"{names[classes[place]]},\npredicted {names[int(most)]}"
            for place, most in zip(places, taken, strict=True)
        ]
        value_range = engine.teacher.value_range if isinstance(engine.teacher, Teacher) else None
        picture = attention_picture(network, images, unnormalized(images, engine.teacher), titles, value_range)
        return Section("Where the student looks", pictures=[picture])

    def _facts(self, engine: GMCLTrainer) -> list[tuple[str, Sequence[str]]]:
        group = engine.optimizer.param_groups[0]
        optimizer = f"{type(engine.optimizer).__name__}, learning rate {group.get('max_lr', group['lr']):.3g}"
        epochs = f"{engine.state.epoch} epochs of {engine.state.epoch_length} iterations, seed {engine.seed}"
        known = {
            "run": epochs,
            "student": f"{type(unwrapped(engine.network)).__name__}; {optimizer}",
            "teacher": type(engine.teacher).__name__,
            "hypergradient": type(engine.hypergradient).__name__
            if engine.teacher_optimizer
            else "none (frozen teacher)",
        }
        return [(name, [str(value)]) for name, value in {**known, **self.settings}.items()]


def _task(engine: GMCLTrainer, labels: Tensor, outputs: Tensor) -> Classification | MultiLabel:
    """Return the task; in a resumed run without steps, it is not determined yet."""
    task = engine.student.loss.task_of(labels, outputs)
    assert isinstance(task, Classification | MultiLabel)
    return task


def _made(title: str, make: Callable[[], Section]) -> Section:
    try:
        with plain_texts():
            return make()
    except Exception as error:
        logger.warning("The section %r could not be made and is left out of the report: %s", title, error)
        return Section(title, [f"This section could not be made: {error}"])
