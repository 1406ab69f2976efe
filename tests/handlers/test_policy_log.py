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
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.engines.utils import default_prepare_batch
from monai.handlers import ValidationHandler
from monai.transforms import Compose, RandAdjustContrastd, RandFlipd
from torch import nn

from monai_gmcl import Curriculum, GMCLEvents, ImageTeacher, PolicyTeacher
from monai_gmcl.exceptions import ConfigurationError, DataError
from monai_gmcl.handlers import CheckpointKeeper, PolicyLog
from monai_gmcl.handlers.epoch_table import OperationTable

LOGGER = "monai_gmcl.handlers.policy_log"


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


def validation_of(network, data=None, **options):
    loader = DataLoader(images_of(400) if data is None else data, batch_size=80)
    return SupervisedEvaluator(torch.device("cpu"), loader, network, **options)


def frozen(include=("flip", "brightness"), dims=2, **options):
    teacher = PolicyTeacher(dims, 1, 2, include=include, **options)
    return {"teacher": teacher, "teacher_optimizer": None}


def run(make_trainer, log, evaluator=None, network=None, **arguments):
    network = Bright() if network is None else network
    handlers = [log] if evaluator is None else [log, ValidationHandler(1, evaluator, epoch_level=True)]
    arguments = {**frozen(), **arguments}
    trainer = make_trainer(
        handlers,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.0),
        train_data_loader=arguments.pop("train_data_loader", DataLoader(images_of(12), batch_size=4)),
        **arguments,
    )
    trainer.run()
    return trainer


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
    assert list(rows[0]) == [
        "epoch",
        "operation",
        "low",
        "high",
        "unit",
        "probability",
        "share",
        "effect",
        "standard_error",
        "turned_down",
    ]
    assert [(int(row["epoch"]), row["operation"]) for row in rows] == [
        (e + 1, name) for e in range(3) for name in policies[e]
    ]
    for row in rows:
        expected = policies[int(row["epoch"]) - 1][row["operation"]]
        for name in ("low", "high", "probability", "share"):
            assert float(row[name]) == pytest.approx(expected[name], rel=1e-12)
        assert row["unit"] == expected["unit"] and row["turned_down"] == str(int(expected["share"] < 0.5))
    assert policies[0] != policies[2]


def test_what_was_turned_down_is_marked(make_trainer, tmp_path):
    arguments = frozen(("flip", "brightness", "gamma"))
    with torch.no_grad():
        arguments["teacher"].log_odds[0], arguments["teacher"].log_share[0] = -1.0, -0.6
    run(make_trainer, PolicyLog(tmp_path), **arguments, max_epochs=1)
    assert {name: row["turned_down"] for (_, name), row in read(tmp_path).items()} == {
        "flip": True,
        "brightness": False,
        "gamma": False,
    }
    assert read(tmp_path)[1, "brightness"]["turned_down"] is False


@pytest.mark.parametrize("dims", [2, 3])
def test_on_unseen_images_the_effect_is_what_the_operation_adds_to_the_error(make_trainer, tmp_path, dims):
    student = Bright()
    data = images_of(400, dims)
    evaluator, train = validation_of(student, data), DataLoader(images_of(12, dims), batch_size=4)
    log = PolicyLog(tmp_path, evaluator=evaluator)
    run(make_trainer, log, evaluator, student, train_data_loader=train, max_epochs=1, **frozen(dims=dims))
    rows = read(tmp_path)
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


def test_that_the_image_is_hard_itself_does_not_count(make_trainer, tmp_path):
    student, wrong = Bright(), [{**item, "label": 1 - item["label"]} for item in images_of(400)[:200]]
    evaluator = validation_of(student, images_of(400)[200:] + wrong)
    run(make_trainer, PolicyLog(tmp_path, evaluator=evaluator), evaluator, student, max_epochs=1, **frozen(("flip",)))
    row = read(tmp_path)[1, "flip"]
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

    arguments = frozen(("flip", "brightness", "noise"))
    log = PolicyLog(tmp_path)
    network = Bright()
    trainer = make_trainer(
        [log, Recorder()],
        max_epochs=1,
        train_data_loader=DataLoader(images_of(48), batch_size=6),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.1),
        curriculum=Curriculum(difficulty=1.0),
        **arguments,
    )
    trainer.run()
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
    evaluator = validation_of(student, images_of(24))
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
    def make(folder, epochs, resume=False, stop=None):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
        log = PolicyLog(folder)
        keeper = CheckpointKeeper(
            tmp_path / "checkpoints", {"policy_log": log}, interval=1, epoch_level=False, resume=resume
        )
        trainer = make_trainer(
            [log, *([keeper] if resume or stop else [])],
            network=network,
            optimizer=torch.optim.SGD(network.parameters(), 0.1),
            train_data_loader=DataLoader(images_of(40), batch_size=4),
            max_epochs=epochs,
            teacher=PolicyTeacher(2, 1, 2, include=["flip", "gamma", "noise"]),
        )
        if stop:
            trainer.add_event_handler(Events.ITERATION_STARTED(once=stop), fail)
        return trainer

    (tmp_path / "whole").mkdir(), (tmp_path / "parts").mkdir()
    make(tmp_path / "whole", 3).run()
    with pytest.raises(RuntimeError, match="stop"):
        make(tmp_path / "parts", 3, stop=16).run()
    make(tmp_path / "parts", 3, resume=True).run()
    assert (tmp_path / "parts/policy.csv").read_bytes() == (tmp_path / "whole/policy.csv").read_bytes()
    rows = read(tmp_path / "whole")
    assert len(rows) == 9 and all(np.isfinite(row["effect"]) for row in rows.values())


def test_an_epoch_without_validation_has_no_effects(make_trainer, tmp_path):
    student = Bright()
    evaluator = validation_of(student)
    log = PolicyLog(tmp_path, evaluator=evaluator)
    make_trainer(
        [log, ValidationHandler(2, evaluator, epoch_level=True)],
        network=student,
        optimizer=torch.optim.SGD(student.parameters(), 0.0),
        train_data_loader=DataLoader(images_of(12), batch_size=4),
        max_epochs=3,
        **frozen(),
    ).run()
    assert [np.isfinite(read(tmp_path)[epoch, "brightness"]["effect"]) for epoch in (1, 2, 3)] == [False, True, False]


def test_while_no_lesson_is_set_there_are_no_effects_and_the_log_says_so(make_trainer, tmp_path, caplog):
    student = Bright()
    evaluator = validation_of(student)
    run(
        make_trainer,
        PolicyLog(tmp_path, evaluator=evaluator),
        evaluator,
        student,
        curriculum=Curriculum(difficulty=0.0),
    )
    assert all(np.isnan(row["effect"]) for row in read(tmp_path).values())
    assert "policy.csv has no effects" in caplog.text


@pytest.mark.parametrize("labels", [torch.eye(2), torch.tensor([[0.0, 1.0], [1.0, 1.0]])])
def test_several_labels_and_further_arguments_of_the_student_are_followed(make_trainer, tmp_path, labels):
    student = Bright()
    shifts = []
    student.register_forward_pre_hook(lambda module, args: shifts.append(args[1] if len(args) > 1 else None))

    def prepare(batch, device, non_blocking=False, **options):
        images, target = default_prepare_batch(batch, device, non_blocking, **options)
        return images, target, (0.25,), {}

    data = [{**item, "label": labels[item["label"]]} for item in images_of(80)]
    evaluator = validation_of(student, data, prepare_batch=prepare)
    train = DataLoader(data[:8], batch_size=4)
    run(
        make_trainer,
        PolicyLog(tmp_path, evaluator=evaluator),
        evaluator,
        student,
        train_data_loader=train,
        loss_function=nn.BCEWithLogitsLoss(),
        max_epochs=1,
    )
    assert shifts[-2:] == [0.25, 0.25]
    assert np.isfinite(read(tmp_path)[1, "brightness"]["effect"])


@pytest.mark.parametrize(
    ("down", "line"),
    [
        ({}, "turned down: nothing"),
        ({"flip": 0, "gamma": 1}, "turned down: flip, gamma"),
        ({"noise": 2}, "turned down: noise"),
    ],
)
def test_at_the_end_one_line_names_what_was_turned_down(make_trainer, tmp_path, caplog, down, line):
    arguments = frozen(("flip", "gamma", "noise"))
    with torch.no_grad():
        for name in down:
            parameter, place = {"flip": ("log_odds", 0), "gamma": ("log_share", 0), "noise": ("log_share", 1)}[name]
            getattr(arguments["teacher"], parameter)[place] = -2.0
    with caplog.at_level(logging.INFO, logger=LOGGER):
        run(make_trainer, PolicyLog(tmp_path), **arguments)
    assert [record.message for record in caplog.records if record.name == LOGGER] == [line]


def test_real_images_that_are_changed_by_what_was_turned_down_are_warned_of_once(make_trainer, tmp_path, caplog):
    arguments = frozen(("flip", "gamma"))
    with torch.no_grad():
        arguments["teacher"].log_odds.fill_(-2.0)
    transform = Compose([RandFlipd("image", 0.5), RandAdjustContrastd("image", 0.5)])
    run(
        make_trainer,
        PolicyLog(tmp_path),
        **arguments,
        train_data_loader=DataLoader(Dataset(images_of(12), transform), batch_size=4),
    )
    warned = [record.message for record in caplog.records if record.name == LOGGER and record.levelname == "WARNING"]
    assert warned == ["flip was turned down, but RandFlipd flips the real images: remove it."]


class Writer:
    def __init__(self):
        self.scalars = {}

    def add_scalar(self, tag, value, step):
        self.scalars[tag, step] = value


def test_shares_and_known_effects_go_to_tensorboard(make_trainer, tmp_path):
    student, writer = Bright(), Writer()
    evaluator = validation_of(student)
    run(make_trainer, PolicyLog(tmp_path, writer, evaluator), evaluator, student, max_epochs=2)
    rows = read(tmp_path)
    expected = {
        (f"policy_{key}/{name}", epoch): rows[epoch, name][key] for epoch, name in rows for key in ("share", "effect")
    }
    assert writer.scalars == pytest.approx(expected)


def test_a_student_that_gives_no_number_does_not_end_the_run(make_trainer, tmp_path, caplog):
    student = Bright()
    data = images_of(80)
    data[3] = {**data[3], "image": torch.full((1, 6, 6), torch.nan)}
    evaluator = validation_of(student, data)
    run(make_trainer, PolicyLog(tmp_path, evaluator=evaluator), evaluator, student, max_epochs=1)
    assert "leave out 1 images on which the student gave no number" in caplog.text
    assert np.isfinite(read(tmp_path)[1, "brightness"]["effect"])


def test_for_other_teachers_nothing_is_written(make_trainer, tmp_path):
    make_trainer([PolicyLog(tmp_path / "run")], teacher=ImageTeacher(2, 1, 2)).run()
    assert list(tmp_path.iterdir()) == []


def test_engines_and_evaluators_of_another_kind_are_refused(tmp_path):
    student = Bright()
    trainer = SupervisedTrainer(
        torch.device("cpu"),
        1,
        DataLoader(images_of(4)),
        student,
        torch.optim.SGD(student.parameters(), 0.1),
        nn.CrossEntropyLoss(),
    )
    with pytest.raises(ConfigurationError, match="got a SupervisedTrainer without a teacher; expected a GMCLTrainer"):
        PolicyLog(tmp_path).attach(trainer)
    with pytest.raises(
        ConfigurationError, match="got the evaluator Engine; expected a monai.engines.SupervisedEvaluator"
    ):
        PolicyLog(tmp_path, evaluator=Engine(lambda engine, batch: None))


@pytest.mark.parametrize(
    "content",
    [
        "epoch,loss\n1,0.5\n",
        "",
        "epoch,operation,low,high,unit,probability,share,effect,standard_error,turned_down\n1,flip,x,1,rad,1,1,,,0\n",
    ],
)
def test_a_foreign_file_is_refused_before_the_run(make_trainer, tmp_path, content):
    (tmp_path / "policy.csv").write_text(content)
    with pytest.raises(DataError, match=r"policy\.csv"):
        make_trainer([PolicyLog(tmp_path)])
