# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
from importlib import import_module

import pytest

from monai_gmcl.moved_modules import MOVED


@pytest.mark.parametrize("old", MOVED)
def test_an_old_path_gives_the_names_of_the_new_module_and_warns(old: str) -> None:
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} has moved: import from {MOVED[old]}"):
        module = import_module(old)
    new = import_module(MOVED[old])
    own = [name for name, value in vars(new).items() if getattr(value, "__module__", None) == new.__name__]
    assert own and all(getattr(module, name) is getattr(new, name) for name in own)
    assert new.__spec__ is not None and new.__spec__.name == MOVED[old]


def test_a_module_that_never_was_is_still_an_error() -> None:
    with pytest.raises(ModuleNotFoundError, match="grid_figures"):
        import_module("monai_gmcl.handlers.grid_figures")
