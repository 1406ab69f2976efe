# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures that a person must inspect before a synthetic data set is shared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai.utils.type_conversion import convert_to_tensor

from monai_gmcl.exceptions import DataError
from monai_gmcl.metrics import Memorization
from monai_gmcl.names import csv_cell, csv_text
from monai_gmcl.reporting.image_sheet import SheetRow, image_sheet
from monai_gmcl.synthesis.image_files import read_image
from monai_gmcl.synthesis.out_folder import write_atomically
from monai_gmcl.synthesis.real_images import RealImages

__all__ = ["check_review_dir", "write_review"]

PICTURE, TABLE = "closest_pairs.png", "closest_pairs.csv"
PAIRS = 12


def check_review_dir(folder: Path, overwrite: bool) -> None:
    """Raise DataError if the folder has files of an earlier review."""
    for path in (folder / PICTURE, folder / TABLE):
        if path.exists() and not overwrite:
            raise DataError(
                f"Expected no earlier review in {str(folder)!r}, found {path.name!r}. Use another folder, or "
                "--overwrite."
            )
    if folder.exists() and not folder.is_dir():
        raise DataError(f"Expected a folder as review_dir, found the file {str(folder)!r}.")


def write_review(
    folder: Path,
    found: Memorization,
    files: Sequence[Path],
    real: RealImages,
    intensity_range: tuple[float, float] | None,
) -> None:
    """Write the synthetic images that are closest to real images, together with these real images, for inspection.

    ``closest_pairs.png`` shows the twelve closest pairs, ``closest_pairs.csv`` lists all synthetic images with the file
    of the nearest real one, the closest first. This folder contains real images and their names. Do not share it.
    """
    order = found.closest(len(files))
    nearest = found.nearest.tolist()
    lines = []
    for i in order:
        names = [csv_cell(str(file)) for file in (files[i], real.data[nearest[i]]["image"])]
        lines.append([*names, f"{found.distances[i]:.6f}", int(found.flagged[i])])
    write_atomically(folder / TABLE, csv_text(["synthetic", "nearest_real", "distance", "flagged"], lines))
    rows = []
    for i in order[:PAIRS]:
        real_file = real.data[nearest[i]]["image"]
        name = f"{found.distances[i]:.4f}: real {_short(real_file)}, then synthetic {_short(files[i])}"
        image = convert_to_tensor(real.seen(nearest[i]), track_meta=False)
        rows.append(SheetRow(name, [[image, read_image(files[i], intensity_range)]]))
    write_atomically(folder / PICTURE, image_sheet(rows))


def _short(path: str | Path) -> str:
    return "/".join(Path(path).parts[-2:])
