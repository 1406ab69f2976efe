# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import logging
import random

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.engines.utils import default_prepare_batch
from monai.handlers import ValidationHandler
from monai.transforms import Compose, RandAdjustContrastd, RandFlipd
from torch import nn

from monai_gmcl import Curriculum, GMCLEvents, ImageTeacher, PolicyTeacher
from monai_gmcl.exceptions import ConfigurationError, DataError
from monai_gmcl.handlers import CheckpointKeeper, PolicyLog
from monai_gmcl.handlers.epoch_table import OperationTable

LOGGER = "monai_gmcl.handlers.policy_log"
HEADER = "epoch,operation,low,high,unit,probability,share,effect,standard_error,turned_down"


class Bright(nn.Module):
    """Takes bright images for the second class; which way an image is turned does not matter to it."""

    def __init__(self, slope=20.0):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, images, shift=0.0):
        logit = self.slope * (images.flatten(1).mean(1) - 0.5) + shift
        return torch.stack([-logit, logit], 1)


def images_of(n, dims=2, seed=0):
    """Dark and bright images by label, 6 pixels a side."""
    numbers = torch.Generator().manual_seed(seed)
    return [
        {"image": 0.35 + 0.3 * (i % 2) + 0.1 * torch.rand(1, *[6] * dims, generator=numbers), "label": i % 2}
        for i in range(n)
    ]


def frozen(include=("flip", "brightness"), dims=2, **options):
    teacher = PolicyTeacher(dims, 1, 2, include=include, **options)
    return {"teacher": teacher, "teacher_optimizer": None}


@pytest.fixture
def logged(make_trainer, tmp_path):
    """Train a student beside a PolicyLog, validated on unseen images if there are any; return the table's rows."""

    def run(unseen=None, interval=1, writer=None, student=None, prepare=default_prepare_batch, **arguments):
        student = student or Bright()
        evaluator = None
        if unseen is not None:
            evaluator = SupervisedEvaluator("cpu", DataLoader(unseen, batch_size=80), student, prepare_batch=prepare)
        handlers = [PolicyLog(tmp_path, writer, evaluator)]
        if evaluator is not None:
            handlers.append(ValidationHandler(interval, evaluator, epoch_level=True))
        optimizer = torch.optim.SGD(student.parameters(), 0.0)
        data = DataLoader(images_of(12), batch_size=4)
        given = {"network": student, "optimizer": optimizer, "train_data_loader": data, "max_epochs": 1, **frozen()}
        make_trainer(handlers, **{**given, **arguments}).run()
        return read(tmp_path)

    return run


def read(folder):
    return {(row["epoch"], row["operation"]): row for row in OperationTable(folder / "policy.csv").read()}


def test_each_epoch_has_a_row_of_each_operation_with_what_was_learned_by_then(make_trainer, tmp_path):
    policies = []
    trainer = make_trainer([PolicyLog(tmp_path)], max_epochs=3)
    trainer.add_event_handler(
        Events.EPOCH_COMPLETED, lambda e: policies.append(e.teacher.policy(e.state.curriculum["difficulty"]))
    )
    trainer.run()
    with open(tmp_path / "policy.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert ",".join(rows[0]) == HEADER
    assert [(int(row["epoch"]), row["operation"]) for row in rows] == [
        (e + 1, name) for e in range(3) for name in policies[e]
    ]
    for row in rows:
        expected = policies[int(row["epoch"]) - 1][row["operation"]]
        for name in ("low", "high", "probability", "share"):
            assert float(row[name]) == pytest.approx(expected[name], rel=1e-12)
        assert row["unit"] == expected["unit"] and row["turned_down"] == str(int(expected["share"] < 0.5))
    assert policies[0] != policies[2]


@pytest.mark.parametrize("dims", [2, 3])
def test_on_unseen_images_the_effect_is_what_the_operation_adds_to_the_error(logged, dims):
    data = images_of(400, dims)
    rows = logged(data, train_data_loader=DataLoader(images_of(12, dims), batch_size=4), **frozen(dims=dims))
    # By hand: the mean over all amounts of the range of what they add to 1 - p(label).
    images = torch.stack([item["image"] for item in data]).double()
    sign = 1 - 2 * torch.tensor([item["label"] for item in data])

    def error(images):
        return torch.sigmoid(2 * 20 * (images.flatten(1).mean(1) - 0.5) * sign)

    amounts = torch.linspace(rows[1, "brightness"]["low"], rows[1, "brightness"]["high"], 201)
    grown = torch.stack([error((images + amount).clamp(0, 1)) - error(images) for amount in amounts]).mean().item()
    standard_error = rows[1, "brightness"]["standard_error"]
    assert rows[1, "brightness"]["effect"] == pytest.approx(grown, abs=3 * standard_error)
    assert rows[1, "brightness"]["effect"] > 4 * standard_error
    assert abs(rows[1, "flip"]["effect"]) < 3 * rows[1, "flip"]["standard_error"]


def test_that_the_image_is_hard_itself_does_not_count(logged):
    wrong = [{**item, "label": 1 - item["label"]} for item in images_of(400)[:200]]
    row = logged(images_of(400)[200:] + wrong, **frozen(("flip",)))[1, "flip"]
    assert abs(row["effect"]) < 1e-6 and row["standard_error"] < 1e-6


def test_without_an_evaluator_effects_are_those_of_the_lessons(make_trainer, tmp_path):
    seen = []

    class Recorder:
        def attach(self, engine):
            engine.add_event_handler(GMCLEvents.LESSON_COMPLETED, self.record)

        def record(self, engine):
            lesson = engine.state.lesson
            gates = lesson.latents[:, :3]
            p = 1 - lesson.outputs.detach().double().softmax(1)[torch.arange(len(lesson)), lesson.labels]
            seen.append((gates < 0.5, p))

    network = Bright()
    make_trainer(
        [PolicyLog(tmp_path), Recorder()],
        max_epochs=1,
        train_data_loader=DataLoader(images_of(48), batch_size=6),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.1),
        curriculum=Curriculum(difficulty=1.0),
        **frozen(("flip", "brightness", "noise")),
    ).run()
    acts, errors = (torch.cat(parts).numpy() for parts in zip(*seen, strict=True))
    design = np.column_stack([np.ones(48), acts])
    expected = np.linalg.lstsq(design, errors, rcond=None)[0][1:]
    found = [read(tmp_path)[1, name]["effect"] for name in ("flip", "brightness", "noise")]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


class Untouched(nn.Module):
    """Batch normalization, dropout and a pass that is counted by whether it trains."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(36, 6), nn.BatchNorm1d(6), nn.Dropout(), nn.Linear(6, 2))
        self.passes = []

    def forward(self, images):
        self.passes.append(self.training)
        return self.layers(images)


def course(make_trainer, handlers_of):
    """All that a run leaves behind: weights, metrics, the next random numbers."""
    torch.manual_seed(0), random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (the global stream is what is watched)
    student = Untouched()
    evaluator = SupervisedEvaluator("cpu", DataLoader(images_of(24), batch_size=80), student)
    metrics = []
    evaluator.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: metrics.append([item["pred"] for item in e.state.output])
    )
    trainer = make_trainer(
        [*handlers_of(evaluator), ValidationHandler(1, evaluator, epoch_level=True)],
        network=student,
        optimizer=torch.optim.Adam(student.parameters(), 0.01),
        train_data_loader=DataLoader(images_of(12), batch_size=4, shuffle=True),
        max_epochs=3,
    )
    trainer.run()
    numbers = [torch.rand(2), torch.tensor(np.random.rand()), torch.tensor(random.random())]  # noqa: NPY002
    state = [*student.state_dict().values(), *trainer.teacher.state_dict().values()]
    return [*state, *(torch.stack(m) for m in metrics), *numbers], student


@pytest.mark.parametrize("unseen", [True, False])
def test_training_takes_the_same_course_with_the_log(make_trainer, tmp_path, unseen):
    plain, student = course(make_trainer, lambda evaluator: [])
    logged, watched = course(
        make_trainer, lambda evaluator: [PolicyLog(tmp_path, evaluator=evaluator if unseen else None)]
    )
    assert len(plain) == len(logged) and all(torch.equal(a, b) for a, b in zip(plain, logged, strict=True))
    assert watched.passes.count(False) - student.passes.count(False) == (3 if unseen else 0)
    assert watched.passes.count(True) == student.passes.count(True)


def fail(engine):
    raise RuntimeError("stop")


def test_a_resumed_run_writes_the_rows_of_one_that_was_not_interrupted(make_trainer, tmp_path):
    def make(folder, resume=False, stop=None):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
        log = PolicyLog(folder)
        checkpoints, every = tmp_path / "checkpoints", {"interval": 4, "epoch_level": False}
        keeper = CheckpointKeeper(checkpoints, {"policy_log": log}, **every, resume=resume)
        trainer = make_trainer(
            [log, *([keeper] if resume or stop else [])],
            network=network,
            optimizer=torch.optim.SGD(network.parameters(), 0.1),
            train_data_loader=DataLoader(images_of(24), batch_size=4),
            max_epochs=2,
            teacher=PolicyTeacher(2, 1, 2, include=["flip", "gamma", "noise"]),
        )
        if stop:
            trainer.add_event_handler(Events.ITERATION_STARTED(once=stop), fail)
        return trainer

    (tmp_path / "whole").mkdir(), (tmp_path / "parts").mkdir()
    make(tmp_path / "whole").run()
    with pytest.raises(RuntimeError, match="stop"):
        make(tmp_path / "parts", stop=9).run()
    make(tmp_path / "parts", resume=True).run()
    assert (tmp_path / "parts/policy.csv").read_bytes() == (tmp_path / "whole/policy.csv").read_bytes()
    rows = read(tmp_path / "whole")
    assert len(rows) == 6 and all(np.isfinite(row["effect"]) for row in rows.values())


def test_an_epoch_without_validation_has_no_effects(logged):
    rows = logged(images_of(80), interval=2, max_epochs=3)
    assert [np.isfinite(rows[epoch, "brightness"]["effect"]) for epoch in (1, 2, 3)] == [False, True, False]


def test_a_run_without_validation_names_the_missing_handler(logged, caplog):
    logged(images_of(80), interval=2, max_epochs=1)
    assert "policy.csv has no effects: the evaluator did not run. Attach a ValidationHandler" in caplog.text


def test_while_no_lesson_is_set_there_are_no_effects_and_the_log_says_so(logged, caplog):
    rows = logged(images_of(80), curriculum=Curriculum(difficulty=0.0))
    assert all(np.isnan(row["effect"]) for row in rows.values())
    assert "policy.csv has no effects: the evaluator ran only while the difficulty was 0" in caplog.text


@pytest.mark.parametrize("labels", [torch.eye(2), torch.tensor([[0.0, 1.0], [1.0, 1.0]])])
def test_several_labels_and_further_arguments_of_the_student_are_followed(logged, labels):
    student, shifts = Bright(), []
    student.register_forward_pre_hook(lambda module, args: shifts.append(args[1] if len(args) > 1 else None))

    def prepare(batch, device, non_blocking=False, **options):
        images, target = default_prepare_batch(batch, device, non_blocking, **options)
        return images, target, (0.25,), {}

    data = [{**item, "label": labels[item["label"]]} for item in images_of(80)]
    train = {"train_data_loader": DataLoader(data[:8], batch_size=4), "loss_function": nn.BCEWithLogitsLoss()}
    rows = logged(data, student=student, prepare=prepare, **train)
    assert shifts[-2:] == [0.25, 0.25]
    assert np.isfinite(rows[1, "brightness"]["effect"])


@pytest.mark.parametrize(
    ("down", "line"),
    [
        ({}, "operations turned down: nothing"),
        ({"flip": 0, "gamma": 1}, "operations turned down: flip, gamma"),
        ({"noise": 2}, "operations turned down: noise"),
    ],
)
def test_at_the_end_one_line_names_what_was_turned_down(logged, caplog, down, line):
    arguments = frozen(("flip", "gamma", "noise"))
    with torch.no_grad():
        for name in down:
            parameter, place = {"flip": ("log_odds", 0), "gamma": ("log_share", 0), "noise": ("log_share", 1)}[name]
            getattr(arguments["teacher"], parameter)[place] = -2.0
    with caplog.at_level(logging.INFO, logger=LOGGER):
        logged(**arguments)
    assert [record.message for record in caplog.records if record.name == LOGGER] == [line]


def test_real_images_that_are_changed_by_what_was_turned_down_are_warned_of_once(logged, caplog):
    arguments = frozen(("flip", "gamma"))
    with torch.no_grad():
        arguments["teacher"].log_odds.fill_(-2.0)
    transform = Compose([RandFlipd("image", 0.5), RandAdjustContrastd("image", 0.5)])
    train = DataLoader(Dataset(images_of(12), transform), batch_size=4)
    logged(**arguments, train_data_loader=train, max_epochs=2)
    warned = [record.message for record in caplog.records if record.name == LOGGER and record.levelname == "WARNING"]
    assert len(warned) == 1 and "Remove RandFlipd" in warned[0]


def test_shares_and_known_effects_go_to_tensorboard(logged, writer):
    rows = logged(images_of(80), writer=writer, max_epochs=2)
    expected = {
        (f"policy_{key}/{name}", epoch): rows[epoch, name][key] for epoch, name in rows for key in ("share", "effect")
    }
    assert writer.scalars == pytest.approx(expected)


def test_a_student_that_gives_no_number_does_not_end_the_run(logged, caplog):
    data = images_of(80)
    data[3] = {**data[3], "image": torch.full((1, 6, 6), torch.nan)}
    assert np.isfinite(logged(data)[1, "brightness"]["effect"])
    assert "do not include 1 images with NaN or infinite predictions" in caplog.text


def test_for_other_teachers_nothing_is_written(make_trainer, tmp_path):
    make_trainer([PolicyLog(tmp_path / "run")], teacher=ImageTeacher(2, 1, 2)).run()
    assert list(tmp_path.iterdir()) == []


def test_engines_and_evaluators_of_another_kind_are_refused(tmp_path):
    engine = Engine(lambda engine, batch: None)
    with pytest.raises(ConfigurationError, match="got a Engine without a teacher; expected a GMCLTrainer"):
        PolicyLog(tmp_path).attach(engine)
    with pytest.raises(ConfigurationError, match="got the evaluator Engine; expected a monai.engines.Supervised"):
        PolicyLog(tmp_path, evaluator=engine)


@pytest.mark.parametrize("content", ["epoch,loss\n1,0.5\n", "", f"{HEADER}\n1,flip,x,1,rad,1,1,,,0\n"])
def test_a_foreign_file_is_refused_before_the_run(make_trainer, tmp_path, content):
    (tmp_path / "policy.csv").write_text(content)
    with pytest.raises(DataError, match=r"policy\.csv"):
        make_trainer([PolicyLog(tmp_path)])
