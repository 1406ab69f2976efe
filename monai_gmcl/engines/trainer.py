# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""The trainer: one iteration, in the order in which it runs."""

from __future__ import annotations

import inspect
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from ignite.engine import Engine
from ignite.metrics import Metric
from monai.engines.trainer import SupervisedTrainer
from monai.engines.utils import IterationEvents, default_metric_cmp_fn, default_prepare_batch
from monai.inferers.inferer import Inferer, SimpleInferer
from monai.transforms.transform import Transform
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from monai_gmcl.attributes import Fixed, Kept
from monai_gmcl.curriculum import Curriculum, CurriculumValues
from monai_gmcl.engines.accuracy import StudentAccuracy
from monai_gmcl.engines.batches import CyclingLoader, Moves, RealBatch, SeededLoader, derive_seed
from monai_gmcl.engines.checks import (
    RangeCheck,
    check_device,
    check_epoch_lengths,
    check_extra_inputs,
    check_images,
    check_intervals,
    check_loss,
    check_ranks,
    check_trained,
    check_uncompiled,
)
from monai_gmcl.engines.keys import GMCLEvents, GMCLKeys
from monai_gmcl.engines.lesson_sources import LessonSources, SourceBuffer, UnlabeledSources
from monai_gmcl.engines.look_ahead import LookAhead
from monai_gmcl.engines.student_pass import StudentPass, unwrapped
from monai_gmcl.engines.student_step import FiniteWeights, Precision, StudentStep
from monai_gmcl.engines.teacher_step import PendingLessons, TeacherPass, TeacherStep
from monai_gmcl.exceptions import CheckpointError, ConfigurationError, HeadNotFoundError
from monai_gmcl.hypergradients import ExactHypergradient, Hypergradient
from monai_gmcl.hypergradients.update_rules import check_optimizer
from monai_gmcl.late_reading import LateReading
from monai_gmcl.lesson import Lesson
from monai_gmcl.ranks import Ranks
from monai_gmcl.tasks import Task
from monai_gmcl.teachers.base import draw_latents
from monai_gmcl.weighting import LessonWeighting, LookAheadWeighting, PseudoLabeler, UniformWeighting
from monai_gmcl.weighting.pseudo_labels import LabelProposal

__all__ = ["GMCLTrainer"]

if TYPE_CHECKING:
    from ignite.engine import EventEnum

logger = logging.getLogger(__name__)


class GMCLTrainer(SupervisedTrainer):
    """Supervised training with learned augmentation: generative meta curriculum learning (GMCL).

    Replaces :class:`monai.engines.SupervisedTrainer` and keeps all its arguments, events, handlers and outputs.
    ``network``, ``optimizer``, ``inferer`` and ``loss_function`` are the student's. A *lesson* is a batch of labeled
    synthetic images that the teacher makes. Each iteration has four parts: the student's loss and gradient on a batch
    of real images; an update of the teacher by how much its last lesson lowers this loss; the next lesson; one step of
    the student on the real batch and the lesson::

        g_real   = ∇θ L(S(x), y)
        φ        ← φ - α · ∂/∂φ [loss of the student on this batch, after the last lesson]
        x_s      = T(x̃, ỹ, z, difficulty)
        g_lesson = ∇θ Σᵢ ωᵢ L(S(x_sᵢ), ỹᵢ) / n
        θ        ← U(θ, r · g_real + w · g_lesson)

    θ are the parameters of the student S, φ those of the teacher T, and U is the optimizer's step. x̃ are source
    images, ỹ their labels and z latents. r and w are the real weight and the lesson weight, and ωᵢ is the weight of
    image i.

    Idea: Li and Lovell, arXiv 2212.10086 (abstract and introduction). The step itself is our reconstruction.

    Output: ``image, label, pred, loss`` of the real batch, and :class:`GMCLKeys`. ``engine.state.lesson`` is the last
    lesson. ``engine.state.curriculum`` holds the curriculum's values and the accuracies on real images and on lessons.

    Args:
        device: as in ``SupervisedTrainer``, like all arguments that are not listed here.
        network: the student, which maps images ``(B, C, ...)`` to logits ``(B, K)``.
        optimizer: the student's optimizer. SGD, Adam, AdamW, NAdam and RMSprop have a rule for the derivative of their
            step. For another optimizer, the derivative is computed numerically, which is slow, unless you register a
            rule (:func:`monai_gmcl.register_update_rule`).
        loss_function: the student's loss, a mean over images.
        teacher: a module ``(images | None, labels, latents, difficulty) -> images`` on the trainer's device, see
            :class:`monai_gmcl.teachers.Teacher`.
        teacher_optimizer: the teacher's optimizer, such as ``teacher.optimizer()``. None: a frozen teacher, which is
            not trained.
        curriculum: weights of real images and lessons, hardness, difficulty and class sampling.
        hypergradient: estimator of the teacher's gradient. Default: :class:`HeadHypergradient`, through the student's
            last linear layer only. If no such layer is trained: :class:`ExactHypergradient`, through the whole
            student, with one log message.
        weighting: weight of each image of a lesson. Default: :class:`monai_gmcl.LookAheadWeighting` with
            ``unlabeled_data_loader``, otherwise all weights are 1.
        meta_data_loader: labeled images for the look-ahead instead of the next training batch, such as images of
            patients that the student is not trained on. Costs one more student pass per teacher step.
        unlabeled_data_loader: unlabeled images. Each lesson then also contains synthetic images of one unlabeled batch.
        label_proposal: predicts labels for the unlabeled images. It maps images ``(B, C, ...)`` to labels and their
            confidence ``(B,)``, 0 to 1. Default: :class:`monai_gmcl.PseudoLabeler`.
        teacher_interval: student steps per teacher step.
        source_buffer: number of the latest real images of each class, from which the sources of lessons are sampled.
            Default: 16; for images with masks up to 256, within 256 MiB.
        seed: seed of lessons, data order and random transforms. Default: ``torch.initial_seed()``, which
            ``monai.utils.set_determinism`` and ``torch.manual_seed`` set.
        task: the task, which defines the meaning of labels: :class:`monai_gmcl.tasks.Classification`,
            :class:`monai_gmcl.tasks.MultiLabel` or :class:`monai_gmcl.tasks.Segmentation`. Default:
            :func:`monai_gmcl.tasks.choose_task` determines it on the first batch.
        compile: compiles the student's pass on real images. Lessons use the uncompiled network, because compiled graphs
            do not have the derivatives that hypergradients need.
        accumulation_steps: micro-batches per student step. Each has a lesson; the last one updates the teacher.

    What differs from SupervisedTrainer:
        Attributes that are set on a trainer take effect at the next step, for real images and lessons. Setting
        ``teacher``, ``teacher_optimizer``, ``device``, ``compile`` or ``seed`` raises ConfigurationError.

        On a GPU, the host reads values from the device only after the first step, after every tenth step, at the end of
        an epoch and before a state is saved (``trainer.late_reading``). In all other steps, the host does not wait.
        Errors in a batch are raised at these steps, and name their iteration. Accuracies in ``state.curriculum`` and
        ``teacher_grad_norm`` are tensors on the device. :class:`monai_gmcl.Competence` and
        :class:`monai_gmcl.ClassSampler` use values that are up to ten steps old. If ``prepare_batch`` computes labels
        on the device, instead of moving them there with ``to``, the host waits for these labels. In float16, torch's
        ``GradScaler`` waits in each step unless the optimizer has ``fused=True``.

        The output has additional keys. A loss or gradient that is not finite raises NonFiniteLossError before any
        handler can stop the run. After an error, the first call of ``run()`` continues with the next batch
        (``SupervisedTrainer``: the second call); an accumulated gradient and the last lesson are dropped. The
        optimizer's gradient is ``r · g_real + w · g_lesson``; parameters of the loss function get gradients from real
        images only. ``CrossEntropyLoss`` accepts class indices of shape ``(B, 1)`` and masks
        ``(B, 1, *spatial)``, of any integer type. Masks ``(B, *spatial)`` get a channel in lessons.

        ``SupervisedTrainer`` accepts the following; ``GMCLTrainer`` raises an error:

        - labels outside 0 to 1 (regression), and labels between 0 and 1 with a regression loss such as L1 or MSE:
          LabelError. A class index that ``ignore_index`` (or -100) marks counts as unlabeled and is accepted;
        - images that exceed the teacher's ``value_range`` by more than a tenth of it: ImageRangeError;
        - a network that returns a tuple or a dictionary, unless an inferer selects the logits: StudentOutputError;
        - a number of logits other than the teacher's ``num_classes``: StudentOutputError;
        - masks with a network with deep supervision, unless an inferer selects one output: StudentOutputError;
        - masks with a teacher that moves the pixels of images but not of masks: ConfigurationError;
        - a loss that fails on a single image: ConfigurationError. A loss that is not a mean over images, and not
          weighted by label, gives a warning;
        - extra inputs of ``prepare_batch`` other than tensors, numbers, strings, None, lists, tuples or dictionaries,
          or whose structure changes between batches: DataError;
        - any extra inputs with a teacher that needs no images: ConfigurationError;
        - an optimizer without parameters of the network: ConfigurationError;
        - a network that was compiled in place: ConfigurationError (``compile=True`` is accepted);
        - the saved state of a SupervisedTrainer, to resume from: CheckpointError. Its network and optimizer can be
          loaded.

    Raises:
        UnsupportedOptimizerError: the student's optimizer needs a closure (LBFGS), as in ``SupervisedTrainer``.
        ConfigurationError: arguments that cannot be combined.
        LabelError, ImageRangeError, StudentOutputError, TeacherError, NonFiniteLossError, HeadNotFoundError, DataError:
            while running, on the first batch that has the problem.
    """

    # Each attribute is stored in the part that reads it in each step. The attributes in the last line cannot be set.
    loss_function = Kept("student.loss.function")
    inferer = Kept("student.inferer")
    optimizer = Kept("student_step.optimizer", lambda trainer, optimizer: check_optimizer(optimizer))
    optim_set_to_none = Kept("student_step.set_to_none")
    accumulation_steps = Kept("student_step.accumulation_steps", lambda t, n: t._check(accumulation_steps=n))
    amp = Kept("precision.enabled", lambda trainer, amp: trainer._check(amp=amp))
    amp_kwargs = Kept("precision.options")
    data_loader = Kept("seeded_loader.loader")
    hypergradient = Kept("pending_lessons.hypergradient", lambda trainer, h: trainer._check(hypergradient=h))
    teacher_interval = Kept("pending_lessons.interval", lambda trainer, n: trainer._check(teacher_interval=n))
    dropped_lessons = Kept("pending_lessons.dropped")
    weighting = Kept("look_ahead.weighting", lambda trainer, weighting: trainer._check(weighting=weighting))
    task = Kept("student.loss.task")
    device, compile, seed, teacher, teacher_optimizer = Fixed(), Fixed(), Fixed(), Fixed(), Fixed()

    def __init__(
        self,
        device: str | torch.device,
        max_epochs: int,
        train_data_loader: Iterable[Any] | DataLoader[Any],
        network: nn.Module,
        optimizer: Optimizer,
        loss_function: Callable[..., Tensor],
        epoch_length: int | None = None,
        non_blocking: bool = False,
        prepare_batch: Callable[..., Any] = default_prepare_batch,
        iteration_update: Callable[[Engine, Any], Any] | None = None,
        inferer: Inferer | None = None,
        postprocessing: Transform | None = None,
        key_train_metric: dict[str, Metric] | None = None,
        additional_metrics: dict[str, Metric] | None = None,
        metric_cmp_fn: Callable[..., Any] = default_metric_cmp_fn,
        train_handlers: Sequence[Any] | None = None,
        amp: bool = False,
        event_names: list[str | EventEnum | type[EventEnum]] | None = None,
        event_to_attr: dict[Any, Any] | None = None,
        decollate: bool = True,
        optim_set_to_none: bool = False,
        to_kwargs: dict[str, Any] | None = None,
        amp_kwargs: dict[str, Any] | None = None,
        compile: bool = False,
        compile_kwargs: dict[str, Any] | None = None,
        accumulation_steps: int = 1,
        *,
        teacher: nn.Module,
        teacher_optimizer: Optimizer | None,
        curriculum: Curriculum | None = None,
        hypergradient: Hypergradient | None = None,
        weighting: LessonWeighting | None = None,
        meta_data_loader: Iterable[Any] | None = None,
        unlabeled_data_loader: Iterable[Any] | None = None,
        label_proposal: LabelProposal | None = None,
        teacher_interval: int = 1,
        source_buffer: int | None = None,
        seed: int | None = None,
        task: Task | None = None,
    ) -> None:
        # Handlers attach inside super().__init__ and may use any of these attributes.
        self.device = torch.device(device)
        self._network: nn.Module = network
        if compile:
            self._network = torch.compile(network, **(compile_kwargs or {}))  # type: ignore[assignment]
        self.teacher = teacher
        self.teacher_optimizer = teacher_optimizer
        self.curriculum = Curriculum() if curriculum is None else curriculum
        self.ranks = Ranks()
        self.late_reading = LateReading(self.device)
        read = self.late_reading.check
        self.accuracy = StudentAccuracy(lambda: self.curriculum, self.ranks, self.late_reading)
        self.seed = torch.initial_seed() if seed is None else seed
        self.precision = Precision(amp, self.device, amp_kwargs or {})
        student_inferer = SimpleInferer() if inferer is None else inferer
        self.student = StudentPass(self.network, student_inferer, loss_function, self.precision.autocast, task)
        check_optimizer(optimizer)
        self.teacher_pass = TeacherPass(teacher, teacher_optimizer is not None, self.device, read)
        self.teacher_step = None
        if teacher_optimizer is not None:
            self.teacher_step = TeacherStep(teacher, teacher_optimizer, self.ranks, self.late_reading)
        self.pending_lessons = PendingLessons(hypergradient, teacher_interval, teacher, self._teach_again, self.device)
        self.student_step = StudentStep(
            self.student.network, optimizer, self.precision, accumulation_steps, optim_set_to_none, self.ranks, read
        )
        if weighting is None:
            weighting = UniformWeighting() if unlabeled_data_loader is None else LookAheadWeighting()
        meta = None
        if meta_data_loader is not None:
            meta = CyclingLoader(meta_data_loader, self.rank_seed, "meta_data_loader")
        self.look_ahead = LookAhead(weighting, self.student, self.student_step, meta, self._prepare_meta, read)
        self.finite_weights = FiniteWeights(student=self.student.network, teacher=teacher)
        for module in (self.student.network, teacher):
            self.late_reading.read_before_state_of(module)
        check_device(teacher, self.device)
        check_uncompiled(self.student.network, teacher)
        self._check()
        self.seeded_loader = SeededLoader(train_data_loader, self, self.rank_seed)
        self._check_range = RangeCheck(teacher, read)
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            train_data_loader=train_data_loader,
            network=self.network,
            optimizer=optimizer,
            loss_function=loss_function,
            epoch_length=epoch_length,
            non_blocking=non_blocking,
            prepare_batch=prepare_batch,
            iteration_update=iteration_update,
            inferer=self.inferer,
            postprocessing=postprocessing,
            key_train_metric=key_train_metric,
            additional_metrics=additional_metrics,
            metric_cmp_fn=metric_cmp_fn,
            train_handlers=train_handlers,
            amp=amp,
            event_names=[*event_names, GMCLEvents] if isinstance(event_names, list) else event_names or [GMCLEvents],
            event_to_attr=event_to_attr,
            decollate=decollate,
            optim_set_to_none=optim_set_to_none,
            to_kwargs=to_kwargs,
            amp_kwargs=amp_kwargs,
            accumulation_steps=accumulation_steps,
        )
        self._compile = compile
        unlabeled = self._unlabeled_sources(unlabeled_data_loader, label_proposal)
        self.sources = LessonSources(SourceBuffer(source_buffer), unlabeled, self.device)
        self.state.lesson = None
        self.state.curriculum = {}

    @property
    def network(self) -> nn.Module:
        """The student, as the user passed it. Setting another student drops the last lesson."""
        return self._network

    @network.setter
    def network(self, network: nn.Module) -> None:
        if unwrapped(network) is self.student.network:
            return
        unlabeled = self.sources.unlabeled
        if unlabeled is not None and isinstance(unlabeled.propose, PseudoLabeler) and unlabeled.propose.averages:
            raise ConfigurationError(
                "network: PseudoLabeler averages the network with which GMCLTrainer was built. Build another trainer, "
                "or give PseudoLabeler a first student (network=...)."
            )
        check_uncompiled(unwrapped(network), self.teacher)
        self._network = network
        self.student.network = self.student_step.network = unwrapped(network)
        self.finite_weights.networks["student"] = unwrapped(network)
        self.late_reading.read_before_state_of(unwrapped(network))
        self.finite_weights.begin()
        self.student.recomputes = None
        self.student_step.forget()
        self.pending_lessons.drop()

    @property  # type: ignore[override]
    def scaler(self) -> torch.amp.GradScaler:
        """The loss scale of mixed precision."""
        return self.precision.scaler

    @scaler.setter
    def scaler(self, scaler: torch.amp.GradScaler | None) -> None:
        # MONAI's constructor sets None before the first run.
        if scaler is not None:
            self.precision.scaler = scaler

    def _check(self, weighting: LessonWeighting | None = None, **changed: Any) -> None:
        """Raise if arguments, including those that were set after construction, cannot be combined."""
        names = ("hypergradient", "teacher_interval", "accumulation_steps", "amp")
        check_intervals(**{name: getattr(self, name) for name in names} | changed)
        updating = None if self.teacher_step is None else changed.get("hypergradient", self.hypergradient)
        weighing = (self.weighting if weighting is None else weighting).hypergradient
        check_ranks(self.ranks, self.network, self.teacher, updating, weighing)

    def set_data(self, data: Any) -> None:
        """Use other data from the next batch on, in an order that the seed determines."""
        self.data_loader = data
        super().set_data(self.seeded_loader)

    @property
    def rank_seed(self) -> int:
        """Seed of the random numbers that differ between ranks: order of images, transforms, lessons, dropout."""
        return self.seed if self.ranks.index == 0 else derive_seed(self.seed, "rank", self.ranks.index)

    def _unlabeled_sources(self, loader: Any, propose: LabelProposal | None) -> UnlabeledSources | None:
        if loader is None:
            if propose is not None:
                raise ConfigurationError("label_proposal needs unlabeled_data_loader, which is missing.")
            return None
        if propose is None:
            propose = PseudoLabeler()
        if isinstance(propose, PseudoLabeler):
            propose.attach(self, unwrapped(self.network), lambda *args, **kwargs: self.inferer(*args, **kwargs))
            check_device(propose.network, self.device, "PseudoLabeler's network")
        read = self.late_reading.check
        return UnlabeledSources(loader, propose, self.teacher, self.rank_seed, self._prepared, read)

    def run(self) -> None:  # type: ignore[override]
        """Train. A further call continues where the run stopped, or with the next batch after an error.

        Raises:
            ConfigurationError: ranks have different numbers of batches.
            DataError: a loader without a length returned no batch.
        """
        check_epoch_lengths(self.ranks, self.state.epoch_length)
        if self.state.epoch_length == 0:
            logger.warning("The training data loader is empty. Nothing is trained.")
            return
        self.finite_weights.begin()
        for module in (self.student.network, self.teacher):
            self.ranks.broadcast([*module.parameters(), *module.buffers()])
        run = self._internal_run_generator
        if run is not None and inspect.getgeneratorstate(run) == inspect.GEN_CLOSED:
            self._go_on_after_an_error()
        # Trainer.run is not used: it creates a CUDA-only gradient scaler, and Workflow.run would pass the unseeded
        # loader.
        Engine.run(self, data=self.seeded_loader, max_epochs=self.state.max_epochs)
        self.late_reading.read()
        self.finite_weights.check(self.state.iteration)

    def _go_on_after_an_error(self) -> None:
        """Reset ignite's state, so that a run continues within the epoch; otherwise ignite would return at once."""
        length = self.state.epoch_length
        epochs = self.state.iteration // length if length else self.state.epoch - 1
        if epochs >= self.state.max_epochs:
            return
        logger.warning("An error ended this run in iteration %d. The run continues after it.", self.state.iteration)
        self.state.epoch = epochs
        self._internal_run_generator = self._dataloader_iter = self._init_iter = None
        self.seeded_loader.resuming = True
        # The interrupted iteration is discarded.
        self.late_reading.forget()
        self.pending_lessons.drop()
        self.student_step.begin_window()

    def _iteration(self, engine: Engine, batchdata: Any) -> dict[str, Any]:
        self.late_reading.begin_step(self.state.iteration)
        values = self.curriculum.at(self._progress())
        real = self._look_at_real_images(batchdata)
        self._update_the_teacher(values)
        lesson = self._set_the_next_lesson(real, values)
        if self.student_step.window_ends(self.state):
            self._learn_from_both(real, lesson, values)
        self._report(real, lesson, values)
        ends_epoch = bool(self.state.epoch_length) and self.state.iteration % self.state.epoch_length == 0
        self.late_reading.end_step(ends_epoch)
        if ends_epoch:
            self.finite_weights.check(self.state.iteration)
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        output: dict[str, Any] = self.state.output
        return output

    def _look_at_real_images(self, batchdata: Any) -> RealBatch:
        """Run the student on real images; the real gradient of the window is then in ``p.grad``."""
        real = self._prepare(batchdata, "real")
        self._check_range(real.images, real.meta)
        check_extra_inputs(real, self.teacher)
        self.student_step.read_names()
        check_trained(self.student_step.names, self.optimizer, self.network)
        output = self.state.output = {Keys.IMAGE: real.images, Keys.LABEL: real.labels}
        self.network.train()
        if self.student_step.window_begins(self.state):
            self.student_step.begin_window()
        torch.manual_seed(real.seed)
        with self.precision.autocast():
            output[Keys.PRED] = self.inferer(real.images, self.network, *real.args, **real.kwargs)
            task = self.student.loss.checked_task(output[Keys.PRED], real, self._num_classes)
            self.fire_event(IterationEvents.FORWARD_COMPLETED)
            output[Keys.LOSS] = task.loss(output[Keys.PRED], real.labels)
            self.fire_event(IterationEvents.LOSS_COMPLETED)
        check_loss(output[Keys.LOSS], real.labels_on_host, task.ignored, self.late_reading.check)
        task.check(output[Keys.PRED], real.labels_on_host)
        task.check_padding(getattr(self.teacher, "label_padding", None), output[Keys.PRED], real.labels)
        total = self.accuracy.see_real(real, task, output[Keys.PRED])
        self.student_step.add_real(output[Keys.LOSS], self.ranks.rank_weight(len(real.images), total))
        return real

    def _update_the_teacher(self, values: CurriculumValues) -> None:
        """Update the teacher by the look-ahead: the real gradient evaluates the last lesson."""
        window_ends = self.teacher_step is not None and self.student_step.window_ends(self.state)
        updates_teacher = window_ends and self.pending_lessons.are_due(self.student_step.taken)
        self.look_ahead.compute(updates_teacher)
        if self.teacher_step is None or not updates_teacher:
            return
        lessons = self.pending_lessons.with_graphs()
        step = partial(self.teacher_step, self.hypergradient, lessons, self.look_ahead.gradient, values.hardness)
        stepped = self.student.at_lesson_weights(lessons[-1], step)
        self.pending_lessons.clear()
        self.state.lesson = None
        if stepped:
            self.fire_event(GMCLEvents.TEACHER_STEP_COMPLETED)

    def _set_the_next_lesson(self, real: RealBatch, values: CurriculumValues) -> Lesson | None:
        """Make the next lesson, and run the student on it without changing the student's running statistics."""
        # If the gradient of this batch weights the lesson, synthetic images of the same batch would get too large
        # weights.
        with self.sources.keeping(real, for_later=self.look_ahead.weighs_by_this_batch):
            lesson = self._lesson(real, values) if values.lesson_weight > 0 and self.sources.buffer.classes else None
        if lesson is None:
            return None
        self._teach(lesson)
        weigh = partial(self.look_ahead.weigh, lesson, values.unlabeled_weight)
        lesson.weights = self.student.at_lesson_weights(lesson, weigh)
        task = self.student.loss.task_of(lesson.labels, lesson.outputs)
        if lesson.num_pseudo_labeled > 0:
            task.check(lesson.outputs, lesson.labels, self.late_reading.check)
        lesson.rank_weight = self.ranks.rank_weight(len(lesson), self.accuracy.see_lesson(lesson, task))
        add = partial(self.student_step.add_lesson, lesson, self._will_update_teacher(), values.hardness > 0)
        self.student.at_lesson_weights(lesson, add)
        self.state.lesson, self.state.curriculum = lesson, {**self.accuracy.as_dict(), **values.as_dict()}
        self.fire_event(GMCLEvents.LESSON_COMPLETED)
        return lesson

    def _lesson(self, real: RealBatch, values: CurriculumValues) -> Lesson:
        """Return the next lesson without its images: as many sources as real images, and unlabeled sources."""
        n, iteration = len(real.images), self.state.iteration
        generator = torch.Generator().manual_seed(derive_seed(self.rank_seed, "lesson", iteration))
        task = self.student.loss.task_of(real.labels, self.state.output[Keys.PRED])
        with self.precision.autocast():
            drawn = self.sources.draw(n, self.curriculum.class_sampler, generator, task)
        images, labels, shape = drawn.images, drawn.labels, drawn.images.shape[1:]
        return Lesson(
            sources=images if getattr(self.teacher, "needs_images", True) else None,
            labels=labels,
            latents=draw_latents(self.teacher, len(labels), shape, generator).to(self.device, non_blocking=True),
            image_shape=(len(labels), *shape),
            difficulty=values.difficulty,
            lesson_weight=values.lesson_weight,
            parameters=self.student.copy_parameters(self.student_step.names),
            buffers=self.student.copy_buffers(),
            seed=derive_seed(self.rank_seed, "student", iteration),
            num_pseudo_labeled=len(labels) - n,
            unlabeled_difficulty=values.unlabeled_difficulty,
            args=drawn.args,
            kwargs=drawn.kwargs,
            confidence=drawn.confidence,
            sure_share=drawn.sure_share,
        )

    def _learn_from_both(self, real: RealBatch, lesson: Lesson | None, values: CurriculumValues) -> None:
        """Take the student's step, and compute its derivative A for the next look-ahead."""
        pending = lesson if self._will_update_teacher() else None
        if pending is not None and self.hypergradient.needs_real_step:
            pending.real_step = self.student_step.remember(real, values.real_weight)
        self.student_step.combine(values.real_weight, values.lesson_weight)
        self.look_ahead.forget()
        self.fire_event(IterationEvents.BACKWARD_COMPLETED)
        estimators = self._active_estimators(pending is not None)
        if lesson is not None and estimators:
            required = {name for estimator in estimators for name in estimator.required_parameters(lesson)}
            self.student_step.derive_update(required)
        # The step changes parameters in place. A parameter that was added after the lesson's pass would break its
        # graph.
        kept = pending is not None and self.student_step.changed() <= pending.parameters.keys()
        if not self.student_step.optimizer_step(partial(self._count_skipped, pending is not None)):
            self.dropped_lessons += pending is not None
            self.pending_lessons.drop()
        elif lesson is None:
            self.pending_lessons.clear()
        elif pending is not None and kept:
            pending.update = self.student_step.update
            self.pending_lessons.add(pending)
        else:
            self.dropped_lessons += pending is not None

    def _count_skipped(self, is_pending: bool, skipped: Tensor) -> None:
        self.dropped_lessons += is_pending and bool(skipped)

    def _report(self, real: RealBatch, lesson: Lesson | None, values: CurriculumValues) -> None:
        output = self.state.output
        real.restore(output)
        output[GMCLKeys.TEACHER_GRAD_NORM] = 0.0 if self.teacher_step is None else self.teacher_step.gradient_norm
        output[GMCLKeys.WEIGHT] = values.lesson_weight
        output[GMCLKeys.HARDNESS] = values.hardness
        output[GMCLKeys.DIFFICULTY] = values.difficulty
        # 0 instead of NaN, because TerminateOnNan would stop the run.
        output[GMCLKeys.SYNTHETIC_LOSS] = 0.0
        self.state.lesson = lesson
        self.state.curriculum = {**getattr(self.state, "curriculum", {}), **values.as_dict()}
        if lesson is not None:
            n = len(real.images)
            output[GMCLKeys.SYNTHETIC_IMAGE] = lesson.images.detach()[:n]
            output[GMCLKeys.SYNTHETIC_LABEL] = lesson.labels[:n]
            output[GMCLKeys.SYNTHETIC_PRED] = lesson.outputs.detach()[:n]
            output[GMCLKeys.SYNTHETIC_LOSS] = (lesson.weights * lesson.losses).detach().mean()

    def _prepare(self, batchdata: Any, purpose: str) -> RealBatch:
        if batchdata is None:
            raise ValueError("Must provide batch data for current iteration.")
        seed = derive_seed(self.rank_seed, purpose, self.state.iteration)
        with Moves() as moves:
            prepared = self._prepared(batchdata)
        real = RealBatch.of(prepared, seed, moves)
        labels = real.labels_on_host
        self.student.loss.without_channel = real.had_no_channel
        self.student.loss.task_of(labels).check_labels(labels, self._num_classes)
        check_images(real.images, real.meta, self.late_reading.check)
        return real

    def _prepare_meta(self, batchdata: Any) -> RealBatch:
        return self._prepare(batchdata, "meta")

    def _prepared(self, batchdata: Any) -> Any:
        return self.prepare_batch(batchdata, self.state.device, self.non_blocking, **self.to_kwargs)

    @property
    def _num_classes(self) -> int | None:
        return getattr(self.teacher, "num_classes", None)

    def _teach(self, lesson: Lesson) -> None:
        learns = self.teacher_step is not None
        generated = self.teacher_pass.generate(lesson)
        try:
            lesson.graph = self.student.forward_lesson(lesson, generated, self._active_estimators(learns))
        except HeadNotFoundError as error:
            if not self.pending_lessons.is_default:
                raise
            logger.warning("%s ExactHypergradient() updates the teacher until you name the head.", error)
            self.hypergradient = ExactHypergradient()
            lesson.graph = self.student.forward_lesson(lesson, generated, self._active_estimators(learns))

    def _teach_again(self, lesson: Lesson) -> None:
        generated = self.teacher_pass.generate_again(lesson)
        lesson.graph = self.student.forward_lesson(lesson, generated, self._active_estimators(True))

    def _active_estimators(self, updates_teacher: bool) -> list[Hypergradient]:
        """The estimators that use a lesson: of the teacher's gradient, if it is updated, and of the image weights."""
        weighting = self.weighting.hypergradient
        return [*([self.hypergradient] if updates_teacher else []), *([] if weighting is None else [weighting])]

    def _will_update_teacher(self) -> bool:
        """Whether a lesson made now will update the teacher."""
        if self.teacher_step is None or not self.student_step.window_ends(self.state):
            return False
        return self.pending_lessons.would_keep(self.student_step.taken)

    def _progress(self) -> float:
        state = self.state
        if state.epoch_length:
            return float((state.iteration - 1) / (state.max_epochs * state.epoch_length))
        return float((state.epoch - 1) / state.max_epochs)

    def state_dict(self) -> OrderedDict[str, Any]:
        """Return the position in the run as plain tensors and numbers; save networks and optimizers separately."""
        state = super().state_dict()
        state["gmcl"] = {
            "seed": self.seed,
            "began": self.seeded_loader.began,
            "curriculum": self.curriculum.state_dict(),
            "curriculum_values": {name: float(value) for name, value in self.state.curriculum.items()},
            "late_reading": self.late_reading.state_dict(),
            "sources": self.sources.state_dict(),
            **self.pending_lessons.state_dict(),
            "weighting": self.weighting.state_dict(),
            "student_step": self.student_step.state_dict(self.state),
            "meta_batches": self.look_ahead.state_dict(),
            "teacher_step": None if self.teacher_step is None else self.teacher_step.state_dict(),
        }
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue a run exactly from a saved state, at any iteration.

        With several ranks, two things are not restored: the sources of the next lesson, and the lesson from which the
        teacher would have been updated next.

        Raises:
            CheckpointError: the state is not a GMCLTrainer's.
        """
        if "gmcl" not in state_dict:
            raise CheckpointError(
                f"Expected the state of a GMCLTrainer, found only {', '.join(state_dict)}. To start from a student "
                "of SupervisedTrainer, load its network and optimizer, not its trainer."
            )
        # If the length of an epoch is unknown, ignite accepts no iteration count.
        counted = state_dict["iteration"] if state_dict["epoch_length"] else 0
        super().load_state_dict({**state_dict, "iteration": counted})
        self.state.iteration = state_dict["iteration"]
        state = state_dict["gmcl"]
        self._seed = state["seed"]
        self.seeded_loader.seed = self.rank_seed
        self.seeded_loader.began, self.seeded_loader.resuming = state["began"], True
        self.curriculum.load_state_dict(state["curriculum"])
        self.state.curriculum = dict(state.get("curriculum_values", {}))
        self.late_reading.load_state_dict(state.get("late_reading", {"observed": []}))
        self.sources.load_state_dict(state["sources"], self.rank_seed, self.ranks.alone)
        self.pending_lessons.load_state_dict(state, self.ranks.alone)
        self.student_step.load_state_dict(state["student_step"], self.device)
        self.weighting.load_state_dict(state["weighting"], self.device)
        self.look_ahead.load_state_dict(state["meta_batches"], self.rank_seed)
        if self.teacher_step is not None and state["teacher_step"] is not None:
            self.teacher_step.load_state_dict(state["teacher_step"])
