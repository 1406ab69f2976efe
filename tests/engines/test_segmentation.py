# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Training of students that label every pixel."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import CheckpointSaver, MeanDice, StatsHandler, ValidationHandler, from_engine
from monai.losses import DiceCELoss, DiceLoss
from monai.networks import one_hot
from monai.networks.nets import UNETR, AttentionUnet, BasicUNet, DynUNet, SegResNet, SwinUNETR, UNet
from monai.transforms import AsDiscreted, Compose, RandCropByPosNegLabeld
from torch import Tensor, nn
from torch.nn import functional

from monai_gmcl import (
    ExactHypergradient,
    FiniteDifferenceHypergradient,
    ForwardHypergradient,
    GMCLTrainer,
    HeadHypergradient,
    PseudoLabeler,
)
from monai_gmcl.engines import GMCLEvents
from monai_gmcl.exceptions import (
    ConfigurationError,
    HeadNotFoundError,
    LabelError,
    NonFiniteLossError,
    StudentOutputError,
)
from monai_gmcl.handlers import CurriculumLog, ImageGridHandler, LessonWeightsLog, PolicyLog, TeacherSaver
from monai_gmcl.lesson import Lesson
from monai_gmcl.teachers import ImageTeacher, PolicyTeacher

SOFTMAX: dict[str, Any] = {"to_onehot_y": True, "softmax": True}


def blobs(dimensions: int, n: int = 8, size: int = 16, kind: torch.dtype = torch.float32) -> list[dict[str, Tensor]]:
    """Images of a bright disk or ball, class 1, with a brighter core, class 2."""
    items = []
    axes = torch.meshgrid(*[torch.arange(size).float()] * dimensions, indexing="ij")
    generator = torch.Generator().manual_seed(0)
    for _ in range(n):
        center = size * (0.3 + 0.4 * torch.rand(dimensions, generator=generator))
        distance = sum((axis - c) ** 2 for axis, c in zip(axes, center, strict=True)) ** 0.5
        mask = ((distance < size / 4).float() + (distance < size / 8).float())[None]
        image = 0.3 + 0.2 * mask + 0.05 * torch.randn(mask.shape, generator=generator)
        items.append({"image": image.clamp(0, 1), "label": mask.to(kind)})
    return items


def small_unet(dimensions: int = 2, outputs: int = 3) -> UNet:
    return UNet(dimensions, 1, outputs, (4, 8), (2,), act="SWISH", norm=("GROUP", {"num_groups": 2}))


def trainer_of(
    network: nn.Module, loss: Callable[..., Tensor], items: Sequence[Mapping[str, Any]], epochs: int = 2, **options: Any
) -> GMCLTrainer:
    teacher = options.pop("teacher", None) or PolicyTeacher(items[0]["image"].ndim - 1, 1, options.pop("classes", 3))
    return GMCLTrainer(
        device="cpu",
        max_epochs=epochs,
        train_data_loader=DataLoader(Dataset(list(items)), batch_size=4),  # type: ignore[no-untyped-call]
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), 1e-2),
        loss_function=loss,
        teacher=teacher,
        teacher_optimizer=teacher.optimizer(),
        seed=0,
        **options,
    )


def channels_of(items: Sequence[Mapping[str, Tensor]], classes: slice) -> list[dict[str, Tensor]]:
    return [{**item, "label": one_hot(item["label"][None], 3)[0, classes]} for item in items]


KINDS: dict[str, tuple[Callable[..., Tensor], Callable[[int], Sequence[Mapping[str, Tensor]]], int]] = {
    "classes": (DiceCELoss(**SOFTMAX), blobs, 3),
    "classes as uint8": (nn.CrossEntropyLoss(), lambda d: blobs(d, kind=torch.uint8), 3),
    "one-hot": (DiceLoss(softmax=True), lambda d: channels_of(blobs(d), slice(None)), 3),
    "one output": (DiceLoss(sigmoid=True), lambda d: channels_of(blobs(d), slice(1, 2)), 1),
    "one-hot as bool": (
        DiceLoss(softmax=True),
        lambda d: [{**i, "label": i["label"].bool()} for i in channels_of(blobs(d), slice(None))],
        3,
    ),
    "overlapping channels": (nn.BCEWithLogitsLoss(), lambda d: channels_of(blobs(d), slice(1, 3)), 2),
}


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_lessons_are_images_and_masks_that_the_teacher_moved_together(kind: str, dimensions: int) -> None:
    loss, make, classes = KINDS[kind]
    trainer = trainer_of(small_unet(dimensions, classes), loss, items := make(dimensions), classes=classes)
    moved = []

    @trainer.on(GMCLEvents.LESSON_COMPLETED)
    def look(engine: Engine) -> None:
        lesson = engine.state.lesson
        teacher, settings = trainer.teacher, (lesson.latents, lesson.difficulty)
        assert torch.equal(lesson.images, teacher(lesson.sources, lesson.source_labels, *settings))
        assert torch.equal(lesson.labels, teacher.change_labels(lesson.source_labels, *settings))
        pairs = zip(lesson.sources, lesson.source_labels, strict=True)
        assert all(any(torch.equal(x, i["image"]) and torch.equal(y, i["label"]) for i in items) for x, y in pairs)
        moved.append(not torch.equal(lesson.labels, lesson.source_labels))

    before = copy.deepcopy(trainer.network.state_dict())
    trainer.run()
    assert len(moved) == 4 and all(moved)
    assert trainer.state.lesson.labels.dtype == items[0]["label"].dtype
    assert 0 <= trainer.state.curriculum["real_accuracy"] <= 1 >= trainer.state.curriculum["lesson_accuracy"] >= 0
    assert any(not torch.equal(v, before[k]) for k, v in trainer.network.state_dict().items())


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), functional.cross_entropy])
def test_masks_may_come_without_a_channel_as_torch_s_cross_entropy_takes_them(loss: Any, dimensions: int) -> None:
    ends = []
    for squeezed, function in ((True, loss), (False, nn.CrossEntropyLoss())):
        torch.manual_seed(0)
        items = blobs(dimensions, kind=torch.int64)
        items = [{**item, "label": item["label"][0]} for item in items] if squeezed else items
        trainer = trainer_of(small_unet(dimensions), function, items)
        trainer.run()
        assert trainer.state.output[0]["label"].shape == items[0]["label"].shape
        ends.append(torch.cat([p.detach().flatten() for p in trainer.network.parameters()]))
    torch.testing.assert_close(*ends)


def test_the_strength_of_geometry_is_not_learned_where_masks_move_along() -> None:
    trainer = trainer_of(small_unet(), DiceCELoss(**SOFTMAX), blobs(2), epochs=20)
    trainer.run()
    teacher = trainer.teacher
    assert isinstance(teacher, PolicyTeacher)
    shares = {name: row["share"] for name, row in teacher.policy().items()}
    assert all(shares[name] == 1 for name in ("rotation", "zoom", "shear", "shift", "elastic"))
    assert any(share != 1 for share in shares.values())


class Compared(ExactHypergradient):
    """Teaches as the exact estimator does, and notes what others say of the same lesson."""

    def __init__(self, *others: Any) -> None:
        self.others = others
        self.differences: list[list[float]] = []

    def record_head(self, network: nn.Module, trained: Sequence[str]) -> Any:
        return HeadHypergradient().record_head(network, trained)

    def choose(self, seen: Any, outputs: Tensor, losses: Tensor) -> Any:
        return HeadHypergradient().choose(seen, outputs, losses)

    def __call__(self, lessons: Sequence[Lesson], look_ahead: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        exact = super().__call__(lessons, look_ahead)
        found = [other(lessons, look_ahead) for other in self.others]
        pairs = [pair for one in found for pair in zip(one, exact, strict=True)]
        self.differences.append([float((a - b).norm() / b.norm()) for a, b in pairs])
        return exact


def in_float64(network: nn.Module, loss: Any, trained: Sequence[str] | None, *others: Any, **options: Any) -> Compared:
    items = [{"image": item["image"].double(), "label": item["label"]} for item in blobs(2)]
    compared = Compared(*others)
    for name, parameter in network.double().named_parameters():
        parameter.requires_grad_(trained is None or name in trained)
    teacher = PolicyTeacher(2, 1, 3, include=["brightness", "contrast", "rotation"]).double()
    trainer_of(network, loss, items, teacher=teacher, hypergradient=compared, **options).run()
    assert len(compared.differences) == 3
    return compared


@pytest.mark.parametrize("loss", [DiceCELoss(**SOFTMAX), DiceLoss(batch=True, **SOFTMAX), nn.CrossEntropyLoss()])
def test_the_estimators_agree_on_a_smooth_u_net_in_float64(loss: Any) -> None:
    compared = in_float64(small_unet(), loss, None, ForwardHypergradient(), FiniteDifferenceHypergradient())
    for forward, forward_worth, difference, difference_worth in compared.differences:
        assert max(forward, forward_worth) < 1e-10 and max(difference, difference_worth) < 1e-5


@pytest.mark.parametrize(
    ("units", "head"), [(0, "model.2.conv"), (1, "model.2.1.conv.unit0.conv"), (2, "model.2.1.conv.unit0.conv")]
)
def test_the_head_is_exact_where_nothing_but_the_output_convolution_learns(units: int, head: str) -> None:
    network = UNet(2, 1, 3, (4, 8), (2,), num_res_units=units, act="SWISH", norm=("GROUP", {"num_groups": 1}))
    trained = (f"{head}.weight", f"{head}.bias")
    compared = in_float64(network, DiceCELoss(**SOFTMAX), trained, HeadHypergradient())
    assert max(map(max, compared.differences)) < 1e-10


def test_a_head_that_the_network_s_output_is_no_affine_map_of_is_an_error_unless_no_estimator_was_named() -> None:
    def network() -> nn.Module:
        return nn.Sequential(small_unet(), nn.Softmax(1))

    with pytest.raises(HeadNotFoundError, match=r"HeadHypergradient\(head=\.\.\.\).*FiniteDifferenceHypergradient"):
        trainer_of(network(), DiceLoss(to_onehot_y=True), blobs(2), hypergradient=HeadHypergradient()).run()
    trainer = trainer_of(network(), DiceLoss(to_onehot_y=True), blobs(2))
    trainer.run()
    assert isinstance(trainer.hypergradient, ExactHypergradient)


def test_a_run_that_is_resumed_in_the_middle_ends_with_the_same_bits() -> None:
    def build(epochs: int) -> GMCLTrainer:
        torch.manual_seed(0)
        return trainer_of(small_unet(), DiceCELoss(**SOFTMAX), blobs(2, kind=torch.uint8), epochs=epochs)

    whole, first, second = build(3), build(1), build(3)
    whole.run()
    first.run()
    for name in ("network", "teacher", "optimizer", "teacher_optimizer"):
        getattr(second, name).load_state_dict(getattr(first, name).state_dict())
    second.load_state_dict(first.state_dict())
    second.state.max_epochs = 3
    second.run()
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name])
    assert torch.equal(whole.state.lesson.labels, second.state.lesson.labels)


@pytest.mark.parametrize("kind", KINDS)
def test_unlabeled_images_get_masks_from_the_averaged_student(kind: str) -> None:
    loss, make, classes = KINDS[kind]
    unlabeled = DataLoader(Dataset([{"image": i["image"]} for i in blobs(2)]), batch_size=4)  # type: ignore[no-untyped-call]
    labeler = PseudoLabeler(multi_label=kind == "overlapping channels")
    options = {"unlabeled_data_loader": unlabeled, "label_proposal": labeler, "classes": classes}
    trainer = trainer_of(small_unet(2, classes), loss, items := make(2), **options)
    trainer.run()
    lesson = trainer.state.lesson
    assert lesson.num_pseudo_labeled == 4 and lesson.labels.shape == (8, *items[0]["label"].shape)
    assert lesson.labels.dtype == items[0]["label"].dtype and 0.3 < lesson.confidence.min() <= 1


@pytest.mark.parametrize("kind", ["classes", "overlapping channels"])
def test_what_is_written_of_a_run_is_written_of_masks_too(kind: str, tmp_path: Path) -> None:
    loss, make, classes = KINDS[kind]
    handlers = [log(tmp_path) for log in (CurriculumLog, PolicyLog, ImageGridHandler, LessonWeightsLog, TeacherSaver)]
    trainer_of(small_unet(2, classes), loss, make(2), classes=classes, train_handlers=handlers).run()
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"curriculum.csv", "policy.csv", "lesson_weights.csv", "images", "teacher.safetensors"}


def test_unlabeled_images_of_another_size_are_an_error_that_names_both() -> None:
    unlabeled = DataLoader(Dataset([{"image": i["image"]} for i in blobs(2, size=24)]), batch_size=4)  # type: ignore[no-untyped-call]
    with pytest.raises(LabelError, match=r"\(16, 16\), got \(24, 24\).*Crop both alike"):
        trainer_of(small_unet(), DiceCELoss(**SOFTMAX), blobs(2), unlabeled_data_loader=unlabeled).run()


def test_masks_are_not_aligned() -> None:
    unlabeled = DataLoader(Dataset(blobs(2)), batch_size=3)  # type: ignore[no-untyped-call]
    options = {"unlabeled_data_loader": unlabeled, "label_proposal": PseudoLabeler(align=True)}
    with pytest.raises(ConfigurationError, match="align=True needs one label"):
        trainer_of(small_unet(), DiceCELoss(**SOFTMAX), blobs(2), **options).run()


def test_images_without_an_object_say_nothing_of_competence() -> None:
    items = [{**item, "label": torch.zeros_like(item["label"])} for item in blobs(2)]
    trainer = trainer_of(small_unet(), DiceCELoss(**SOFTMAX), items)
    trainer.run()
    assert not {"real_accuracy", "lesson_accuracy"} & trainer.state.curriculum.keys()
    assert trainer.state.curriculum["difficulty"] == 1


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "masks of another size": ({"crop": 8}, StudentOutputError, "Images, masks and outputs must have the same size"),
    "a picture's 255": ({"times": 127.5}, LabelError, "from 0 to 255.*MapLabelValued"),
    "a teacher of fewer classes": (
        {"teacher": PolicyTeacher(2, 1, 2)},
        LabelError,
        "as the teacher's num_classes is 2, got",
    ),
    "a teacher that cannot move masks": ({"teacher": ImageTeacher(2, 1, 3)}, ConfigurationError, "Use PolicyTeacher"),
    "no pixel that is labeled": (
        {"times": 0, "plus": 255, "loss": nn.CrossEntropyLoss(ignore_index=255)},
        NonFiniteLossError,
        "All labels of the batch are the ignored value, 255",
    ),
    "a padding that no mask has": (
        {"teacher": PolicyTeacher(2, 1, 3, label_padding=255)},
        LabelError,
        "label_padding: expected a value of masks, 0 to 2, got 255",
    ),
    "deep supervision": (
        {"network": DynUNet(2, 1, 3, [3] * 3, [1, 2, 2], [2, 2], [4, 8, 8], deep_supervision=True, deep_supr_num=1)},
        StudentOutputError,
        "deep_supervision=False",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_trained_is_refused_on_the_first_batch(name: str) -> None:
    changes, kind, message = WRONG[name]
    side, times, plus = changes.get("crop", 16), changes.get("times", 1), changes.get("plus", 0)
    items = [{"image": i["image"], "label": (i["label"] * times + plus)[:, :side, :side]} for i in blobs(2)]
    network = changes.get("network") or small_unet()
    loss = changes.get("loss", DiceCELoss(**SOFTMAX))
    with pytest.raises(kind, match=message):
        trainer_of(network, loss, items, teacher=changes.get("teacher")).run()


SIDE = {2: 32, 3: 16}
NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "UNet": lambda d: UNet(d, 1, 3, (4, 8, 8), (2, 2), num_res_units=1),
    "BasicUNet": lambda d: BasicUNet(d, 1, 3, (4, 4, 4, 4, 4, 4), norm="batch"),
    "DynUNet": lambda d: DynUNet(d, 1, 3, [3, 3, 3], [1, 2, 2], [2, 2], [4, 8, 8]),
    "SegResNet": lambda d: SegResNet(d, 8, 1, 3, blocks_down=(1, 1), blocks_up=(1,)),
    "AttentionUnet": lambda d: AttentionUnet(d, 1, 3, (4, 8), (2,)),
    "UNETR": lambda d: UNETR(1, 3, SIDE[d], 4, 12, 12, 2, spatial_dims=d),
    "SwinUNETR": lambda d: SwinUNETR(
        1, 3, feature_size=12, depths=(1,) * 4, window_size=2, norm_name="batch", spatial_dims=d
    ),
}


def workflow(
    kind: type[SupervisedTrainer], network: nn.Module, dimensions: int, folder: Path, **new: Any
) -> list[float]:
    """MONAI's workflow; returns the loss of each iteration."""
    side = 32 if isinstance(network, SwinUNETR) else SIDE[dimensions]
    items = blobs(dimensions, n=3, size=side + 4)
    patches = RandCropByPosNegLabeld(["image", "label"], "label", [side] * dimensions, num_samples=2)
    loader = DataLoader(Dataset(items, patches), batch_size=1)  # type: ignore[no-untyped-call]
    whole = blobs(dimensions, n=2, size=side)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(whole), batch_size=2),  # type: ignore[no-untyped-call]
        network=network,
        postprocessing=Compose([AsDiscreted(["pred", "label"], argmax=(True, False), to_onehot=3)]),
        key_val_metric={"dice": MeanDice(include_background=False, output_transform=from_engine(["pred", "label"]))},
    )
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    trainer = kind(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=loader,
        network=network,
        optimizer=optimizer,
        loss_function=DiceCELoss(**SOFTMAX),
        train_handlers=[
            ValidationHandler(1, evaluator),
            StatsHandler(output_transform=from_engine("loss", first=True)),
            CheckpointSaver(str(folder), {"model": network, "optimizer": optimizer}, save_final=True),
        ],
        **new,
    )
    losses: list[float] = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(float(engine.state.output[0]["loss"]))
    )
    trainer.run()
    if isinstance(trainer, GMCLTrainer):
        assert isinstance(trainer.hypergradient, HeadHypergradient)
    assert 0 <= evaluator.state.metrics["dice"] <= 1
    saved = torch.load(next(folder.glob("*.pt")), weights_only=True)["model"]
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in saved.items())
    return losses


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_workflow_of_monai_trains_by_two_new_arguments(name: str, dimensions: int, tmp_path: Path) -> None:
    if "UNETR" in name:
        pytest.importorskip("einops", reason="MONAI's transformers need it.")
    torch.manual_seed(0)
    network = NETWORKS[name](dimensions)
    twin, teacher = copy.deepcopy(network), PolicyTeacher(dimensions, 1, 3)
    supervised = workflow(SupervisedTrainer, network, dimensions, tmp_path / "supervised")
    new = {"teacher": teacher, "teacher_optimizer": teacher.optimizer()}
    found = workflow(GMCLTrainer, twin, dimensions, tmp_path / "gmcl", **new)
    assert len(found) == len(supervised) == 3 and np.isfinite([*found, *supervised]).all()
