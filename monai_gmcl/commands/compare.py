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
    """Compare GMCL with other small-data methods on a data set, at equal compute, and write the report.

    Runs that are already in ``out`` are not repeated. To compare several data sets, call the command once for each with
    the same ``out``; the report covers all of them. ``python -m monai_gmcl report`` writes the report again from the
    finished runs, also while a comparison is running.

    Args:
        data_dir: folder with ``train`` and ``valid`` (or ``val``, ``validation``), each with class folders, and with
            the folders that ``splits`` names. Images with masks are accepted in all layouts of
            ``monai_gmcl.data.open_segmentation_data``; they are compared by the mean Dice.
        out: folder of the results. It gets one ``runs/*.json`` for each run, and the report. Its folder ``pictures``
            has the training images of each arm's last step with seed 0, and a ``.gitignore``.
        n: number of labeled images, one or several numbers. Default: 100 and 500, or 1 and 5 images with masks.
        arms: names of methods, or ``module:NAME`` of your own ``monai_gmcl.benchmark.arm.Arm`` in an importable module.
            The names are ``standard``, ``strong``, ``trivial_augment``, ``frozen`` and ``gmcl``.
        seeds: number of seeds, or a list of seeds. For methods with a tuned strength, the first two seeds run every
            strength, and all seeds use the strength with the best mean AUC (or Dice) on the validation images.
        steps: optimizer steps of GMCL's student, each with 32 real images, or 8 with masks. Methods of equal compute
            get as many steps as cost the same FLOPs.
        splits: images for the evaluation. ``held_out`` are the images of ``train`` that the runs of a seed do not use.
            Other names are folders of ``data_dir``, such as ``test``, which should be used only once, at the end.
        channels: image channels, 1 or 3. Default: 3; with masks, the channels of the images.
        crop: side of the center crop, in pixels. Default: no crop.
        size: side to which images are resized, in pixels. Default: no resizing.
        upright: whether the images have a fixed orientation (such as X-rays). They are then not flipped or turned by
            quarters, only moved a little.
        centered: whether the label depends on the center of the image (such as PCam). Images are then not shifted or
            zoomed.
        spatial_dims: 2, or 3 for NIfTI volumes. Default: 2; with masks, the dimensions of the images.
        pictures: whether the report shows images of the data set.
        workers: number of parallel processes, each with one thread.
        device: device of the training, ``cpu`` or ``cuda``. Times are compared only between runs on the same kind of
            machine.
        intensity_range: the lowest and highest file value, which become 0 and 1, such as ``(0, 4095)``.
        patch: with masks, the side of the patches on which the student is trained. Whole images are then predicted with
            sliding windows. Without it, the student is trained on whole images, whose sides must be multiples of 4.

    Raises:
        ConfigurationError, DataError: an arm is unknown, ``n`` cannot be divided evenly by the number of classes, a
            folder is missing, or a package is not installed.
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
