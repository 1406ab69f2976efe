# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m monai_gmcl compare``: GMCL and other small-data methods at equal compute."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from monai_gmcl.benchmark.arms import arms_of
from monai_gmcl.commands.report import check_installed, report

__all__ = ["compare"]

DEFAULT_ARMS = ("standard", "strong", "frozen", "gmcl")


def compare(
    data_dir: str,
    out: str,
    n: int | Sequence[int] | None = None,
    arms: str | Sequence[str] = DEFAULT_ARMS,
    seeds: int | Sequence[int] = 3,
    steps: int = 400,
    splits: str | Sequence[str] = "held_out",
    channels: int | None = None,
    crop: int | None = None,
    size: int | None = None,
    upright: bool = False,
    centered: bool = False,
    spatial_dims: int | None = None,
    pictures: bool = False,
    workers: int = 2,
    device: str = "cpu",
    intensity_range: Sequence[float] | None = None,
    patch: int | None = None,
) -> None:
    """Run a grid of comparisons and report it; what is on disk already is not run again.

    Several data sets go into one folder by calling it once for each; the report is of all. ``python -m monai_gmcl
    report`` writes it again from what is on disk, also while a grid runs.

    Args:
        data_dir: folder with ``train`` and ``valid`` (or ``val``, ``validation``, ...) of class folders, and those
            named in ``splits``; or images with masks, in any form that
            :func:`monai_gmcl.data.open_segmentation_data` takes, which are compared by their mean Dice.
        out: folder of the results: ``runs/*.json``, one a run, and the report. ``pictures`` in it holds what each arm
            trained on in its last step, of seed 0: images of the data set, which git is told to ignore.
        n: labeled images in all, one number or several. Default: 100 and 500; with masks 1 and 5.
        arms: which ways: ``standard``, ``strong``, ``trivial_augment``, ``frozen``, ``gmcl``, or ``module:NAME`` of
            one's own, a :class:`monai_gmcl.benchmark.arm.Arm` in a module that can be imported.
        seeds: how many, or which. The first two run every strength of a tuned arm; the one with the best mean AUC, or
            Dice, on validation is the strength of all.
        steps: student steps of GMCL, 32 real images each, or 8 with masks; arms of equal compute get more.
        splits: where to measure: ``held_out`` (images of ``train`` that a seed did not draw), or folders of
            ``data_dir`` such as ``test``, to be read once, at the end.
        channels: of the images, 1 or 3. Default: 3; with masks the images' own.
        crop: centre to keep, pixels.
        size: to resize to, pixels.
        upright: the images have an up and a down (X-rays): small moves instead of flips and quarter turns.
        centered: the centre makes the label (PCam): nothing shifts or zooms.
        spatial_dims: 2, or 3 for NIfTI volumes. Default: 2; with masks the images' own.
        pictures: whether the report shows images of the data set.
        workers: processes of one thread each.
        device: where they train, ``cpu`` or ``cuda``. Times are compared only among runs on one kind of machine.
        intensity_range: the files' numbers that become 0 and 1, as (0, 4095); see ``image_transforms``.
        patch: with masks, the side of the patches that the student learns from; it labels images window by window.
            Default: whole images, which then have sides that are multiples of 4.

    Raises:
        ConfigurationError, DataError: an unknown arm, an n that classes cannot share evenly, a missing folder, a
            package that is not installed.
    """
    command = _command(**locals())
    check_installed("scipy", "pandas")
    # Here: the other commands of monai_gmcl do without the packages that reports need.
    from monai_gmcl.benchmark.comparison import data_options, run_comparison

    options = data_options(data_dir, channels, crop, size, upright, centered, spatial_dims, intensity_range, patch)
    n = ((1, 5) if options.masks else (100, 500)) if n is None else n
    out = str(out)  # fire reads 2024 as a number
    # fire reads several names as one text where a colon is among them.
    arms = [name.strip() for name in arms.split(",")] if isinstance(arms, str) else arms
    run_comparison(options, Path(out), n, arms, seeds, steps, splits, workers, device, command, arms_of(arms))
    report(out, pictures)


def _command(**arguments: object) -> str:
    """Return the shell line of a call, from whatever place it was made."""
    given = [word for name, value in arguments.items() if value is not None for word in (f"--{name}", str(value))]
    return shlex.join(["python", "-m", "monai_gmcl", "compare", *given])
