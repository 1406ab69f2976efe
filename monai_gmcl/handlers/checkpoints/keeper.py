# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Writes checkpoints of a run and resumes it from them."""

from __future__ import annotations

import logging
import os
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from monai_gmcl.exceptions import CheckpointError, ConfigurationError
from monai_gmcl.handlers.checkpoints.folder import CheckpointFolder, Entry
from monai_gmcl.handlers.checkpoints.handler_states import HandlerStates, check_parts, parts_of
from monai_gmcl.handlers.checkpoints.plain_state import check_finite, plain, random_state, set_random_state
from monai_gmcl.handlers.checkpoints.settings import RunSettings, check_length, merged_plan
from monai_gmcl.handlers.checkpoints.signals import EndingSignals
from monai_gmcl.handlers.last_handlers import pass_on_exceptions, put_last
from monai_gmcl.handlers.output_lock import hold_output

__all__ = ["CheckpointKeeper"]

logger = logging.getLogger(__name__)


class CheckpointKeeper:
    """Writes checkpoints of a run, keeps the latest ones, and resumes the run from them.

    A checkpoint contains the engine's ``network`` (as ``model``), ``optimizer``, ``teacher``, ``teacher_optimizer`` and
    ``scaler``, if it has them; the engine itself (``trainer``); the random generators (``random``); everything in
    ``save_dict``; and the state of handlers and metrics with ``state_dict`` and ``load_state_dict`` (``handlers``).
    Checkpoints are written atomically: see :class:`CheckpointFolder`. With a :class:`monai_gmcl.GMCLTrainer`, any
    iteration can be saved, and the resumed run equals the uninterrupted one bit for bit, including its files. Other
    trainers cannot continue within an epoch: save them at the end of epochs. ``monai.handlers.CheckpointLoader`` reads
    the files, too.

    The checkpoint also has the settings of the run (``run``): seed, data and batches, options of the optimizers,
    ``settings``, versions. A resumed run compares them. A difference in a setting that must not change is an error
    before the first step; any other difference is a warning. A larger number of epochs is accepted; a schedule that is
    built for more steps uses its new length. If no step is left, no handler is called and no file changes.

    On SIGTERM or SIGINT, the current iteration (or validation) is finished, a checkpoint is written and the process
    ends. A second signal ends it at once. After the run, the previous signal handlers are restored.

    Args:
        folder: folder of the checkpoints; it is created if it does not exist.
        save_dict: further objects with ``state_dict`` and ``load_state_dict``, by key, such as learning-rate schedulers
            and other handlers.
        interval: epochs between checkpoints, or iterations if ``epoch_level`` is false. The end is always saved.
        epoch_level: whether ``interval`` counts epochs.
        keep: number of checkpoints to keep.
        resume: whether to continue from the newest complete checkpoint in the folder. If there is none, the run starts
            from the beginning. With False, the first save removes the checkpoints of an earlier run.
        settings: further settings of the run, by name, that a resumed run cannot change, such as the image size.

    Raises:
        ConfigurationError: an interval below 1, or objects in ``save_dict`` that cannot be saved.
        CheckpointError: while running: the disk is full, or a weight is not finite; on resuming: no checkpoint in the
            folder is complete, the checkpoint does not fit or belongs to another run, or a schedule is too short.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        save_dict: Mapping[str, Any] | None = None,
        interval: int = 1,
        epoch_level: bool = True,
        keep: int = 2,
        resume: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if interval < 1:
            raise ConfigurationError(f"interval must be at least 1, got {interval!r}.")
        check_parts(save_dict or {})
        self.checkpoints = CheckpointFolder(folder, keep)
        self.save_dict = dict(save_dict or {})
        self.interval = interval
        self.epoch_level = epoch_level
        self.resume = resume
        self.settings = dict(settings or {})
        self._signals = EndingSignals()
        self._entries: list[Entry] = []
        self._run: dict[str, Any] = {}
        self._handlers: HandlerStates | None = None
        self._of_handlers: dict[str, Any] | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to an engine."""
        engine.add_event_handler(Events.STARTED, self._start)
        for event in (Events.COMPLETED, Events.EXCEPTION_RAISED):
            engine.add_event_handler(event, self._restore_signals)
        pass_on_exceptions(engine)
        hold_output(engine, self.checkpoints.folder)

    def save(self, engine: Engine, planned: bool = True) -> None:
        """Write a checkpoint of the current iteration, unless it exists already.

        A checkpoint that is not ``planned`` is removed by the next one.

        Raises:
            CheckpointError: the disk is full, a weight is not finite, or a state is not plain.
        """
        iteration = engine.state.iteration
        if idist.get_rank() > 0 or (self._entries and self._entries[-1].iteration == iteration):
            return
        parts = parts_of(engine, self.save_dict)
        for key, part in parts.items():
            if isinstance(part, nn.Module):
                check_finite(part, key)
        state = {key: plain(part.state_dict(), key) for key, part in parts.items()}
        state["random"] = random_state()
        state["handlers"] = {} if self._handlers is None else self._handlers.state_dict()
        state["run"] = self._run
        self._entries = self.checkpoints.save(state, iteration, engine.state.epoch, self._entries, planned)

    def _start(self, engine: Engine) -> None:
        self._stand_last(engine)
        if engine.state.iteration == 0:
            self._entries = []
        self._handlers, self._of_handlers = HandlerStates(engine, parts_of(engine, self.save_dict)), None
        if not self._entries:
            self._run = self._described(engine)
        if self.resume and not self._entries:
            self._load(engine)
        elif not self._entries and self.checkpoints.entries():
            logger.warning(
                "%s has checkpoints of an earlier run. The first save removes them. Use resume=True to continue that "
                "run.",
                self.checkpoints.folder,
            )
        if not engine.should_terminate:
            self._signals.watch()

    def _stand_last(self, engine: Engine) -> None:
        # After all other handlers, so that the state includes the work of schedulers, tables and validations.
        for event, handler in (
            (Events.EPOCH_STARTED, self._begin_epoch),
            (Events.ITERATION_COMPLETED, self._end_iteration),
            (Events.EPOCH_COMPLETED, self._end_epoch),
            (Events.COMPLETED, self._end),
        ):
            if event != Events.EPOCH_STARTED or engine.last_event_name != event:
                put_last(engine, event, handler)

    def _begin_epoch(self, engine: Engine) -> None:
        # Some objects attach handlers only at the start of the run.
        self._stand_last(engine)
        if self._of_handlers is not None and self._handlers is not None:
            # Within an epoch, metrics and tables have just been reset.
            self._handlers.load_state_dict(self._of_handlers)
        self._of_handlers = None

    def _described(self, engine: Engine) -> dict[str, Any]:
        """Return the settings of the run, and the initial state of each schedule."""
        plans = {key: part for key, part in self.save_dict.items() if isinstance(part, LRScheduler)}
        kinds = {f"{key} class": type(part).__qualname__ for key, part in plans.items()}
        settings = RunSettings.of(engine, {**self.settings, **kinds})
        states = {key: part.state_dict() for key, part in plans.items()}
        described: dict[str, Any] = plain({"fixed": settings.fixed, "free": settings.free, "plans": states}, "run")
        return described

    def _load(self, engine: Engine) -> None:
        assert self._handlers is not None
        found = self.checkpoints.load()
        if found is None:
            logger.warning("%s has no checkpoint. The run starts from the beginning.", self.checkpoints.folder)
            return
        path, state, self._entries = found
        parts = parts_of(engine, self.save_dict)
        missing = [key for key in (*parts, "random") if key not in state]
        if missing:
            raise CheckpointError(f"{path} has no {', '.join(missing)}; found {', '.join(state)}.")
        self._compare(path, state)
        epochs = engine.state.max_epochs
        for key, part in parts.items():
            with _fitting(path, key):
                part.load_state_dict(self._planned(key, state))
        engine.state.max_epochs = epochs
        gathered = state.get("handlers", {})
        with _fitting(path, "handlers"):
            self._handlers.load_state_dict(gathered)
        length = engine.state.epoch_length
        self._of_handlers = None if length and engine.state.iteration % length == 0 else gathered
        set_random_state(state["random"])
        logger.info("Resumed from %s: epoch %d, iteration %d.", path, engine.state.epoch, engine.state.iteration)
        self._check_rest(engine, path)

    def _compare(self, path: Path, state: Mapping[str, Any]) -> None:
        if idist.get_rank() != 0:
            # The first rank saved the settings and compares them; ranks may have different parts of the data.
            return
        if "run" not in state:
            logger.warning(
                "%s was written by an older version without a description of its run. Settings are not compared.", path
            )
            return
        RunSettings(self._run["fixed"], self._run["free"]).check(state["run"], path)

    def _planned(self, key: str, state: Mapping[str, Any]) -> Any:
        begun = state.get("run", {}).get("plans", {}).get(key)
        return state[key] if begun is None else merged_plan(begun, state[key], self._run["plans"][key], key)

    def _check_rest(self, engine: Engine, path: Path) -> None:
        """Raise if a schedule is too short for the remaining steps; end the run if no step is left."""
        state, epochs = engine.state, engine.state.max_epochs or 0
        if state.epoch_length:
            for key, part in self.save_dict.items():
                check_length(part, key, state.iteration, epochs * state.epoch_length)
        completed = self._entries[-1].completed
        if completed is not None and epochs <= completed:
            logger.warning(
                "The run of %s was finished in epoch %d, iteration %d. Nothing is trained or written. To continue "
                "it, set max_epochs above %d.",
                *(path, state.epoch, state.iteration, completed),
            )
            engine.terminate(skip_completed=True)

    def _end_iteration(self, engine: Engine) -> None:
        length = engine.state.epoch_length
        if length and engine.state.iteration % length == 0:
            # A run that resumes here would skip the handlers of the end of the epoch.
            return
        self._end_step(engine, not self.epoch_level and engine.state.iteration % self.interval == 0)

    def _end_epoch(self, engine: Engine) -> None:
        passed = engine.state.epoch if self.epoch_level else engine.state.iteration
        self._end_step(engine, passed % self.interval == 0)

    def _end_step(self, engine: Engine, due: bool) -> None:
        if due or self._signals.received is not None:
            self.save(engine, due)
        if self._signals.received is not None:
            self._signals.leave()

    def _end(self, engine: Engine) -> None:
        self.save(engine, planned=False)
        # Early stopping ends a run at the end of an epoch. A run that is terminated earlier is interrupted, not
        # finished.
        length = engine.state.epoch_length
        whole = length is None or engine.state.iteration % length == 0
        if self._entries and whole and idist.get_rank() == 0:
            self._entries = self.checkpoints.complete(self._entries, engine.state.max_epochs or 0)
        if self._signals.received is not None:
            self._signals.leave()

    def _restore_signals(self, engine: Engine, *_: BaseException) -> None:
        self._signals.restore()


@contextmanager
def _fitting(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} does not fit this run. {what}: {textwrap.shorten(str(error), 400)}") from error
