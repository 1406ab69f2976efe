# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m monai_gmcl init``: a copy of the bundle, to change and to train."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import monai_gmcl
from monai_gmcl.exceptions import ConfigurationError

__all__ = ["BUNDLES", "bundle_command", "bundle_folder", "init"]

BUNDLES = ("gmcl_classification", "gmcl_segmentation")


def init(directory: str, bundle: str = BUNDLES[0]) -> None:
    """Copy a bundle to a new folder, where you can change it and train it.

    Args:
        directory: the new folder. It may exist if it is empty.
        bundle: ``gmcl_classification``, or ``gmcl_segmentation`` for images with masks.

    Raises:
        ConfigurationError: the bundle is unknown, or the folder is not empty.
    """
    target = Path(str(directory)).expanduser()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigurationError(f"init: {str(target)!r} is not empty. Expected a new or an empty folder.")
    shutil.copytree(
        bundle_folder(bundle), target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("output", "__pycache__")
    )
    print(
        f"The bundle was copied to {target}. Its docs/README.md describes settings and results. Train it with\n"
        + bundle_command(target, "train.yaml")
    )


def bundle_command(bundle_root: str | Path, *configs: str, **settings: Any) -> str:
    """Return the shell line that runs a bundle with files of its ``configs``, of which later ones go over earlier ones.

    Settings of the configuration that are empty or None are left out.
    """
    files = [str(Path(bundle_root, "configs", name)) for name in configs]
    listed = shlex.quote(files[0] if len(files) == 1 else str(files))
    if len(files) > 1 and all(shlex.quote(file) == file for file in files):
        listed = f'"{files}"'  # the same, easier to read
    given = {name: value for name, value in settings.items() if value not in ("", None)}
    options = [f"--{name} {shlex.quote(str(value))}" for name, value in given.items()]
    root = shlex.quote(str(bundle_root))
    return " ".join([f"python -m monai.bundle run --bundle_root {root} --config_file {listed}", *options])


def bundle_folder(bundle: str = BUNDLES[0]) -> Path:
    """Return a bundle beside the package in a checkout, or where pip has put it: under ``share`` of the environment.

    ConfigurationError where there is no bundle of that name, or it is at neither place.
    """
    if bundle not in BUNDLES:
        raise ConfigurationError(f"bundle must be one of {', '.join(BUNDLES)}, got {bundle!r}.")
    above = Path(monai_gmcl.__file__).parents[1:]
    places = [above[0] / "bundles", *(folder / "share" / "monai_gmcl" / "bundles" for folder in above)]
    for place in places:
        if (place / bundle).is_dir():
            return place / bundle
    raise ConfigurationError(f"this installation of monai_gmcl lacks the bundle {bundle}. Install monai_gmcl again.")
