# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from ignite.engine import Events
from monai.bundle import ConfigWorkflow, verify_metadata, verify_net_in_out
from torch import nn

import monai_gmcl
from monai_gmcl import (
    ConfidenceWeighting,
    LessonWeighting,
    LookAheadWeighting,
    UniformWeighting,
    describe_student,
    load_teacher,
)
from monai_gmcl.commands.init import init
from monai_gmcl.data import make_phantom, make_volume_phantom
from monai_gmcl.generalized_cross_entropy import GeneralizedCrossEntropy
from monai_gmcl.handlers import newest_checkpoint

BUNDLE = Path(__file__).parents[2] / "bundles" / "gmcl_classification"
CONFIGS = BUNDLE / "configs"
METADATA = CONFIGS / "metadata.json"
SCHEMA = Path(__file__).parent / "meta_schema_20240725.json"
GRADES = ["0_normal", "1_cin1", "2_cin2", "3_cin3"]
SMALL = {"image_size": 16, "batch_size": 8, "device": "cpu", "network_def#layers": [1, 1, 1, 1]}


def _command(cwd: Path, *files: str, **options: Any) -> str:
    """Run the bundle as a user does, from a folder that has nothing to do with it."""
    configs = [str(CONFIGS / file) for file in files]
    arguments = [f"--{name}={value}" for name, value in {**SMALL, **options}.items()]
    command = [sys.executable, "-m", "monai.bundle", "run", f"--config_file={configs}", *arguments]
    path = os.pathsep.join([str(Path(monai_gmcl.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(command, cwd=cwd, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran.stdout + ran.stderr


def _rows(table: Path) -> list[dict[str, str]]:
    with open(table, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder and messages of a short training run."""
    elsewhere, output = tmp_path_factory.mktemp("elsewhere"), tmp_path_factory.mktemp("output")
    options = {"dataset_dir": data, "output_dir": output, "max_epochs": 2}
    messages = _command(elsewhere, "train.yaml", **options)
    assert not list(elsewhere.iterdir()), "A run writes to output_dir only."
    return output, messages


def _workflow(file: str, kind: str, **options: Any) -> ConfigWorkflow:
    return ConfigWorkflow(
        str(CONFIGS / file),
        meta_file=str(METADATA),
        logging_file=False,
        workflow_type=kind,
        bundle_root=str(BUNDLE),
        **{**SMALL, **options},
    )


def test_metadata_follow_monais_schema_and_would_not_without_a_task(tmp_path: Path) -> None:
    verify_metadata(meta_file=str(METADATA), filepath=str(SCHEMA))
    metadata = json.loads(METADATA.read_text())
    del metadata["task"]
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="task"):
        verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=str(SCHEMA))


def test_the_network_of_the_training_gives_what_the_metadata_say(data: Path) -> None:
    """For inference, test_zoo.py runs the command."""
    places = {"dataset_dir": str(data), "bundle_root": str(BUNDLE)}
    verify_net_in_out("network_def", str(METADATA), str(CONFIGS / "train.yaml"), device="cpu", **places)


@pytest.mark.parametrize(("file", "kind"), [("train.yaml", "train"), ("inference.yaml", "infer")])
def test_the_configuration_has_the_properties_that_monai_asks_for(
    file: str, kind: str, data: Path, tmp_path: Path
) -> None:
    workflow = _workflow(file, kind, dataset_dir=str(data), output_dir=str(tmp_path), image_size=64)
    workflow.initialize()
    assert workflow.check_properties() == []


def test_targets_are_full_dotted_paths() -> None:
    def targets(value: Any) -> list[str]:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        found = [inner for _, item in items for inner in targets(item)]
        return found + ([value["_target_"]] if isinstance(value, dict) and "_target_" in value else [])

    for file in CONFIGS.glob("*.yaml"):
        found = targets(yaml.safe_load(file.read_text()))
        assert found
        paths = [path for target in found for path in re.findall(r"'([\w.]+)'", target) or [target]]
        assert all(path.split(".")[0] in ("ignite", "monai", "monai_gmcl", "torch") for path in paths)


def test_training_writes_student_teacher_table_pictures_and_events(run: tuple[Path, str]) -> None:
    output, _ = run
    assert "conv1.weight" in torch.load(output / "model.pt", weights_only=True)
    assert describe_student(output / "model.pt").class_names == GRADES
    last = torch.load(newest_checkpoint(output / "checkpoints"), weights_only=True)
    assert set(last) >= {"model", "teacher", "optimizer", "teacher_optimizer", "lr_scheduler", "best_model", "trainer"}
    assert monai_gmcl.load_teacher(output / "teacher.safetensors").num_classes == 4
    assert [row["epoch"] for row in _rows(output / "curriculum.csv")] == ["1", "2"]
    assert {row["epoch"] for row in _rows(output / "policy.csv")} == {"1", "2"}
    assert (output / "curves.png").stat().st_size > 1000
    assert sorted(path.name for path in (output / "images").glob("*.png")) == ["epoch_0001.png", "epoch_0002.png"]
    assert len(list(output.glob("events.out.tfevents.*"))) == 1


def test_the_table_holds_losses_curriculum_and_validation(run: tuple[Path, str]) -> None:
    row = _rows(run[0] / "curriculum.csv")[-1]
    for name in ("loss", "synthetic_loss", "teacher_grad_norm", "difficulty", "diversity", "val_auc", "val_accuracy"):
        assert float(row[name]) >= 0


def test_each_epoch_is_a_line_and_the_end_names_the_best_one_and_what_to_do_next(run: tuple[Path, str]) -> None:
    output, messages = run
    last = next(line for line in messages.splitlines() if line.startswith("Epoch 2/2: "))
    assert "loss " in last and "val_auc " in last and "it/s" not in messages
    best = max(float(row["val_auc"]) for row in _rows(output / "curriculum.csv"))
    assert f"val_auc {best:.4f} in epoch " in messages and str(output / "report.html") in messages
    assert "from 32 x 32 to 16 x 16" in messages
    assert shlex.split(next(line for line in messages.splitlines() if "evaluate.yaml" in line))[-1] == str(output)


def test_the_run_warns_of_nothing_of_ours(run: tuple[Path, str]) -> None:
    warnings = [line for line in run[1].splitlines() if "Warning" in line]
    # MONAI's own, on every configuration.
    assert [line for line in warnings if "monai/bundle/scripts.py" not in line] == []


def test_evaluation_writes_metrics_and_a_row_for_each_class(run: tuple[Path, str], data: Path, tmp_path: Path) -> None:
    output, _ = run
    _command(
        tmp_path, "train.yaml", "evaluate.yaml", dataset_dir=data, output_dir=output, evaluation_dir=tmp_path / "found"
    )
    metrics = dict(line.split(",") for line in (tmp_path / "found" / "metrics.csv").read_text().split())
    rows = _rows(tmp_path / "found" / "class_report.csv")
    assert [row["class"] for row in rows] == [*GRADES, "all"]
    assert [row["images"] for row in rows] == ["3", "3", "3", "3", "12"]
    assert float(rows[-1]["accuracy"]) == pytest.approx(float(metrics["test_accuracy"]))
    assert float(rows[-1]["auc"]) == pytest.approx(float(metrics["test_auc"]), abs=1e-6)
    assert len(_rows(output / "curriculum.csv")) == 2, "An evaluation must not touch the training's table."


def test_inference_writes_probabilities_of_each_image_of_a_folder(
    run: tuple[Path, str], data: Path, tmp_path: Path
) -> None:
    _command(
        tmp_path,
        "inference.yaml",
        dataset_dir=data / "test",
        output_dir=tmp_path / "found",
        model_file=run[0] / "model.pt",
    )
    with open(tmp_path / "found" / "predictions.csv", newline="") as file:
        headings, *rows = csv.reader(file)
    assert headings == ["image", *GRADES]
    assert sorted(row[0] for row in rows) == sorted(str(path) for path in (data / "test").rglob("*.png"))
    for row in rows:
        assert sum(map(float, row[1:])) == pytest.approx(1, abs=1e-5)


def test_what_comes_with_the_bundle_is_evaluated_and_infers_at_once(tmp_path: Path) -> None:
    """In a copy that has not been trained: on the phantom, and on images without labels."""
    bundle = tmp_path / "mine"
    init(str(bundle))
    options = {"bundle_root": bundle, "image_size": 64, "batch_size": 16}
    messages = _command(tmp_path, "train.yaml", "evaluate.yaml", **options)
    assert f"weights: {bundle}/models/model.pt" in messages
    metrics = dict(line.split(",") for line in (bundle / "output" / "evaluation" / "metrics.csv").read_text().split())
    assert float(metrics["test_auc"]) > 0.95 and float(metrics["test_accuracy"]) > 0.8
    unlabeled = tmp_path / "unlabeled"
    unlabeled.mkdir()
    for grade in GRADES:
        (bundle / "output" / "phantom" / "test" / grade / "0000.png").rename(unlabeled / f"{grade}.png")
    places = {"bundle_root": bundle, "dataset_dir": unlabeled, "output_dir": tmp_path / "found"}
    messages = _command(tmp_path, "inference.yaml", **{"image_size": 64, **places})
    rows = _rows(tmp_path / "found" / "predictions.csv")
    assert [Path(row["image"]).stem for row in rows] == GRADES
    assert sum(max(GRADES, key=lambda grade: float(row[grade])) == Path(row["image"]).stem for row in rows) >= 3
    assert load_teacher(bundle / "models" / "teacher.safetensors").num_classes == len(GRADES)


def _train(output: Path, data: Path, stop_in: int | None = None, **options: Any) -> dict[str, Any]:
    """Train two epochs, or until SIGTERM in an iteration; return the last checkpoint."""
    workflow = _workflow("train.yaml", "train", dataset_dir=str(data), output_dir=str(output), max_epochs=2, **options)
    workflow.initialize()
    trainer = workflow.parser.get_parsed_content("train#trainer")
    if stop_in is not None:
        stop = Events.ITERATION_STARTED(once=stop_in)
        trainer.add_event_handler(stop, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit) if stop_in is not None else nullcontext():
        workflow.run()
    workflow.finalize()
    last: dict[str, Any] = torch.load(newest_checkpoint(output / "checkpoints"), weights_only=True)
    return last


@pytest.mark.parametrize("align", [False, True])
def test_unlabeled_images_join_the_lessons_and_every_handler_bears_it(align: bool, data: Path, tmp_path: Path) -> None:
    options = {"dataset_dir": str(data), "output_dir": str(tmp_path), "unlabeled_dir": str(data / "test")}
    workflow = _workflow("train.yaml", "train", max_epochs=1, **options, **{"unlabeled#label_proposal#align": align})
    workflow.initialize()
    workflow.run()
    written = (
        "curriculum.csv",
        "policy.csv",
        "curves.png",
        "images/epoch_0001.png",
        "teacher.safetensors",
        "model.pt",
        "report.html",
    )
    assert all((tmp_path / name).is_file() for name in written)
    state = torch.load(newest_checkpoint(tmp_path / "checkpoints"), weights_only=True)
    alignment = state["trainer"]["gmcl"]["sources"]["unlabeled"]["labeler"]["alignment"]
    assert (alignment is not None) == align
    (row,) = _rows(tmp_path / "lesson_weights.csv")
    assert 0 <= float(row["zero_proposed"]) <= 1 and float(row["mean_proposed"]) >= 0
    assert (tmp_path / "weights" / "epoch_0001.png").is_file()
    workflow.finalize()


def test_a_pool_for_the_phantom_is_drawn_and_joins_the_lessons(data: Path, tmp_path: Path) -> None:
    state = _train(tmp_path, data, unlabeled_dir="phantom")
    assert state["trainer"]["iteration"] == 4
    assert len(list((tmp_path / "unlabeled_phantom" / "images").glob("*.png"))) == 400
    assert all(float(row["mean_proposed"]) >= 0 for row in _rows(tmp_path / "lesson_weights.csv"))


def test_unlabeled_volumes_join_the_lessons(tmp_path: Path) -> None:
    volumes = make_volume_phantom(tmp_path / "volumes", {"train": 4, "valid": 2, "test": 2})
    state = _train(tmp_path / "output", volumes, unlabeled_dir=str(volumes / "test"))
    assert state["trainer"]["iteration"] == 4
    assert load_teacher(tmp_path / "output" / "teacher.safetensors").spatial_dims == 3
    assert all(float(row["mean_proposed"]) >= 0 for row in _rows(tmp_path / "output" / "lesson_weights.csv"))
    assert (tmp_path / "output" / "weights" / "epoch_0002.png").is_file()


def test_half_of_a_batch_are_trusted_images_and_the_loss_is_robust(data: Path, tmp_path: Path) -> None:
    sure = make_phantom(tmp_path / "sure", {"images": 2}, size=32, seed=1) / "images"
    options = {"dataset_dir": str(data), "output_dir": str(tmp_path / "output"), "trusted_dir": str(sure)}
    workflow = _workflow("train.yaml", "train", max_epochs=1, **options)
    workflow.initialize()
    parser = workflow.parser
    trainer = parser.get_parsed_content("train#trainer")
    assert isinstance(trainer.loss_function, GeneralizedCrossEntropy) and trainer.curriculum.at(0).real_weight == 1
    assert isinstance(trainer.weighting, UniformWeighting) and trainer.look_ahead.meta_batches is None
    items = parser.get_parsed_content("train#dataset").data
    trusted = [Path(item["image"]).is_relative_to(sure) for item in items]
    assert sum(trusted) == 8
    sampler = parser.get_parsed_content("train#sampler")
    drawn = [trusted[index] for _ in range(100) for index in sampler]
    assert abs(sum(drawn) / len(drawn) - 0.5) < 0.05 < abs(sum(trusted) / len(trusted) - 0.5)
    assert not any(Path(x["image"]).is_relative_to(sure) for x in parser.get_parsed_content("validate#dataset").data)
    workflow.run()
    assert trainer.state.iteration == math.ceil(len(items) / trainer.data_loader.batch_size)
    workflow.finalize()


def test_without_trusted_images_all_count_alike_and_the_loss_is_cross_entropy(data: Path, tmp_path: Path) -> None:
    workflow = _workflow("train.yaml", "train", dataset_dir=str(data), output_dir=str(tmp_path))
    workflow.initialize()
    trainer = workflow.parser.get_parsed_content("train#trainer")
    assert isinstance(trainer.weighting, UniformWeighting) and trainer.curriculum.at(0).real_weight == 0.5
    assert type(trainer.loss_function) is nn.CrossEntropyLoss


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        ({}, LookAheadWeighting),
        ({"weighting": "$monai_gmcl.UniformWeighting()"}, UniformWeighting),
        ({"weighting": {"_target_": "monai_gmcl.weighting.ConfidenceWeighting"}}, ConfidenceWeighting),
    ],
)
def test_the_weighting_of_lessons_is_the_trainers_own_or_the_one_that_is_given(
    option: dict[str, Any], wanted: type[LessonWeighting], data: Path, tmp_path: Path
) -> None:
    options = {"dataset_dir": str(data), "output_dir": str(tmp_path), "unlabeled_dir": str(data / "test")}
    workflow = _workflow("train.yaml", "train", **options, **option)
    workflow.initialize()
    assert type(workflow.parser.get_parsed_content("train#trainer").weighting) is wanted
    workflow.finalize()


def test_the_student_of_an_earlier_run_labels_unlabeled_images(data: Path, tmp_path: Path) -> None:
    options = {"dataset_dir": str(data), "unlabeled_dir": str(data / "test"), "max_epochs": 1}
    first = tmp_path / "first" / "model.pt"
    for name, more in (("first", {}), ("second", {"first_student": str(first)})):
        workflow = _workflow("train.yaml", "train", output_dir=str(tmp_path / name), **options, **more)
        workflow.initialize()
        workflow.run()
        workflow.finalize()
    labeler = workflow.parser.get_parsed_content("unlabeled#label_proposal")
    wanted, found = torch.load(first, weights_only=True), labeler.network.state_dict()
    assert list(wanted) == list(found) and all(torch.equal(wanted[key], found[key]) for key in wanted)
    state = torch.load(newest_checkpoint(tmp_path / "second" / "checkpoints"), weights_only=True)
    assert state["trainer"]["gmcl"]["sources"]["unlabeled"]["labeler"]["average"] is None


def test_a_first_student_without_images_to_label_is_refused(data: Path, tmp_path: Path) -> None:
    first = str(BUNDLE / "models" / "model.pt")
    options = {"dataset_dir": str(data), "output_dir": str(tmp_path), "image_size": 64, "first_student": first}
    workflow = _workflow("train.yaml", "train", **options)
    workflow.initialize()
    with pytest.raises(RuntimeError) as caught:
        workflow.run()
    workflow.finalize()
    assert "unlabeled_data_loader, which is missing" in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", ["max_epochs", "batch_size", "val_interval"])
def test_a_count_below_one_is_named_before_any_file_is_read(name: str, tmp_path: Path) -> None:
    workflow = _workflow("train.yaml", "train", output_dir=str(tmp_path), **{name: 0})
    with pytest.raises(RuntimeError) as caught:
        workflow.initialize()
    assert f"{name} must be a positive integer, got 0" in "".join(traceback.format_exception(caught.value))
    assert not any(tmp_path.iterdir())


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return list(first) == list(second) and all(_same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(_same, first, second))
    return bool(first == second)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_seed_gives_the_same_weights_and_pictures(workers: int, data: Path, tmp_path: Path) -> None:
    first = _train(tmp_path / "first", data)
    second = _train(tmp_path / "second", data, **{"train#dataloader#num_workers": workers})
    assert all(_same(first[name], second[name]) for name in ("model", "teacher", "optimizer", "teacher_optimizer"))
    for name in ("images/epoch_0001.png", "images/epoch_0002.png", "curves.png", "teacher.safetensors"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name


@pytest.mark.parametrize(("workers", "stop_in"), [(0, 1), (0, 2), (2, 3)])
def test_a_run_that_was_cut_off_goes_on_to_the_same_end(workers: int, stop_in: int, data: Path, tmp_path: Path) -> None:
    """Two iterations an epoch: inside the first epoch, at its end, inside the second."""
    options = {"train#dataloader#num_workers": workers}
    whole = _train(tmp_path / "whole", data, **options)
    part = _train(tmp_path / "part", data, stop_in=stop_in, **options)
    assert part["trainer"]["iteration"] == stop_in
    resumed = _train(tmp_path / "part", data, resume=True, **options)
    assert resumed["trainer"]["iteration"] == 4 and list(resumed) == list(whole)
    for name in set(whole) - {"random"}:
        assert _same(whole[name], resumed[name]), name
    best = [torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("whole", "part")]
    assert _same(*best)
    assert [row["epoch"] for row in _rows(tmp_path / "part" / "curriculum.csv")] == ["1", "2"]
    assert (tmp_path / "part" / "policy.csv").read_bytes() == (tmp_path / "whole" / "policy.csv").read_bytes()
