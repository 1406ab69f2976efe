# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_gmcl.data import image_transforms, open_segmentation_data, prediction_datalist
from monai_gmcl.data.channel_files import files_of, join_channels
from monai_gmcl.data_check import check_source
from monai_gmcl.exceptions import DataError

SHAPE = (8, 9, 10)


def put(path: Path, value: int, shape: tuple[int, ...] = SHAPE, shift: float = 0.0) -> None:
    """Write a volume whose numbers go from the value up by one along the first axis."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[0, 3] = shift
    values = np.broadcast_to(value + np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1)), shape)
    nibabel.save(nibabel.Nifti1Image(values.astype(np.int16), affine), path)


@pytest.fixture
def nnunet(tmp_path: Path) -> Path:
    """Six cases of two channels, as nnU-Net has them."""
    for case in range(6):
        for channel in range(2):
            put(tmp_path / "set" / "imagesTr" / f"c{case}_000{channel}.nii.gz", 100 * case + 50 * channel)
            put(tmp_path / "set" / "imagesTs" / f"t{case}_000{channel}.nii.gz", 100 * case + 50 * channel)
        mask = np.zeros(SHAPE, np.uint8)
        mask[:4, case : case + 2] = 1
        (tmp_path / "set" / "labelsTr").mkdir(exist_ok=True)
        nibabel.save(
            nibabel.Nifti1Image(mask, np.diag([1, 1, 2, 1])), tmp_path / "set" / "labelsTr" / f"c{case}.nii.gz"
        )
    record = {"channel_names": {"0": "T1", "1": "FLAIR"}, "labels": {"background": 0, "lesion": 1}}
    (tmp_path / "set" / "dataset.json").write_text(json.dumps(record))
    return tmp_path / "set"


def test_files_become_one_path_and_come_back() -> None:
    paths = ["a/c_0000.nii.gz", "a/c_0001.nii.gz"]
    assert join_channels(paths) == "a/c_{0000,0001}.nii.gz"
    for several in (paths, ["x/flair.nii", "x/t1.nii"], ["p/1/t1.nii.gz", "p/2/t1.nii.gz"]):
        assert files_of(str(join_channels(several))) == several
    assert files_of("a/c_0000.nii.gz") == ["a/c_0000.nii.gz"]
    assert join_channels(["c_0000.png", "c_0001.png"]) is join_channels(["c_0.nii", "c_1.nii.gz"]) is None


def test_a_file_with_braces_in_its_name_is_itself(tmp_path: Path) -> None:
    put(tmp_path / "c_{0,1}.nii.gz", 0)
    assert files_of(tmp_path / "c_{0,1}.nii.gz") == [str(tmp_path / "c_{0,1}.nii.gz")]


def test_nnunets_channels_are_read_as_one_image(nnunet: Path) -> None:
    data = open_segmentation_data(nnunet)
    assert (data.spatial_dims, data.channels, data.class_names) == (3, 2, ["background", "lesion"])
    assert sum(len(part) for part in (data.training, data.validation, data.test)) == 6
    item = data.training[0]
    read = image_transforms(3, 2, intensity_range=(0, 1000), mask_key="label")(item)
    case = int(Path(item["label"]).name[1])
    assert read["image"].shape == (2, *SHAPE) and read["label"].shape == (1, *SHAPE)
    assert read["image"][:, 0, 0, 0].tolist() == pytest.approx([case / 10, case / 10 + 0.05])
    assert Path(read["image"].meta["filename_or_obj"]).is_file()
    assert [len(files_of(one["image"])) for one in prediction_datalist(nnunet / "imagesTs")] == [2] * 6


def test_a_datalist_has_the_channels_in_a_list(nnunet: Path) -> None:
    rows = [
        {"image": [f"imagesTr/c{case}_000{channel}.nii.gz" for channel in (1, 0)], "label": f"labelsTr/c{case}.nii.gz"}
        for case in range(6)
    ]
    (nnunet / "list.json").write_text(json.dumps({"training": rows}))
    data = open_segmentation_data(nnunet / "list.json")
    assert data.channels == 2 and "c_" not in data.training[0]["image"]
    assert [name[-8] for name in files_of(data.training[0]["image"])] == ["1", "0"]
    assert len(prediction_datalist(nnunet / "list.json")) == 6


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda put: put(shape=(8, 9, 11)), r"8 x 9 x 10 voxels, as in .*c0_0000.*found 8 x 9 x 11"),
        (lambda put: put(shift=5.0), "Expected the affine of .*c0_0000.*c0_0001"),
        (lambda put: put(shape=(*SHAPE, 2)), "Expected one channel .*c0_0001.*found 8 x 9 x 10 x 2"),
    ],
)
def test_channels_that_do_not_fit_are_named(nnunet: Path, spoil: Callable[..., None], found: str) -> None:
    spoil(lambda **how: put(nnunet / "imagesTr" / "c0_0001.nii.gz", 0, **how))
    with pytest.raises(DataError, match=found):
        open_segmentation_data(nnunet)


def test_a_missing_channel_and_other_channel_names_are_found(nnunet: Path) -> None:
    (nnunet / "imagesTr" / "c0_0001.nii.gz").unlink()
    with pytest.raises(DataError, match="Expected 2 channels"):
        open_segmentation_data(nnunet)
    (nnunet / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1", "1": "T2", "2": "FLAIR"}}))
    faults = [fault for fault in check_source(nnunet).faults if fault.kind == "channels"]
    assert len(faults) >= 5 and "3 channels, as in the channel_names of dataset.json" in faults[0].expected
