# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import pytest
from ignite.engine import Engine
from torch import nn
from torch.optim import SGD

from monai_gmcl import GMCLTrainer, PolicyTeacher
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.handlers import UnseenAccuracy


def evaluator_with(**metrics: float) -> Engine:
    """An evaluator whose run ends with these metrics."""
    engine = Engine(lambda engine, batch: engine.state.metrics.update(metrics))
    engine.state.metrics = {}
    return engine


def trainer_with(handler: UnseenAccuracy) -> GMCLTrainer:
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    arguments: dict[str, Any] = {
        **{"device": "cpu", "max_epochs": 1, "train_data_loader": [0], "network": student},
        **{"optimizer": SGD(student.parameters(), 0.1), "loss_function": nn.CrossEntropyLoss()},
    }
    teacher = PolicyTeacher(2, 1, 2)
    return GMCLTrainer(**arguments, teacher=teacher, teacher_optimizer=None, train_handlers=[handler])


def test_the_curriculum_hears_of_each_validation() -> None:
    evaluator = evaluator_with(val_accuracy=0.6)
    trainer = trainer_with(UnseenAccuracy(evaluator))
    heard: list[float] = []
    trainer.curriculum.observe_unseen = heard.append  # type: ignore[method-assign]
    for _ in range(2):
        evaluator.run([0])
    assert heard == [0.6, 0.6]


def test_low_accuracy_on_unseen_images_makes_lessons_harder() -> None:
    found = []
    for accuracy in (0.95, 0.5):
        evaluator = evaluator_with(val_accuracy=accuracy)
        trainer = trainer_with(UnseenAccuracy(evaluator))
        evaluator.run([0])
        for _ in range(20):
            trainer.curriculum.observe(1.0, 0.9)
        found.append(trainer.curriculum.at(0.5).difficulty)
    assert found[0] < 1.01 < 2 < found[1]


@pytest.mark.parametrize(
    ("metrics", "found"), [({"val_auc": 0.9}, "'val_accuracy' .*found val_auc"), ({"val_accuracy": 87.0}, "got 87.0")]
)
def test_what_is_no_accuracy_is_named(metrics: dict[str, float], found: str) -> None:
    evaluator = evaluator_with(**metrics)
    trainer_with(UnseenAccuracy(evaluator))
    with pytest.raises(ConfigurationError, match=found):
        evaluator.run([0])


def test_an_engine_without_a_curriculum_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="got a Engine without a curriculum; expected a GMCLTrainer"):
        UnseenAccuracy(Engine(lambda *_: None)).attach(Engine(lambda *_: None))  # type: ignore[arg-type]
