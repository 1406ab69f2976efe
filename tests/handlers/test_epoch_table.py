# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import pytest

from monai_gmcl.exceptions import DataError
from monai_gmcl.handlers.epoch_table import EpochTable


def test_rows_are_read_as_they_were_put(tmp_path):
    table = EpochTable(tmp_path / "table.csv")
    table.put(1, {"loss": 1 / 3, "accuracy": 0.5})
    table.put(2, {"loss": 1e-17, "accuracy": 1.0})
    assert table.read() == [
        {"epoch": 1, "loss": 1 / 3, "accuracy": 0.5},
        {"epoch": 2, "loss": 1e-17, "accuracy": 1.0},
    ]


def test_the_file_is_plain_csv_with_whole_epochs(tmp_path):
    table = EpochTable(tmp_path / "table.csv")
    table.put(1, {"loss": 0.25, "unknown": math.nan})
    assert table.path.read_text() == "epoch,loss,unknown\n1,0.25,\n"


def test_a_new_column_leaves_earlier_rows_empty(tmp_path):
    table = EpochTable(tmp_path / "table.csv")
    table.put(1, {"loss": 0.5})
    table.put(2, {"loss": 0.25, "val_auc": 0.75})
    table.put(3, {"loss": 0.125})
    assert table.path.read_text().splitlines() == ["epoch,loss,val_auc", "1,0.5,", "2,0.25,0.75", "3,0.125,"]


def test_an_epoch_that_is_put_again_replaces_itself_and_all_later_ones(tmp_path):
    table = EpochTable(tmp_path / "table.csv")
    for epoch in (1, 2, 3):
        table.put(epoch, {"loss": float(epoch)})
    table.put(2, {"loss": 20.0})
    assert table.read() == [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 20.0}]


@pytest.mark.parametrize("content", ["epoch,loss\n1,good\n", "epoch,loss\n1,2,3\n", "loss\n1\n"])
def test_a_file_that_is_no_such_table_is_named(tmp_path, content):
    (tmp_path / "table.csv").write_text(content)
    with pytest.raises(DataError, match="table.csv"):
        EpochTable(tmp_path / "table.csv").read()
