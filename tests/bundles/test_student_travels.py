# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""What the student was trained for travels with it: nobody says it twice, and nobody can say otherwise."""

from __future__ import annotations

import csv
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow, run
from monai.data import load_net_with_metadata
from PIL import Image

from monai_gmcl import StudentDescription, describe_student, load_student, save_student
from monai_gmcl.commands.export import export
from monai_gmcl.commands.synthesize import synthesize
from monai_gmcl.data import make_volume_phantom
from monai_gmcl.exceptions import CheckpointError, ConfigurationError, GMCLError
from monai_gmcl.teachers import describe_teacher

CONFIGS = Path(__file__).parents[2] / "bundles" / "gmcl_classification" / "configs"
TRAIN, EVALUATE, INFER = (str(CONFIGS / f"{name}.yaml") for name in ("train", "evaluate", "inference"))
QUICK: dict[str, Any] = {"bundle_root": str(CONFIGS.parent), "device": "cpu"}
NAMES = ["not graded", "10", "0", "1", "2"]
"""In an order that no data set has by itself."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey images of five classes, whose brightness is their class's."""
    folder, numbers = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for k, name in enumerate(sorted(NAMES)):
        for part, count in (("train", 3), ("valid", 2), ("test", 2)):
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = numbers.integers(50 * k, 50 * k + 20, (20, 26), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a short training on them, with settings of its own."""
    output = tmp_path_factory.mktemp("run")
    options = {"image_crop": [18, 20], "image_size": 12, "max_epochs": 1, "batch_size": 8, "grid_interval": 9}
    options["class_names"] = NAMES
    run(config_file=TRAIN, dataset_dir=str(data), output_dir=str(output), **QUICK, **options)
    return output


def causes(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def predictions(folder: Path) -> list[dict[str, str]]:
    with open(folder / "predictions.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_files_of_a_training_tell_what_it_was_made_with(trained: Path) -> None:
    student = describe_student(trained / "model.pt")
    assert student.class_names == NAMES
    assert (student.spatial_dims, student.channels, student.task) == (2, 1, "classification")
    assert student.reading() == {
        "image_crop": [18, 20],
        "image_size": [12, 12],
        "spacing": None,
        "intensity_range": None,
    }
    teacher = describe_teacher(trained / "teacher.safetensors")
    assert teacher.label_names == student.class_names and teacher.training["image_reading"] == student.reading()


def test_inference_reads_them_and_heads_its_columns_with_the_classes(trained: Path, data: Path, tmp_path: Path) -> None:
    model = trained / "model.pt"
    run(config_file=INFER, dataset_dir=str(data / "test"), model_file=str(model), output_dir=str(tmp_path), **QUICK)
    rows = predictions(tmp_path)
    assert list(rows[0]) == ["image", *NAMES]
    assert {row["image"] for row in rows} == {str(path) for path in (data / "test").rglob("*.png")}
    workflow = ConfigWorkflow(INFER, logging_file=False, workflow_type="infer", model_file=str(model), **QUICK)
    workflow.initialize()
    image = workflow.parser.get_parsed_content("preprocessing")({"image": rows[0]["image"]})["image"]
    assert image.shape == (1, 12, 12)
    student = load_student(workflow.parser.get_parsed_content("network_def"), model).eval()
    with torch.no_grad():
        expected = torch.softmax(student(image[None]), 1)[0]
    found = torch.tensor([float(value) for value in list(rows[0].values())[1:]])
    assert torch.allclose(found, expected.as_subclass(torch.Tensor), atol=1e-5)


def test_evaluation_reads_them_and_counts_by_the_students_classes(trained: Path, data: Path, tmp_path: Path) -> None:
    options = {"dataset_dir": str(data), "output_dir": str(trained), "evaluation_dir": str(tmp_path)}
    run(config_file=[TRAIN, EVALUATE], **options, **QUICK)
    with open(tmp_path / "class_report.csv", newline="") as file:
        found = [row["class"] for row in csv.DictReader(file)]
    assert found == [*NAMES, "all"]


def test_the_order_of_classes_is_the_students_whatever_the_data_set(trained: Path, data: Path, tmp_path: Path) -> None:
    """A table, whose classes would be 0, 1, 2, 10, not graded by themselves."""
    images = [path for part in ("train", "valid", "test") for path in sorted((data / part).rglob("*.png"))]
    table = "\n".join(f"{path},{path.parent.name}" for path in images)
    (tmp_path / "all.csv").write_text(f"image,label\n{table}\n")
    options = {"dataset_dir": str(tmp_path / "all.csv"), "output_dir": str(trained), "evaluation_dir": str(tmp_path)}
    workflow = ConfigWorkflow([TRAIN, EVALUATE], logging_file=False, workflow_type="train", **options, **QUICK)
    workflow.initialize()
    items = workflow.parser.get_parsed_content("validate#dataset#data")
    assert items and all(NAMES[item["label"]] == Path(item["image"]).parent.name for item in items)


def test_the_evaluation_splits_the_data_as_the_training_did(data: Path, tmp_path: Path) -> None:
    """Without being told the seed and the patients: otherwise it would test on images of the training."""
    images = [path for part in ("train", "valid", "test") for path in sorted((data / part).rglob("*.png"))]
    table = "\n".join(f"{path},{path.parent.name},p{index // 2}" for index, path in enumerate(images))
    (tmp_path / "all.csv").write_text(f"image,label,slide\n{table}\n")
    options = {"dataset_dir": str(tmp_path / "all.csv"), "output_dir": str(tmp_path / "run")}
    told = {"seed": 5, "group_column": "slide", "image_size": 12, "max_epochs": 1, "grid_interval": 9}
    parts = []
    for files, more in (([TRAIN], told), ([TRAIN, EVALUATE], {})):
        workflow = ConfigWorkflow(files, logging_file=False, workflow_type="train", **options, **more, **QUICK)
        workflow.initialize()
        parts.append([item["image"] for item in workflow.parser.get_parsed_content("data").test])
        if not more:
            break
        workflow.run()
        workflow.finalize()
    assert parts[0] == parts[1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"class_names": sorted(NAMES)}, "class_names is [0, 1, 10, 2, not graded], in the training it was [not"),
        ({"num_classes": 4}, "num_classes is 4, in the training it was 5"),
        ({"channels": 3}, "channels is 3, in the training it was 1"),
        ({"image_size": 64, "image_crop": 18}, "image_size is 64, in the training it was [12, 12]"),
        ({"spacing": 1.5, "spatial_dims": 3}, "spacing is 1.5, in the training it was not given"),
        ({"intensity_range": [0, 100]}, "intensity_range is [0, 100], in the training it was not given"),
    ],
)
@pytest.mark.parametrize("files", [[INFER], [TRAIN, EVALUATE]], ids=["inference", "evaluation"])
def test_what_differs_from_the_training_is_an_error(
    files: list[str], given: dict[str, Any], message: str, trained: Path, data: Path, tmp_path: Path
) -> None:
    options = {"dataset_dir": str(data), "model_file": str(trained / "model.pt"), "output_dir": str(tmp_path)}
    with pytest.raises(RuntimeError) as caught:
        run(config_file=files, **options, **QUICK, **given)
    assert message in causes(caught.value)
    assert not list(tmp_path.glob("**/*.csv"))


def test_what_agrees_with_the_training_may_be_said_again(trained: Path, data: Path, tmp_path: Path) -> None:
    given = {"num_classes": 5, "channels": 1, "spatial_dims": 2, "image_size": [12, 12], "image_crop": [18, 20]}
    options = {"dataset_dir": str(data / "test"), "model_file": str(trained / "model.pt"), "output_dir": str(tmp_path)}
    run(config_file=INFER, **options, **QUICK, **given)
    assert len(predictions(tmp_path)) == 10


def test_data_of_other_classes_or_channels_are_not_evaluated(trained: Path, data: Path, tmp_path: Path) -> None:
    colored = tmp_path / "colored"
    for path in data.rglob("*.png"):
        target = colored / path.relative_to(data)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).convert("RGB").save(target)
    options = {"output_dir": str(tmp_path / "found"), "model_file": str(trained / "model.pt")}
    with pytest.raises(RuntimeError) as caught:
        run(config_file=[TRAIN, EVALUATE], dataset_dir=str(colored), **options, **QUICK)
    assert "channels is 3, in the training it was 1" in causes(caught.value)
    for part in ("train", "valid", "test"):
        (colored / part / "10").rename(colored / part / "eleven")
    with pytest.raises(RuntimeError) as caught:
        run(config_file=[TRAIN, EVALUATE], dataset_dir=str(colored), **options, **QUICK)
    assert "eleven" in causes(caught.value) and "class folders" in causes(caught.value)


def test_a_first_student_of_other_classes_does_not_propose_labels(trained: Path, data: Path, tmp_path: Path) -> None:
    options = {"dataset_dir": str(data), "output_dir": str(tmp_path), "unlabeled_dir": str(data / "test")}
    first = {"first_student": str(trained / "model.pt"), "image_size": 12, "image_crop": [18, 20]}
    with pytest.raises(RuntimeError) as caught:
        run(config_file=TRAIN, **options, **first, **QUICK)
    assert "class_names is" in causes(caught.value)


@pytest.mark.parametrize("files", [[INFER], [TRAIN, EVALUATE]], ids=["inference", "evaluation"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing", "foreign"])
def test_a_damaged_student_is_refused(damage: str, files: list[str], trained: Path, data: Path, tmp_path: Path) -> None:
    content, model = (trained / "model.pt").read_bytes(), tmp_path / "damaged.pt"
    if damage == "flipped":
        middle = len(content) // 2
        model.write_bytes(content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :])
    elif damage == "truncated":
        model.write_bytes(content[: len(content) // 2])
    elif damage == "foreign":
        torch.save({"model": torch.load(trained / "model.pt", weights_only=True)}, model)
    options = {"dataset_dir": str(data), "model_file": str(model), "output_dir": str(tmp_path / "found")}
    with pytest.raises(RuntimeError) as caught:
        run(config_file=files, **options, **QUICK)
    assert "CheckpointError" in causes(caught.value) and str(model) in causes(caught.value)
    assert not (tmp_path / "found" / "predictions.csv").exists()


def test_synthesis_reads_them_from_the_teachers_file(trained: Path, data: Path, tmp_path: Path) -> None:
    teacher, source = str(trained / "teacher.safetensors"), str(data / "train")
    synthesize(teacher, str(tmp_path / "set"), source, per_class=1)
    files = sorted((tmp_path / "set").rglob("*/*.png"))
    assert [Image.open(file).size for file in files] == [(12, 12)] * 5
    for given, message in (({"size": 24}, "image_size is 24"), ({"crop": 9}, "image_crop is 9")):
        with pytest.raises(ConfigurationError, match=message):
            synthesize(teacher, str(tmp_path / "other"), source, per_class=1, **given)


def test_export_reads_them_and_tells_them(trained: Path, tmp_path: Path) -> None:
    model = trained / "model.pt"
    export(str(model), str(tmp_path / "student.ts"))
    student = describe_student(model)
    network, metadata, _ = load_net_with_metadata(str(tmp_path / "student.ts"))
    assert metadata["student"] == student.told()
    formats = metadata["network_data_format"]
    assert formats["inputs"]["image"]["num_channels"] == 1 and formats["inputs"]["image"]["spatial_shape"] == [12, 12]
    assert list(formats["outputs"]["pred"]["channel_def"].values()) == student.class_names
    assert "CIN" not in str(metadata)
    assert network(torch.rand(2, 1, 12, 12)).shape == (2, 5)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda given: {**given, "model_file": given["model_file"] + ".not"}, CheckpointError),
        (lambda given: {**given, "out": given["out"].replace("student", "no/folder")}, ConfigurationError),
        (lambda given: {**given, "bundle_root": given["out"]}, ConfigurationError),
        (lambda given: {**given, "out": 2024}, ConfigurationError),
    ],
)
def test_export_refuses_what_it_cannot_do(
    change: Callable[[dict[str, Any]], dict[str, Any]], error: type[GMCLError], trained: Path, tmp_path: Path
) -> None:
    given = {"model_file": str(trained / "model.pt"), "out": str(tmp_path / "student.ts")}
    with pytest.raises(error):
        export(**change(given))
    assert not list(tmp_path.iterdir())


def test_volumes_keep_spacing_and_intensity_range(tmp_path: Path) -> None:
    volumes = make_volume_phantom(tmp_path / "volumes", {"train": 2, "valid": 1, "test": 1})
    options = {"dataset_dir": str(volumes), "output_dir": str(tmp_path / "run"), "max_epochs": 1, "grid_interval": 9}
    run(config_file=TRAIN, image_size=8, spacing=2, intensity_range=[0, 1], **options, **QUICK)
    student = describe_student(tmp_path / "run" / "model.pt")
    assert (student.spatial_dims, student.channels) == (3, 1)
    assert (student.image_size, student.spacing, student.intensity_range) == ([8] * 3, [2.0] * 3, [0.0, 1.0])
    options = {"dataset_dir": str(volumes / "test"), "output_dir": str(tmp_path / "run")}
    run(config_file=INFER, **options, **QUICK)
    assert list(predictions(tmp_path / "run")[0]) == ["image", *student.class_names]
    export(str(tmp_path / "run" / "model.pt"), str(tmp_path / "student.ts"))
    network, metadata, _ = load_net_with_metadata(str(tmp_path / "student.ts"))
    assert network(torch.rand(1, 1, 8, 8, 8)).shape == (1, student.num_classes)
    assert metadata["student"]["spacing"] == [2.0] * 3


def test_several_labels_of_an_image_have_each_a_probability_of_their_own(data: Path, tmp_path: Path) -> None:
    workflow = ConfigWorkflow(INFER, logging_file=False, workflow_type="infer", **QUICK)
    workflow.initialize()
    network = workflow.parser.get_parsed_content("network_def")
    with torch.no_grad():
        network.fc.weight.zero_()
        network.fc.bias.copy_(torch.tensor([0.0, 50.0, 50.0, -50.0]))
    findings = StudentDescription(["mass", "edema", "nodule", "fracture"], 2, 3, image_size=16, task="multi_label")
    options = {"model_file": str(save_student(network, tmp_path / "model.pt", findings)), "output_dir": str(tmp_path)}
    run(config_file=INFER, dataset_dir=str(data / "test"), **options, **QUICK)
    assert list(predictions(tmp_path)[0].values())[1:] == ["0.500000", "1.000000", "1.000000", "0.000000"]


def test_a_run_that_has_left_no_student_is_not_taken_for_the_bundles(data: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(RuntimeError) as caught:
        run(config_file=INFER, dataset_dir=str(data / "test"), output_dir=str(tmp_path), **QUICK)
    assert f"The student's file {tmp_path / 'model.pt'}" in causes(caught.value)


@pytest.mark.parametrize("names", [["costs $5", "a_b^c"], ["image", "label"], ["caf\udce9", "<b>"], ["=1+1", "-"]])
def test_names_come_back_letter_by_letter(names: list[str], tmp_path: Path) -> None:
    file = save_student(torch.nn.Linear(2, 2), tmp_path / "model.pt", StudentDescription(names, 2, 1))
    assert describe_student(file).class_names == names


@pytest.mark.parametrize("file", [[TRAIN], [INFER], [TRAIN, EVALUATE]], ids=["training", "inference", "evaluation"])
@pytest.mark.parametrize("name", ["output_dir", "dataset_dir"])
def test_a_folder_that_the_command_line_takes_for_a_number_is_an_error(
    name: str, file: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError) as caught:
        run(config_file=file, **{**QUICK, "output_dir": "out", name: 2024})
    assert f"{name} must be a path, got 2024" in causes(caught.value)
