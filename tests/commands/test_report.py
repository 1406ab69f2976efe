# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest

from monai_gmcl.commands.compare import compare
from monai_gmcl.commands.report import report
from monai_gmcl.exceptions import ConfigurationError, DataError


def test_a_missing_package_is_named_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_gmcl.commands.report.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"compare needs scipy.*monai_gmcl\[benchmark\]"):
        compare(str(tmp_path), str(tmp_path / "out"))
    with pytest.raises(ConfigurationError, match="compare needs scipy and pandas, not installed"):
        report(str(tmp_path))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_no_comparison_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Expected runs of a comparison"):
        report(str(tmp_path))
