# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging

import matplotlib.image
import pytest
from matplotlib.axes import Axes

from monai_gmcl.handlers import CurriculumLog, CurvesHandler
from monai_gmcl.handlers.epoch_table import EpochTable
from monai_gmcl.reporting.run_figures import curves_png


@pytest.fixture
def curves(monkeypatch):
    """What is drawn, by its label."""
    found, plot = {}, Axes.plot

    def spy(axes, x, y, *, label, **options):
        found[label] = (list(x), list(y))
        return plot(axes, x, y, label=label, **options)

    monkeypatch.setattr(Axes, "plot", spy)
    return found


def test_at_the_end_of_a_run_curves_of_the_numbers_of_the_table_are_drawn(make_trainer, tmp_path, curves):
    make_trainer([CurvesHandler(tmp_path), CurriculumLog(tmp_path)]).run()
    rows = EpochTable(tmp_path / "curriculum.csv").read()
    for name in ("loss", "synthetic_loss", "real_accuracy", "lesson_accuracy", "difficulty", "real_weight", "hardness"):
        assert curves[name.replace("_", " ")] == ([1, 2], [row[name] for row in rows])
    picture = matplotlib.image.imread(tmp_path / "curves.png")
    assert picture.shape[1] > 500 and picture[..., :3].std() > 0.02


def test_metrics_of_some_epochs_only_are_drawn_where_they_are(curves):
    curves_png([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "val_auc": 0.5}, {"epoch": 3, "val_auc": 0.75}])
    assert curves == {"loss": ([1, 2], [2.0, 1.0]), "val auc": ([2, 3], [0.5, 0.75])}


def test_a_missing_table_is_a_warning_and_no_failure(make_trainer, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        make_trainer([CurvesHandler(tmp_path)], max_epochs=1).run()
    assert "CurriculumLog" in caplog.text
    assert not (tmp_path / "curves.png").exists()
