# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.paths import check_paths, common_folder


def test_text_and_paths_pass() -> None:
    check_paths(output_dir="2024", dataset_dir="", model_file=Path("a/model.pt"))


@pytest.mark.parametrize("value", [2024, 2024.1, True, ["a", "b"], None, {"a": 1}])
def test_what_the_command_line_made_of_a_name_is_an_error_that_names_the_setting(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"dataset_dir must be a path, got .*--dataset_dir ./NAME"):
        check_paths(output_dir="out", dataset_dir=value)


def test_the_common_folder_holds_all_files() -> None:
    assert common_folder(["a/b/1.png", Path("a/b/c/2.png"), "a/b/d/3.png"]) == "a/b"
    assert common_folder(["a/b/1.png"]) == "a/b"
