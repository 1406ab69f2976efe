# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

from monai_gmcl.moved_modules import MOVED


@pytest.mark.parametrize("old", MOVED)
def test_an_old_path_gives_the_names_of_the_new_module_and_warns(old: str) -> None:
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} has moved: import from {MOVED[old]}"):
        module = import_module(old)
    new = import_module(MOVED[old])
    assert new.__all__ and all(getattr(module, name) is getattr(new, name) for name in new.__all__)
    assert new.__spec__ is not None and new.__spec__.name == MOVED[old]


def test_a_module_that_never_was_is_still_an_error() -> None:
    with pytest.raises(ModuleNotFoundError, match="grid_figures"):
        import_module("monai_gmcl.handlers.grid_figures")


@pytest.mark.parametrize("name", ["$\\frac$", "a $x_{b$ c", "price $5 to $10", "bad\udcffname"])
def test_the_former_grid_draws_any_class_name(name: str, tmp_path: Path) -> None:
    from monai_gmcl.handlers.grid_figure import GridRow, draw_grid

    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.warns(DeprecationWarning, match="draw_grid has moved"):
        draw_grid(tmp_path / "grid.png", [GridRow(name, images, images)], title="x", value_range=(0, 1))
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")
