# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_gmcl.data import image_transforms, open_data, prediction_datalist, read_csv_datalist
from monai_gmcl.data.faults import Fault
from monai_gmcl.data.image_files import read_volume
from monai_gmcl.data_check import check_source
from monai_gmcl.exceptions import DataError

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import FileDataset, FileMetaDataset  # noqa: E402
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid  # noqa: E402

Change = Callable[[list[Any]], None]


def series(folder: Path, values: np.ndarray, change: Change = lambda slices: None) -> Path:
    """Write a volume ``(W, H, D)`` as axial slices of 0.5 x 0.7 mm at 2 mm; x to the left, y to the back (LPS)."""
    uid, slices = generate_uid(), []
    for k in range(values.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        one.SOPClassUID, one.SOPInstanceUID, one.SeriesInstanceUID = CTImageStorage, generate_uid(), uid
        one.Modality, one.PatientID, one.InstanceNumber = "CT", "1", k + 1
        one.ImagePositionPatient, one.ImageOrientationPatient = [0, 0, 2.0 * k], [1, 0, 0, 0, 1, 0]
        one.PixelSpacing, one.RescaleSlope, one.RescaleIntercept = [0.7, 0.5], 2, -1024
        one.Columns, one.Rows = values.shape[:2]
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated = one.BitsStored = 16
        one.HighBit, one.PixelRepresentation = 15, 0
        one.PixelData = np.ascontiguousarray(values[:, :, k].T, dtype=np.uint16).tobytes()
        slices.append(one)
    change(slices)
    folder.mkdir(parents=True)
    for k, one in enumerate(slices):
        # Names say nothing about the order.
        one.save_as(folder / f"{(k * 7) % 11:02d}.dcm", enforce_file_format=True)
    return folder


def numbers(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1000, (5, 6, 4))


def test_a_series_is_a_volume_in_its_units_to_the_right_the_front_and_up(tmp_path: Path) -> None:
    values = numbers()
    found = read_volume(series(tmp_path / "[a] series", values))
    assert not isinstance(found, Fault)
    array, meta = found
    # LPS to RAS: the first two axes turn round.
    np.testing.assert_array_equal(array, values[::-1, ::-1] * 2.0 - 1024)
    np.testing.assert_allclose(np.diag(meta["affine"])[:3], [0.5, 0.7, 2.0], rtol=1e-6)


def test_class_folders_of_series_are_opened_checked_and_read(tmp_path: Path) -> None:
    for label in ("ill", "well"):
        for k in range(5):
            series(tmp_path / "data" / label / f"p{k}" / "ct", numbers(k + (label == "ill") * 10))
    assert not check_source(str(tmp_path / "data")).errors
    data = open_data(tmp_path / "data")
    items = [*data.training, *data.validation, *data.test]
    assert (data.spatial_dims, data.channels, data.class_names, len(items)) == (3, 1, ["ill", "well"], 10)
    assert {item["group"] for item in items} == {f"p{k}" for k in range(5)}
    image = image_transforms(3, 1, size=4, spacing=1.0, intensity_range=(-1024, 974))(items[0])["image"]
    assert image.shape == (1, 4, 4, 4) and image.min() >= 0 and image.max() <= 1
    assert len(prediction_datalist(tmp_path / "data")) == 10


def test_a_series_alone_is_predicted_and_a_table_may_name_its_folder(tmp_path: Path) -> None:
    folder = series(tmp_path / "ct", numbers())
    assert prediction_datalist(folder) == [{"image": str(folder)}]
    (tmp_path / "list.csv").write_text("image,label\nct,ill\n")
    assert read_csv_datalist(tmp_path / "list.csv")[0] == [{"image": str(folder), "label": 0}]


CHANGES: dict[str, tuple[Change, str]] = {
    "a slice lacks": (lambda slices: slices.pop(1), "at equal distances"),
    "two series": (lambda slices: setattr(slices[0], "SeriesInstanceUID", "1.2"), "one series in a folder"),
    "no order": (lambda slices: delattr(slices[2], "InstanceNumber"), "InstanceNumber"),
    "no place": (lambda slices: delattr(slices[2], "ImagePositionPatient"), "ImagePositionPatient"),
    "other sizes": (lambda slices: setattr(slices[2], "Rows", 5), "Rows"),
    "several frames": (lambda slices: [setattr(one, "NumberOfFrames", 2) for one in slices], "one frame"),
    "no pixels": (lambda slices: [delattr(one, "PixelData") for one in slices], "readable"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_series_that_is_not_whole_is_refused(tmp_path: Path, kind: str) -> None:
    change, told = CHANGES[kind]
    found = read_volume(series(tmp_path / "ct", numbers(), change))
    assert isinstance(found, Fault) and told in found.expected


def test_a_series_over_the_limit_is_refused(tmp_path: Path) -> None:
    found = read_volume(series(tmp_path / "ct", numbers()), pixel_limit=119)
    assert isinstance(found, Fault) and found.kind == "pixel_limit"


def test_without_pydicom_the_error_names_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series(tmp_path / "data" / "ill" / "p1", numbers())
    monkeypatch.setattr("monai_gmcl.data.dicom_series.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"DICOM .*monai_gmcl\[dicom\]"):
        open_data(tmp_path / "data")
