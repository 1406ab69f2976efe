# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import logging
import shutil
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest
import torch
from ignite.engine import Events
from matplotlib.figure import Figure

from monai_gmcl.exceptions import OutputError
from monai_gmcl.handlers import (
    ClassReport,
    CurriculumLog,
    CurvesHandler,
    ImageGridHandler,
    LessonWeightsLog,
    PredictionsSaver,
    RunReport,
)
from monai_gmcl.names import shown_name
from monai_gmcl.reporting.figures import figure_png, optional_picture, plain_texts
from monai_gmcl.reporting.image_sheet import SheetRow, image_sheet
from monai_gmcl.reporting.run_figures import attention_picture, confusion_picture, curves_png

NAMES = ("$\\frac$", "a $x_{b$ c", "$$", "bad\udcffname", "\x00\x1b[0m", "_hidden", "%s {0} \\n", "正常", "", "x" * 500)


@pytest.mark.parametrize("name", NAMES)
def test_a_grid_is_drawn_whatever_a_class_is_called(name: str) -> None:
    images = torch.rand(2, 3, 8, 8)
    sheet = image_sheet([SheetRow(name, [images, images])], name, (name, name))
    assert matplotlib.image.imread(io.BytesIO(sheet)).std() > 0.05


@pytest.mark.parametrize("name", ["$\\frac$", "bad$_{$", "%"])
def test_curves_are_drawn_whatever_a_metric_is_called(name: str) -> None:
    curves = curves_png([{"epoch": 1.0, f"val_{name}": 0.5}, {"epoch": 2.0, f"val_{name}": 0.6}])
    assert matplotlib.image.imread(io.BytesIO(curves)).std() > 0.01


class Evaluated:
    """Enough of an evaluator for the report."""

    def __init__(self, data: list[Any]) -> None:
        self.data_loader = data

    def prepare_batch(self, batch: Any, *_: Any) -> Any:
        return batch


@pytest.mark.parametrize("names", [("$\\frac$", "<b>"), ("bad\udcff", "=1")])
def test_a_run_with_such_classes_comes_to_its_end_with_all_its_files(
    names: tuple[str, str], make_trainer: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    evaluator: Any = Evaluated([(torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 0, 1]))])
    handlers = [
        CurriculumLog(tmp_path),
        ImageGridHandler(tmp_path, class_names=names),
        LessonWeightsLog(tmp_path, class_names=names),
        CurvesHandler(tmp_path),
        RunReport(tmp_path, evaluator, class_names=names),
    ]
    make_trainer(handlers).run()
    assert "could not be drawn" not in caplog.text
    assert len(list(tmp_path.rglob("epoch_*.png"))) == 4
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "confusion" in page.lower() and "<b>" not in page
    header, *rows = (tmp_path / "lesson_weights.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 2 and header.count("mean_") == header.count("zero_")


@pytest.mark.parametrize("names", [["$\\frac$", "bad\udcff"], ["=1+1", "\x00"]])
def test_pictures_and_tables_of_an_evaluation_are_made_of_such_classes(names: list[str], tmp_path: Path) -> None:
    probabilities, labels = torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 1])
    report = ClassReport(tmp_path, names)
    report._seen = list(zip(probabilities, labels, strict=True))
    report._write()
    saver = PredictionsSaver(tmp_path, names)
    saver._rows = [["=a.png", "0.1", "0.9"], ["b\udcff.png", "0.2", "0.8"]]
    saver._write()
    for file in ("class_report.csv", "predictions.csv"):
        cells = (tmp_path / file).read_text(encoding="utf-8").replace("\n", ",").split(",")
        assert not [cell for cell in cells if cell.startswith("=")]
    with plain_texts():
        assert confusion_picture(probabilities, labels, list(map(shown_name, names))).png


def test_a_picture_that_cannot_be_drawn_is_a_warning_one_that_cannot_be_written_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), optional_picture(tmp_path / "a.png"):
        raise MemoryError("too large")
    assert f"{tmp_path / 'a.png'} could not be drawn: too large" in caplog.text
    with pytest.raises(OutputError, match="a.png is gone"), optional_picture(tmp_path / "a.png"):
        raise OutputError("a.png is gone")


def test_images_of_several_sizes_do_not_end_a_run(
    make_trainer: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer([])
    grid = ImageGridHandler(tmp_path / "own")
    grid._sources = {0: [(torch.rand(1, 8, 8), torch.tensor(0)), (torch.rand(1, 9, 9), torch.tensor(0))]}
    trainer.state.curriculum = {"difficulty": 1.0}
    grid._draw(trainer)
    assert "could not be drawn" in caplog.text
    other = ImageGridHandler(tmp_path)
    other.load_state_dict(grid.state_dict())
    assert [tuple(image.shape) for image, _ in other._sources[0]] == [(1, 8, 8), (1, 9, 9)]


def test_a_figure_too_large_for_matplotlib_is_drawn_coarser() -> None:
    figure = Figure(figsize=(1, 1500), dpi=150)
    assert figure_png(figure)


@pytest.mark.parametrize("gone", ["images", "."])
def test_a_folder_that_is_deleted_in_a_run_is_named(gone: str, make_trainer: Any, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    trainer = make_trainer([CurriculumLog(folder), ImageGridHandler(folder)])
    trainer.add_event_handler(Events.ITERATION_STARTED(once=2), lambda: shutil.rmtree(folder / gone))
    with pytest.raises(OutputError, match=rf"out.* cannot be written: the folder .*{gone.strip('.')} does not exist"):
        trainer.run()


def test_attention_shows_titles_as_they_are() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.LazyLinear(2)).eval()
    images = torch.rand(2, 1, 8, 8)
    network(images)
    with plain_texts():
        assert attention_picture(network, images, images, ["$\\frac$", "$$"], (0, 1)).png
