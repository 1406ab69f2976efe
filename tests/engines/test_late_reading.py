# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.data.meta_tensor import MetaTensor
from torch import Tensor, nn

from monai_gmcl import ClassSampler, Competence, Curriculum, GMCLEvents, GMCLTrainer, PolicyTeacher
from monai_gmcl.exceptions import GMCLError, ImageRangeError, LabelError, NonFiniteLossError
from monai_gmcl.late_reading import LateReading

Build = Callable[..., GMCLTrainer]
EVERY = 4


@pytest.fixture
def late(trainer: Build) -> Build:
    """Build a trainer on the CPU that reads as on a device, after every fourth step: 1, 4, 5, 8 and 10 of 10."""

    def build(**changes: Any) -> GMCLTrainer:
        run = trainer(**changes)
        run.late_reading.every = EVERY
        return run

    return build


def parts(run: GMCLTrainer) -> list[Any]:
    assert run.teacher_optimizer is not None
    return [run.network, run.teacher, run.optimizer, run.teacher_optimizer, run]


def saved(run: GMCLTrainer) -> bytes:
    file = io.BytesIO()
    torch.save([part.state_dict() for part in parts(run)], file)
    return file.getvalue()


def ends(run: GMCLTrainer) -> list[Tensor]:
    return [*run.network.state_dict().values(), *run.teacher.state_dict().values()]


def changing() -> dict[str, Any]:
    policy = PolicyTeacher(spatial_dims=2, in_channels=3, num_classes=2)
    return {"teacher": policy, "curriculum": Curriculum(class_sampler=ClassSampler("errors"))}


def test_a_cpu_is_read_at_once_and_a_device_after_ten_steps() -> None:
    assert LateReading(torch.device("cpu")).every == 1
    assert LateReading(torch.device("cuda")).every == 10


@pytest.mark.parametrize("iteration", range(1, 10))
def test_a_run_that_reads_late_goes_on_bit_for_bit_wherever_it_is_saved(iteration: int, late: Build) -> None:
    whole = late(**changing())
    whole.run()
    first = late(**changing())
    content: list[bytes] = []

    @first.on(Events.ITERATION_COMPLETED(once=iteration))
    def stop() -> None:
        content.append(saved(first))
        first.terminate()

    first.run()
    resumed = late(**changing())
    for part, state in zip(parts(resumed), torch.load(io.BytesIO(content[0]), weights_only=True), strict=True):
        part.load_state_dict(state)
    resumed.run()
    assert resumed.curriculum.state_dict() == whole.curriculum.state_dict()
    assert all(torch.equal(a, b) for a, b in zip(ends(resumed), ends(whole), strict=True))


def test_reading_does_not_change_what_is_learned(late: Build) -> None:
    plain, looked_at = late(**changing()), late(**changing())
    looked_at.add_event_handler(Events.ITERATION_COMPLETED, lambda: saved(looked_at))
    plain.run()
    looked_at.run()
    assert all(torch.equal(a, b) for a, b in zip(ends(plain), ends(looked_at), strict=True))


def test_the_curriculum_hears_of_all_steps_when_the_device_is_read(late: Build, trainer: Build) -> None:
    heard: dict[str, list[int]] = {}
    for name, run in (("late", late()), ("at once", trainer())):
        counts: list[int] = []

        def note(run: GMCLTrainer = run, counts: list[int] = counts) -> None:
            assert isinstance(run.curriculum.difficulty, Competence)
            counts.append(run.curriculum.difficulty.state_dict()["count"])

        run.add_event_handler(Events.ITERATION_COMPLETED, note)
        run.run()
        heard[name] = counts
    assert heard["at once"] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert heard["late"] == [1, 1, 1, 4, 5, 5, 5, 8, 8, 10]


def test_accuracies_that_are_read_late_are_those_that_are_read_at_once(late: Build, trainer: Build) -> None:
    seen: list[dict[str, float]] = []
    for run in (late(max_epochs=1), trainer(max_epochs=1)):
        run.curriculum = Curriculum(difficulty=1.0)
        found: dict[str, float] = {}

        @run.on(GMCLEvents.LESSON_COMPLETED)
        def note(run: GMCLTrainer = run, found: dict[str, float] = found) -> None:
            for name in ("real_accuracy", "lesson_accuracy"):
                found[f"{name} {run.state.iteration}"] = float(run.state.curriculum[name])

        run.run()
        seen.append(found)
    assert seen[0] == pytest.approx(seen[1]) and len(seen[0]) >= 8


def test_a_loss_that_is_not_finite_ends_the_run_late_and_names_its_iteration(late: Build) -> None:
    run = late(loss_function=nn.CrossEntropyLoss())
    run.add_event_handler(Events.ITERATION_STARTED(once=2), lambda: setattr(run, "loss_function", NotFinite()))
    with pytest.raises(NonFiniteLossError, match="Iteration 2: The student's loss on real images is nan"):
        run.run()
    assert run.state.iteration == EVERY


@pytest.mark.parametrize("wrong", [-1, 7])
def test_a_proposed_class_that_there_is_not_is_refused_late_and_no_loss_gets_it(wrong: int, late: Build) -> None:
    def propose(images: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full((3,), wrong if run.state.iteration == 2 else 1), torch.ones(3)

    run = late(unlabeled_data_loader=[{"image": torch.full((3, 3, 8, 8), 0.5)}], label_proposal=propose)
    with pytest.raises(LabelError, match=f"Iteration 2: Expected class labels from 0 to 1.*got .*{wrong}"):
        run.run()
    assert run.state.iteration == EVERY


class NotFinite(nn.CrossEntropyLoss):
    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return super().forward(outputs, labels) * float("nan")


@pytest.mark.parametrize("part", [0, 1, 4])
def test_no_state_is_taken_of_what_was_not_finite(part: int, late: Build) -> None:
    run = late()
    run.add_event_handler(Events.ITERATION_STARTED(once=2), lambda: setattr(run, "loss_function", NotFinite()))
    taken: list[Any] = []
    run.add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda: taken.append(parts(run)[part].state_dict()))
    with pytest.raises(NonFiniteLossError, match="Iteration 2"):
        run.run()
    assert run.state.iteration == 3 and taken == []
    with pytest.raises(NonFiniteLossError, match="Iteration 2"):
        parts(run)[part].state_dict()


def test_a_gradient_that_is_not_finite_is_named(late: Build) -> None:
    run = late()

    def spoil() -> None:
        weight = run.network.get_parameter("head.weight")
        weight.register_hook(lambda gradient: gradient * float("inf"))  # type: ignore[no-untyped-call]

    run.add_event_handler(Events.ITERATION_STARTED(once=2), spoil)
    with pytest.raises(NonFiniteLossError, match=r"Iteration 2: The student's gradient is not finite \(head.weight\)"):
        run.run()


def test_an_image_out_of_range_is_named_late(late: Build, items: Any) -> None:
    data = items()
    for i, item in enumerate(data):
        item["image"] = MetaTensor(item["image"] + 5.0 * (i == 7), meta={"filename_or_obj": f"ct_{i}.nii"})
    run = late(train_data_loader=DataLoader(Dataset(data), batch_size=5))
    with pytest.raises(ImageRangeError, match="Iteration 2: Image 2 of a batch, ct_7.nii,: Expected images"):
        run.run()
    assert run.state.iteration == EVERY


def test_a_teachers_gradient_that_is_not_finite_counts_as_zero(late: Build, gain_teacher: Any) -> None:
    class Burst(gain_teacher):  # type: ignore[misc]
        def change(self, images: Any, labels: Tensor, latents: Tensor, difficulty: float) -> Tensor:
            return images + 0 * torch.sqrt(self.gain - self.gain) * latents  # type: ignore[no-any-return]

    run = late(teacher=Burst())
    gain = run.teacher.gain.item()
    run.run()
    assert run.teacher.gain.item() == gain
    assert run.teacher_step is not None and run.teacher_step.skipped == 9


def test_copies_of_a_network_read_nothing(late: Build) -> None:
    run = late()
    run.add_event_handler(Events.ITERATION_STARTED(once=2), lambda: setattr(run, "loss_function", NotFinite()))
    with pytest.raises(GMCLError):
        run.run()
    for other in (copy.deepcopy(run.network), pickle.loads(pickle.dumps(run.network))):
        assert (
            other.state_dict().keys()
            == dict(run.network.named_parameters()).keys() | dict(run.network.named_buffers()).keys()
        )
