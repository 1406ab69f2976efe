# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.losses import FocalLoss
from torch import Tensor, nn

from monai_gmcl import (
    ConfidenceWeighting,
    Curriculum,
    GMCLEvents,
    GMCLTrainer,
    LessonWeighting,
    LookAheadWeighting,
    PolicyTeacher,
    PseudoLabeler,
    UniformWeighting,
)
from monai_gmcl.benchmark.host_traffic import DEVICE, HostTraffic
from monai_gmcl.engines import lesson_sources
from monai_gmcl.engines.lesson_sources import SourceBuffer
from monai_gmcl.exceptions import ConfigurationError, DataError, LabelError

Build = Callable[..., GMCLTrainer]


def by_brightness(images: Tensor) -> tuple[Tensor, Tensor]:
    """A proposal of a user's own."""
    bright = images.flatten(1).mean(1)
    return (bright > 0.5).long(), bright


def lessons_of(run: GMCLTrainer) -> list[Any]:
    seen: list[Any] = []
    run.add_event_handler(GMCLEvents.LESSON_COMPLETED, lambda: seen.append(run.state.lesson))
    run.run()
    return seen


@pytest.fixture
def unlabeled(items: Any) -> torch.utils.data.DataLoader[Any]:
    data = [item["image"] * 0.9 for item in items(n=9)]
    return torch.utils.data.DataLoader(data, batch_size=3, shuffle=True)  # type: ignore[arg-type]


def test_a_lesson_joins_labeled_and_unlabeled_images(trainer: Build, unlabeled: Any) -> None:
    run = trainer(unlabeled_data_loader=unlabeled, label_proposal=by_brightness)
    for lesson in lessons_of(run):
        assert lesson.num_pseudo_labeled == 3 and len(lesson) == lesson.num_labeled + 3 == len(lesson.images)
        labels, confidence = by_brightness(lesson.sources[-3:])
        assert torch.equal(lesson.labels[-3:], labels) and torch.equal(lesson.confidence[-3:], confidence)
        assert bool((lesson.confidence[:-3] == 1).all())


def test_every_unlabeled_image_comes_once_in_a_pass(trainer: Build, unlabeled: Any, items: Any) -> None:
    lessons = lessons_of(trainer(unlabeled_data_loader=unlabeled, label_proposal=by_brightness))
    seen = torch.cat([lesson.sources[-3:] for lesson in lessons[:3]]).flatten(1)
    wanted = torch.stack([item["image"] * 0.9 for item in items(n=9)]).flatten(1)
    assert sorted(seen.sum(1).tolist()) == sorted(wanted.sum(1).tolist())


def test_the_averaged_student_proposes_and_the_look_ahead_weighs_by_default(trainer: Build, unlabeled: Any) -> None:
    run = trainer(unlabeled_data_loader=unlabeled)
    assert isinstance(run.weighting, LookAheadWeighting)
    assert run.sources.unlabeled is not None and isinstance(run.sources.unlabeled.propose, PseudoLabeler)
    lessons = lessons_of(run)
    assert all(float(k.weights.mean()) == pytest.approx(1.0, abs=1e-5) for k in lessons if k.weights.any())
    assert any(bool((lesson.weights == 0).any()) for lesson in lessons[2:])
    assert isinstance(trainer().weighting, UniformWeighting)


@pytest.mark.parametrize("weighting", [UniformWeighting(), ConfidenceWeighting(0.4)])
def test_the_curriculum_weighs_unlabeled_images(trainer: Build, unlabeled: Any, weighting: LessonWeighting) -> None:
    curriculum = Curriculum(unlabeled_weight=0.25)
    run = trainer(
        unlabeled_data_loader=unlabeled, label_proposal=by_brightness, weighting=weighting, curriculum=curriculum
    )
    for lesson in lessons_of(run):
        plain = weighting(lesson, {}, {})
        assert torch.equal(lesson.weights, torch.cat([plain[:-3], plain[-3:] * 0.25])) and plain[-3:].any()


@pytest.mark.parametrize("learns", [True, False])
def test_the_curriculum_says_how_much_unlabeled_images_are_changed(
    trainer: Build, unlabeled: Any, learns: bool
) -> None:
    def built(share: float) -> GMCLTrainer:
        torch.manual_seed(0)
        teacher = PolicyTeacher(2, 3, 2)
        return trainer(
            unlabeled_data_loader=unlabeled,
            label_proposal=by_brightness,
            teacher=teacher,
            teacher_optimizer=torch.optim.Adam(teacher.parameters()) if learns else None,
            curriculum=Curriculum(difficulty=0.8, unlabeled_difficulty=share),
            max_epochs=1,
        )

    plain, same, half, none = (lessons_of(built(share))[0] for share in (1.0, 1.0, 0.5, 0.0))
    teacher = PolicyTeacher(2, 3, 2).train()
    for lesson, difficulty in ((same, 0.8), (half, 0.4), (none, 0.0)):
        assert torch.equal(lesson.images[:-3], plain.images[:-3])
        wanted = teacher(lesson.sources[-3:], lesson.labels[-3:], lesson.latents[-3:], difficulty)
        torch.testing.assert_close(lesson.images[-3:], wanted)
    torch.testing.assert_close(none.images[-3:], none.sources[-3:])
    assert (half.images - half.sources)[-3:].abs().max() > 1e-3


def test_a_teacher_that_makes_images_from_nothing_is_told_both_difficulties(trainer: Build, unlabeled: Any) -> None:
    told: list[tuple[int, float]] = []

    class FromNothing(nn.Module):
        needs_images = False

        def __init__(self) -> None:
            super().__init__()
            self.by = nn.Parameter(torch.zeros(()))

        def forward(self, images: None, labels: Tensor, latents: Tensor, difficulty: float) -> Tensor:
            told.append((len(labels), difficulty))
            return torch.rand(len(labels), 3, 8, 8) + self.by

    curriculum = Curriculum(difficulty=0.8, unlabeled_difficulty=0.25)
    lessons_of(
        trainer(
            unlabeled_data_loader=unlabeled,
            label_proposal=by_brightness,
            teacher=FromNothing(),
            curriculum=curriculum,
            max_epochs=1,
        )
    )
    assert told[:2] == [(5, 0.8), (3, 0.2)]


def test_the_newest_batch_that_weighs_images_does_not_hold_them(trainer: Build, loader: Any) -> None:
    held: list[tuple[Tensor, Tensor]] = []
    run = trainer(weighting=LookAheadWeighting(), train_data_loader=loader(), max_epochs=1)
    run.add_event_handler(
        GMCLEvents.LESSON_COMPLETED, lambda: held.append((run.state.lesson.sources, run.state.output["image"]))
    )
    run.run()
    assert len(held) == 4  # the first batch has none before it
    for sources, images in held:
        assert not any(torch.equal(source, image) for source in sources for image in images)


def test_trusted_images_weigh_those_of_the_batch_too(trainer: Build, loader: Any) -> None:
    run = trainer(weighting=LookAheadWeighting(), meta_data_loader=loader(), max_epochs=1)
    assert len(lessons_of(run)) == 5


def test_weights_of_a_frozen_teachers_lessons_follow_the_meta_batch(trainer: Build, loader: Any, items: Any) -> None:
    def weights(trusted_class: int) -> list[Tensor]:
        trusted = [item for item in items() if item["label"] == trusted_class]
        run = trainer(weighting=LookAheadWeighting(), meta_data_loader=loader(trusted), teacher_optimizer=None)
        lessons = lessons_of(run)[1:]
        labels, found = (torch.cat([getattr(k, name) for k in lessons]) for name in ("labels", "weights"))
        return [found[labels == label].mean() for label in (0, 1)]

    for trusted_class in (0, 1):
        of_class = weights(trusted_class)
        assert of_class[trusted_class] > 2 * of_class[1 - trusted_class]


@pytest.mark.parametrize("frozen", [False, True])
def test_trusted_images_tell_false_labels_of_the_others_from_right_ones(
    frozen: bool, trainer: Build, loader: Any, items: Any
) -> None:
    """Classes are dark and bright; a third of the labels are false, those of the trusted images are right."""

    def shaded(n: int, every: int) -> list[dict[str, Any]]:
        return [
            {"image": 0.2 + 0.6 * (i % 2) + 0.1 * item["image"], "label": torch.tensor((i + (i % every == 0)) % 2)}
            for i, item in enumerate(items(n=n))
        ]

    run = trainer(
        train_data_loader=loader(shaded(24, every=3)),
        meta_data_loader=loader(shaded(10, every=100)[1:]),
        weighting=LookAheadWeighting(),
        max_epochs=4,
        **({"teacher_optimizer": None} if frozen else {}),
    )
    lessons = lessons_of(run)[3:]
    sources, labels, weights = (
        torch.cat([getattr(k, name) for k in lessons]) for name in ("sources", "labels", "weights")
    )
    right = (sources.flatten(1).mean(1) > 0.55) == (labels == 1)
    assert 0.5 < float(right.float().mean()) < 0.9
    assert float(weights[right].mean()) > 2 * float(weights[~right].mean())


def test_competence_is_measured_on_given_labels(trainer: Build, unlabeled: Any) -> None:
    def never_right(images: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full((len(images),), 1), torch.ones(len(images))

    def accuracies(propose: Any) -> list[float]:
        run = trainer(
            unlabeled_data_loader=unlabeled,
            label_proposal=propose,
            weighting=ConfidenceWeighting(0.0),
            curriculum=Curriculum(unlabeled_weight=0.0),
        )
        found: list[float] = []
        run.add_event_handler(
            GMCLEvents.LESSON_COMPLETED, lambda: found.append(run.state.curriculum["lesson_accuracy"])
        )
        run.run()
        return found

    assert accuracies(never_right) == accuracies(by_brightness)


def test_unlabeled_images_pass_through_prepare_batch(trainer: Build, items: Any) -> None:
    dictionaries = [{"image": item["image"], "name": "left alone"} for item in items(n=6)]
    loader = torch.utils.data.DataLoader(dictionaries, batch_size=2)  # type: ignore[arg-type]
    assert lessons_of(trainer(unlabeled_data_loader=loader))[0].num_pseudo_labeled == 2


LABELS: dict[str, Any] = {
    "one logit": (nn.BCEWithLogitsLoss(), lambda y: y[:, None].float(), 1, False),
    "multi-label": (nn.BCEWithLogitsLoss(), lambda y: torch.stack([y, 1 - y, y], 1).float(), 3, True),
    "column": (FocalLoss(to_onehot_y=True, use_softmax=True), lambda y: y[:, None], 2, False),
}


@pytest.mark.parametrize(
    ("case", "amp", "align"),
    [("one logit", True, False), ("one logit", False, True), ("multi-label", True, True), ("column", False, False)],
)
def test_labels_of_every_kind_are_proposed_and_weighed(
    case: str, amp: bool, align: bool, trainer: Build, student: Any, gain_teacher: Any, tensors: Any, batches: Any
) -> None:
    loss, shape, outputs, multi_label = LABELS[case]
    images, labels = tensors()
    run = trainer(
        network=student(outputs=outputs),
        teacher=gain_teacher(num_classes=outputs),
        loss_function=loss,
        train_data_loader=batches(images, shape(labels)),
        unlabeled_data_loader=list(images.split(4)),
        label_proposal=PseudoLabeler(multi_label=multi_label, align=align),
        amp=amp,
    )
    gain = run.teacher.gain.item()
    lessons = lessons_of(run)
    assert all(k.labels.shape == (len(k), *shape(labels).shape[1:]) for k in lessons)
    assert all(bool(torch.isfinite(k.weights).all()) for k in lessons)
    assert any(bool((k.weights[k.num_labeled :] > 0).any()) for k in lessons[1:])
    assert run.teacher.gain.item() != gain


def test_volumes_without_labels_join_lessons(trainer: Build, student: Any, tensors: Any, batches: Any) -> None:
    images, labels = tensors(channels=1, shape=(6, 6, 6))
    run = trainer(
        network=student(in_channels=1, spatial_dims=3),
        teacher=PolicyTeacher(spatial_dims=3, in_channels=1, num_classes=2),
        train_data_loader=batches(images, labels),
        unlabeled_data_loader=list(images.split(4)),
    )
    lessons = lessons_of(run)
    assert lessons[0].num_pseudo_labeled == 4 and lessons[0].images.shape[2:] == (6, 6, 6)
    assert any(bool((k.weights > 0).any()) for k in lessons[1:])


def test_proposals_can_be_aligned_with_the_classes_of_labeled_images(trainer: Build, items: Any, loader: Any) -> None:
    rare = [{**item, "label": torch.tensor(int(i < 2))} for i, item in enumerate(items())]
    run = trainer(
        train_data_loader=loader(rare),
        unlabeled_data_loader=loader(items(n=20)),
        label_proposal=PseudoLabeler(align=True),
    )
    run.run()
    assert run.sources.unlabeled is not None and isinstance(run.sources.unlabeled.propose, PseudoLabeler)
    alignment = run.sources.unlabeled.propose.state_dict()["alignment"]
    assert alignment["given"].tolist() == [40.0, 4.0] and alignment["images"] == 44 and alignment["batches"] == 9


def test_several_ranks_go_on_with_the_average_and_the_place_in_the_unlabeled_images(
    trainer: Build, unlabeled: Any
) -> None:
    whole = trainer(unlabeled_data_loader=unlabeled)
    whole.run()
    state = whole.sources.state_dict()
    resumed = trainer(unlabeled_data_loader=unlabeled, seed=12)
    resumed.sources.load_state_dict(state, 11, alone=False)
    assert not resumed.sources.buffer.classes  # each rank fills its own anew
    again = resumed.sources.state_dict()["unlabeled"]
    assert again["batches"] == state["unlabeled"]["batches"]
    for name, value in state["unlabeled"]["labeler"]["average"].items():
        assert torch.equal(again["labeler"]["average"][name], value)


def test_a_loader_shorter_than_the_place_to_go_on_from_begins_its_next_pass(trainer: Build, unlabeled: Any) -> None:
    batches = trainer(unlabeled_data_loader=unlabeled).sources.unlabeled.batches  # type: ignore[union-attr]
    batches.load_state_dict({"passes": 1, "position": 7})
    assert len(next(batches)) == 3 and batches.state_dict() == {"passes": 2, "position": 1}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(3, 2), "Expected proposed labels .3,. of torch.int64"),
        (torch.zeros(3), "Expected proposed labels .3,. of torch.int64"),
        (torch.full((3,), 7), "0 to 1.*got.*7"),
    ],
)
def test_proposals_that_are_no_labels_are_refused(labels: Tensor, message: str, trainer: Build, unlabeled: Any) -> None:
    with pytest.raises(LabelError, match=message):
        trainer(unlabeled_data_loader=unlabeled, label_proposal=lambda images: (labels, torch.ones(3))).run()


def test_unlabeled_images_and_proposals_that_do_not_go_together_are_refused(trainer: Build, unlabeled: Any) -> None:
    with pytest.raises(ConfigurationError, match="label_proposal needs unlabeled_data_loader, which is missing"):
        trainer(label_proposal=by_brightness)
    elsewhere = PseudoLabeler(network=nn.Linear(2, 2, device="meta"))
    with pytest.raises(ConfigurationError, match="PseudoLabeler's network: expected it on the trainer's device, cpu"):
        trainer(unlabeled_data_loader=unlabeled, label_proposal=elsewhere)
    with pytest.raises(DataError, match="unlabeled_data_loader has no batch"):
        trainer(unlabeled_data_loader=[]).run()


CPU = torch.device("cpu")


def filled(sizes: list[int], extra: bool = False) -> SourceBuffer:
    buffer = SourceBuffer(4)
    for size in sizes:
        images = torch.full((2, 1, size, size), float(size))
        also: list[Any] = [torch.tensor([size, -size]), [f"a{size}", f"b{size}"]] if extra else []
        buffer.add(images, torch.tensor([0, 1]), extra=also)
    return buffer


def test_a_draw_is_of_one_size_and_every_size_is_drawn() -> None:
    buffer, seen = filled([4, 8, 6]), set()
    for seed in range(40):
        images, labels, _ = buffer.draw(torch.tensor([0, 1, 1, 0]), torch.Generator().manual_seed(seed), CPU)
        assert labels.tolist() == [0, 1, 1, 0] and (images == images.shape[-1]).all()
        seen.add(images.shape[-1])
    assert seen == {4, 8, 6}


def test_a_class_without_that_size_gives_way() -> None:
    buffer = filled([4])
    buffer.add(torch.full((4, 1, 6, 6), 6.0), torch.zeros(4, dtype=torch.int64))
    labels = buffer.draw(torch.tensor([0, 1]), torch.Generator().manual_seed(0), CPU)[1]
    assert labels.tolist() == [0, 0]


@pytest.mark.parametrize("sizes", [[4, 4], [4, 8, 6]])
def test_what_belongs_to_an_image_comes_with_it_also_from_a_checkpoint(sizes: list[int], tmp_path: Any) -> None:
    buffer = filled(sizes, extra=True)
    torch.save(buffer.state_dict(), tmp_path / "buffer.pt")
    loaded = SourceBuffer(4)
    loaded.load_state_dict(torch.load(tmp_path / "buffer.pt", weights_only=True))
    for one in (buffer, loaded):
        images, labels, (numbers, names) = one.draw(torch.tensor([0, 1, 0]), torch.Generator().manual_seed(3), CPU)
        size = images.shape[-1]
        assert numbers.tolist() == [size, -size, size] and names == [f"a{size}", f"b{size}", f"a{size}"]


def test_images_stay_on_their_device_within_a_bound_and_a_state_holds_them_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = torch.rand(4, 1, 4, 4)
    traffic = HostTraffic()
    with traffic.watch():
        there = images.to(DEVICE)
        for most, bytes_copied in ((2 * 4 * 64, 0), (2 * 4 * 64 - 1, 4 * 64)):
            monkeypatch.setattr(lesson_sources, "MOST_BYTES", most)
            buffer, loaded = SourceBuffer(4), SourceBuffer(4)
            traffic.clear()
            buffer.add(there, torch.tensor([0, 1, 1, 0]))
            assert sum(traffic.bytes_to_host.values()) == bytes_copied
            loaded.load_state_dict(buffer.state_dict())
            assert type(loaded.state_dict()["images"]) is torch.Tensor
            for one in (buffer, loaded):
                drawn, labels, _ = one.draw(torch.tensor([1, 0]), torch.Generator().manual_seed(0), DEVICE)
                assert labels.tolist() == [1, 0] and any(torch.equal(drawn[0].cpu(), image) for image in images[1:3])


def test_images_without_a_class_are_not_kept() -> None:
    buffer = SourceBuffer(4)
    buffer.add(torch.rand(3, 1, 4, 4), torch.tensor([-100, 2, -100]), classes=[[-1], [2], [-1]])
    buffer.add(torch.rand(1, 1, 4, 4), torch.tensor([-100]), classes=[[-1]])
    assert buffer.classes == [2] and len(buffer.state_dict()["drawers"][2]) == 1


def masks_of(*sets: tuple[int, ...]) -> torch.Tensor:
    """Masks (n, 1, 2, 2) that hold these classes."""
    return torch.tensor([(*values, *[values[0]] * (4 - len(values))) for values in sets]).view(-1, 1, 2, 2)


CLASSES = [[0, 1, -1], [0, -1, 2], [0, -1, -1]]


def of_masks(size: int = 4, kind: torch.dtype = torch.int64) -> SourceBuffer:
    buffer = SourceBuffer(size)
    images = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    buffer.add(images, masks_of((0, 1), (0, 2), (0,)).to(kind), CLASSES)
    return buffer


@pytest.mark.parametrize("kind", [torch.int64, torch.uint8, torch.float32])
def test_images_that_hold_a_class_are_drawn_for_it_with_masks_of_the_type_in_which_they_came(kind: torch.dtype) -> None:
    buffer = of_masks(kind=kind)
    loaded = SourceBuffer(4)
    loaded.load_state_dict(buffer.state_dict())
    for one in (buffer, loaded):
        assert one.classes == [0, 1, 2]
        wanted = torch.tensor([0, 1, 2] * 10)
        images, masks, _ = one.draw(wanted, torch.Generator().manual_seed(0), torch.device("cpu"))
        assert masks.dtype == kind and all(k in mask for k, mask in zip(wanted.tolist(), masks, strict=True))
        assert set(images[wanted == 0].unique().tolist()) == {0, 1, 2}
        assert images[wanted == 1].unique().tolist() == [0] and images[wanted == 2].unique().tolist() == [1]


def test_an_image_of_many_classes_is_kept_once_and_its_mask_as_small_numbers() -> None:
    state = of_masks().state_dict()
    assert state["images"].shape == (3, 1, 2, 2) and state["labels"].dtype == torch.uint8
    assert state["drawers"] == {0: [0, 1, 2], 1: [0], 2: [1]}
    buffer = of_masks()
    buffer.add(torch.ones(1, 1, 2, 2), masks_of((-100, 1)), [[-1, 1, -1]])
    kinds = {mask.dtype for mask in buffer.state_dict()["labels"]}
    assert kinds == {torch.uint8, torch.int16}
    _, masks, _ = buffer.draw(torch.tensor([1] * 20), torch.Generator().manual_seed(0), torch.device("cpu"))
    assert masks.unique().tolist() == [-100, 0, 1] and masks.dtype == torch.int64


def test_soft_masks_stay_as_they_are() -> None:
    buffer, masks = SourceBuffer(4), torch.full((1, 1, 2, 2), 0.3)
    buffer.add(torch.ones(1, 1, 2, 2), masks, [[0]])
    assert torch.equal(buffer.draw(torch.tensor([0]), torch.Generator().manual_seed(0), torch.device("cpu"))[1], masks)


def test_no_more_are_kept_than_the_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lesson_sources, "MOST_HOST_BYTES", 2 * 3 * (4 * 4 + 4))
    assert of_masks().state_dict()["drawers"] == {0: [0, 1], 1: [2], 2: [0]}


def test_of_images_with_masks_as_many_patches_are_kept_as_take_256_mib() -> None:
    patches, volumes = SourceBuffer(), SourceBuffer()
    for _ in range(3):
        patches.add(torch.zeros(100, 1, 4, 4), torch.zeros(100, 1, 4, 4), [[0]] * 100)
    assert len(patches.state_dict()["images"]) == 256
    large = torch.zeros(1).expand(20, 1, 2048, 2560)
    volumes.add(large, torch.zeros(1).expand(20, 1, 2048, 2560), [[0]] * 20)
    assert len(volumes.state_dict()["images"]) == 16
