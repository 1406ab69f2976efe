# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from ignite.engine import Events
from torch import nn

from monai_gmcl import PolicyTeacher, StudentDescription, load_teacher
from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.handlers import TeacherSaver
from monai_gmcl.teachers import describe_teacher


class Plain(nn.Module):
    def forward(self, images, labels, latents, difficulty):
        return images


def assert_equal(one, other):
    assert type(one) is type(other)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_file_holds_the_trained_teacher_from_each_epochs_end_on(make_trainer, tmp_path, spatial_dims):
    file, saved = tmp_path / "new" / "t.safetensors", []
    trainer = make_trainer([TeacherSaver(file.parent, file.name)], spatial_dims)
    assert not file.exists()

    @trainer.on(Events.EPOCH_COMPLETED)
    def compare(engine):
        assert_equal(load_teacher(file), engine.teacher)
        saved.append(file.read_bytes())

    trainer.run()
    assert saved[0] != saved[1]
    assert_equal(load_teacher(file), trainer.teacher)


def test_the_file_tells_how_far_the_training_was(make_trainer, tmp_path):
    trainer = make_trainer([TeacherSaver(tmp_path)])
    trainer.run()
    training = describe_teacher(tmp_path / "teacher.safetensors").training
    difficulty = float(trainer.state.curriculum["difficulty"])
    assert training.pop("turned_down") == trainer.teacher.turned_down
    assert training == {"epoch": trainer.state.epoch, "seed": trainer.seed, "difficulty": difficulty}


def test_of_a_policy_the_file_names_what_was_turned_down(make_trainer, tmp_path):
    teacher = PolicyTeacher(2, 1, 2, include=["flip", "gamma", "noise"])
    with torch.no_grad():
        teacher.log_odds[0], teacher.log_share[1] = -2.0, -2.0
    make_trainer([TeacherSaver(tmp_path)], teacher=teacher, teacher_optimizer=None).run()
    assert describe_teacher(tmp_path / "teacher.safetensors").training["turned_down"] == ["flip", "noise"]


def test_the_file_tells_what_labels_mean_and_how_images_are_read(make_trainer, tmp_path):
    names = ["benign", "malignant"]
    student = StudentDescription(names, 2, 1, image_size=24, image_crop=[20, 16])
    make_trainer([TeacherSaver(tmp_path, description=student)]).run()
    told = describe_teacher(tmp_path / "teacher.safetensors")
    assert told.label_names == names and told.training["epoch"] > 0
    read = {"image_crop": [20, 16], "image_size": [24, 24], "spacing": None, "intensity_range": None}
    assert told.training["image_reading"] == read


def test_a_student_of_other_classes_is_an_error_on_attaching(make_trainer, tmp_path):
    with pytest.raises(ConfigurationError, match="classes, got 5"):
        make_trainer([TeacherSaver(tmp_path, description=StudentDescription(list("abcde"), 2, 1))])


def test_what_other_handlers_make_of_the_teacher_at_the_end_is_saved(make_trainer, tmp_path):
    trainer = make_trainer([TeacherSaver(tmp_path)])

    @trainer.on(Events.EPOCH_COMPLETED)
    def average(engine):
        with torch.no_grad():
            engine.teacher.log_share.fill_(0.5)

    trainer.run()
    assert load_teacher(tmp_path / "teacher.safetensors").log_share.eq(0.5).all()


def test_a_run_that_fails_saves_and_fails_after_the_other_handlers_have_heard(make_trainer, tmp_path):
    trainer = make_trainer([TeacherSaver(tmp_path)])
    heard = []

    @trainer.on(Events.ITERATION_COMPLETED(once=2))
    def fail(engine):
        raise RuntimeError("a cable came off")

    trainer.add_event_handler(Events.EXCEPTION_RAISED, lambda engine, error: heard.append(str(error)))
    with pytest.raises(RuntimeError, match="a cable came off"):
        trainer.run()
    assert heard[0] == "a cable came off"
    assert_equal(load_teacher(tmp_path / "teacher.safetensors"), trainer.teacher)


def test_a_failure_at_the_very_start_is_not_swallowed(make_trainer, tmp_path):
    class Failing:
        def attach(self, engine):
            engine.add_event_handler(Events.STARTED, self.fail)

        def fail(self, engine):
            raise RuntimeError("no checkpoint")

    with pytest.raises(RuntimeError, match="no checkpoint"):
        make_trainer([Failing(), TeacherSaver(tmp_path)]).run()


def test_a_plain_module_is_refused_on_attaching(make_trainer, tmp_path):
    with pytest.raises(ConfigurationError, match="Plain.*subclasses of monai_gmcl.Teacher"):
        make_trainer([TeacherSaver(tmp_path)], teacher=Plain())
    assert list(tmp_path.iterdir()) == []
