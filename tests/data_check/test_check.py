# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""Every kind of bad image and folder, put into a good data set one at a time; tables are in test_check_tables.py."""

from __future__ import annotations

import logging
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from monai_gmcl.data.opening import open_data
from monai_gmcl.data_check import check_data, check_parts, check_source
from monai_gmcl.exceptions import ConfigurationError, DataError

RGB = np.random.default_rng(1).integers(0, 256, (12, 12, 3), dtype=np.uint8)
WHITE = np.full((12, 12, 3), 255, dtype=np.uint8)
BAD = "train/cat/bad"
NOISE = np.random.default_rng(5).normal(size=(4, 5, 6, 2))

NOISE_IMAGE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
READABLE = "expected a readable PNG, JPEG or TIFF image"


def _cut(path: Path, share: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, bits: int, color: int) -> bytes:
    """The header of a PNG without pixels."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(b"")) + _chunk(b"IEND", b"")


def _write(path: Path, values: Any, **options: Any) -> Path:
    (values if isinstance(values, Image.Image) else Image.fromarray(values)).save(path, **options)
    return path


def _with(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(_write(path, RGB).read_bytes()))


def _several(path: Path) -> None:
    second = Image.fromarray(RGB[::-1].copy())
    _write(path, RGB, save_all=True, append_images=[second])


def _flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def _words(content: bytes) -> bytes:
    return content[:33] + _chunk(b"zTXt", b"comment\0\0" + zlib.compress(b"a" * 2**26)) + content[33:]


def _other_type(path: Path, values: np.ndarray) -> Path:
    return _write(path, values.reshape(12, 12))


Case = tuple[str, Callable[[Path], object], str, str]
# By what is wrong: the file's suffix, what spoils it, the kind of the fault, and what is told.
ERRORS: dict[str, Case] = {
    "nothing": (".png", Path.touch, "empty_file", f"found an empty file; {READABLE}"),
    "text": (".jpg", lambda p: p.write_text("an image, in words"), "not_an_image", f"an unknown format; {READABLE}"),
    "notes": (".txt", lambda p: p.write_text("notes"), "not_an_image", "found 'bad.txt'; expected only images (.png"),
    "subfolder": ("", Path.mkdir, "not_an_image", "found 'bad'; expected only images (.png, .jpg"),
    "folder": (".png", Path.mkdir, "not_an_image", f"found a folder; {READABLE}"),
    "bmp": (".png", lambda p: _write(p, RGB, format="BMP"), "not_an_image", f"an unknown format; {READABLE}"),
    "postscript": (".png", lambda p: p.write_text("%!PS-Adobe-3.0 EPSF-3.0\n"), "not_an_image", READABLE),
    "cut_png": (".png", lambda p: _cut(_write(p, NOISE_IMAGE)), "truncated", "found a damaged file ("),
    "cut_jpeg": (".jpg", lambda p: _cut(_write(p, NOISE_IMAGE)), "truncated", "found a damaged file ("),
    "cut_tiff": (".tif", lambda p: _cut(_write(p, RGB), 0.8), "truncated", "found a damaged file ("),
    "flipped_bit": (".png", lambda p: _with(p, _flip), "unreadable", "found a damaged file ("),
    "bomb": (".png", lambda p: Image.new("1", (12000, 12000)).save(p), "pixel_limit", "at most 67,108,864 pixels"),
    "huge": (".png", lambda p: p.write_bytes(_png(2**31 - 1, 9, 8, 2)), "pixel_limit", "found 2,147,483,647 x 9"),
    "bomb_of_words": (".png", lambda p: _with(p, _words), "unreadable", "found a damaged file (ValueError"),
    "floats": (
        ".tif",
        lambda p: _write(p, NOISE[..., 0, 0].astype(np.float32)),
        "pixel_type",
        "found floating-point values; expected 8 or 16",
    ),
    "deep": (".tif", lambda p: _other_type(p, np.arange(144, dtype=np.int32) * 10**6), "pixel_type", "to 143000000"),
    "negative": (".tif", lambda p: _other_type(p, np.arange(144, dtype=np.int32) - 5), "pixel_type", "from -5 to 138"),
    "lab": (
        ".tif",
        lambda p: Image.new("LAB", (12, 12)).save(p),
        "pixel_type",
        "found the image mode LAB; expected gray or",
    ),
    "pages": (".tif", _several, "pages", "found several pages or frames; expected one image"),
    "frames": (".png", _several, "pages", "found several pages or frames; expected one image"),
    "link": (".png", lambda p: p.symlink_to(p.parent / "gone.png"), "not_an_image", f"a broken link; {READABLE}"),
    "circle": (".png", lambda p: p.symlink_to(p), "not_an_image", f"found a broken link; {READABLE}"),
    "pipe": (".png", os.mkfifo, "not_an_image", f"found no regular file; {READABLE}"),
    "volume": (".nii.gz", lambda p: _volume(p, RGB), "dimensions", "found a volume; expected images, like most"),
    "leak": (".png", lambda p: shutil.copy(p.parents[2] / "valid/cat/1.png", p), "leak", "' in training; expected"),
    "leak_as_tiff": (".tif", lambda p: _write(p, Image.open(p.parents[2] / "test/dog/1.png")), "leak", "' in training"),
    "two_labels": (".png", lambda p: shutil.copy(p.parents[1] / "dog/1.png", p), "two_labels", "labeled 0 and 1"),
}
NAMED = {"leak": "valid/cat/1.png", "leak_as_tiff": "test/dog/1.png", "two_labels": "train/dog/1.png"}
"""The file that is named where it is not the one that was spoiled."""
WARNINGS: dict[str, Case] = {
    "constant": (".png", lambda p: _write(p, WHITE), "constant", "found the same value in every pixel"),
    "grey": (".png", lambda p: _write(p, RGB[..., 0].copy()), "pixel_mix", "found gray; expected RGB, like most"),
    "deep": (".png", lambda p: _write(p, RGB[..., 0].astype(np.uint16) * 257), "pixel_mix", "found 16-bit gray"),
    "one_bit": (".png", lambda p: _write(p, Image.fromarray(RGB).convert("1")), "pixel_mix", "found 1 bit"),
    "palette": (".png", lambda p: _write(p, Image.fromarray(RGB).quantize(16)), "pixel_mix", "found palette"),
    "cmyk": (".jpg", lambda p: _write(p, Image.fromarray(RGB).convert("CMYK")), "pixel_mix", "found CMYK"),
    "alpha": (".png", lambda p: _write(p, Image.fromarray(RGB).convert("RGBA")), "pixel_mix", "found RGB with alpha"),
    "see_through": (".png", lambda p: _write(p, RGB, transparency=(*map(int, RGB[3, 4]),)), "transparent", "opaque"),
    "jpeg": (
        ".png",
        lambda p: _write(p, RGB, format="JPEG"),
        "wrong_suffix",
        "found JPEG; expected PNG, as its suffix",
    ),
    "larger": (".png", lambda p: _write(p, np.tile(RGB, (8, 1, 1))), "size", "found 96 x 12; expected 12 x 12"),
    "twice": (".png", lambda p: shutil.copy(p.parent / "1.png", p), "duplicate", "twice; expected each image once"),
    "outside": (
        ".png",
        lambda p: p.symlink_to(_write(p.parents[3] / "x.png", RGB)),
        "outside",
        "expected files inside",
    ),
}


@pytest.mark.parametrize(
    ("severity", "name"), [*(("error", name) for name in ERRORS), *(("warning", name) for name in WARNINGS)]
)
def test_a_bad_or_odd_file_is_named_with_what_was_found_expected_and_to_do(
    folders: Path, severity: str, name: str
) -> None:
    suffix, spoil, kind, told = (ERRORS if severity == "error" else WARNINGS)[name]
    spoil(folders / f"{BAD}{suffix}")
    report = check_source(folders)
    file = NAMED.get(name, f"{BAD}{suffix}")
    found = report.errors if severity == "error" else report.faults
    expected = (kind, str(folders / file), severity == "error")
    assert [(fault.kind, fault.file, fault.is_error) for fault in found] == [expected]
    line = next(line for line in report.table().splitlines() if line.startswith(severity))
    assert file in line and told in line and found[0].remedy in line


def test_a_link_to_a_device_is_not_read(folders: Path) -> None:
    (folders / f"{BAD}.png").symlink_to("/dev/zero")
    report = check_source(folders)
    assert [(fault.kind, fault.found) for fault in report.faults] == [
        ("not_an_image", "no regular file"),
        ("outside", "'/dev/zero'"),
    ]


def test_a_good_data_set_has_no_faults(folders: Path) -> None:
    report = check_source(folders)
    assert report.faults == () and report.images == 36
    assert report.table() == f"36 images in {str(folders)!r}: 0 errors, 0 warnings"


@pytest.mark.parametrize(
    ("spoil", "kind", "file", "found"),
    [
        (lambda data: shutil.rmtree(data / "train"), "layout", ".", "test, valid"),
        (lambda data: shutil.copytree(data / "valid", data / "Validation"), "layout", ".", "Validation, valid"),
        (lambda data: (data / "valid/dog").rename(data / "valid/cow"), "layout", "valid", "cat, cow"),
        (lambda data: (data / "train/wolf").mkdir(), "empty_class", "train/wolf", "none"),
        (lambda data: shutil.rmtree(data), "missing", ".", "no file or folder"),
        (lambda data: [shutil.rmtree(path) for path in data.iterdir()], "layout", ".", "none"),
    ],
    ids=["no_training", "two_validations", "other_classes", "empty_class", "no_folder", "empty_folder"],
)
def test_a_bad_folder_is_named(folders: Path, spoil: Callable[[Path], Any], kind: str, file: str, found: str) -> None:
    spoil(folders)
    report = check_source(folders)
    assert (kind, str(folders / file), found) in [(fault.kind, fault.file, fault.found) for fault in report.errors]


def test_what_stands_beside_class_folders_and_single_images_are_warned_of(
    folders: Path, picture: Callable[..., Path]
) -> None:
    picture(folders / "train" / "lost.png")
    for index in range(1, 4):
        (folders / "valid" / "dog" / f"{index}.png").unlink()
    report = check_source(folders)
    assert [(fault.kind, fault.file, fault.found) for fault in report.faults] == [
        ("single_image", str(folders), "one image"),
        ("stray", str(folders / "train" / "lost.png"), "an image outside of them"),
    ]
    assert report.faults[0].expected == "several images of 'dog' in validation"


def test_all_faults_are_told_of_at_once_and_alike_ones_in_one_line(folders: Path) -> None:
    for number, (suffix, spoil, *_) in enumerate((*ERRORS.values(), *WARNINGS.values())):
        spoil(folders / f"train/cat/bad{number}{suffix}")
    report = check_source(folders)
    assert {fault.kind for fault in report.faults} == {kind for _, _, kind, _ in (*ERRORS.values(), *WARNINGS.values())}
    lines = report.table().splitlines()
    assert len(lines) - 2 < len(report.faults)
    assert lines[-1].endswith(f"{len(report.errors)} errors, {len(report.warnings)} warnings")
    severities = [line.split()[0] for line in lines[1:-1]]
    assert severities == sorted(severities)


def test_the_pixel_limit_is_the_users(folders: Path) -> None:
    assert [fault.kind for fault in check_source(folders, pixel_limit=143).errors] == ["pixel_limit"] * 36
    assert check_source(folders, pixel_limit=144).faults == ()


def test_above_pillows_own_limits_the_users_holds(folders: Path, recwarn: pytest.WarningsRecorder) -> None:
    """Pillow warns above 89 million pixels and refuses twice as many."""
    (folders / f"{BAD}.png").write_bytes(_png(14000, 14000, 1, 0))
    assert [fault.kind for fault in check_source(folders).faults] == ["pixel_limit"]
    assert [fault.kind for fault in check_source(folders, pixel_limit=14000**2 - 1).faults] == ["pixel_limit"]
    assert [fault.kind for fault in check_source(folders, pixel_limit=14000**2).faults] == ["truncated"]
    assert not recwarn.list


@pytest.mark.parametrize("limit", [0, -1, 1.5, "many", True])
def test_a_pixel_limit_that_is_no_count_is_refused(folders: Path, limit: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"pixel_limit must be a whole number of at least 1, got {limit!r}"):
        check_source(folders, pixel_limit=limit)


def test_class_names_say_which_folders_must_be_there(folders: Path) -> None:
    report = check_source(folders, class_names=["cat", "cow"])
    assert {(fault.kind, fault.expected) for fault in report.errors} == {("layout", "the class folders cat, cow")}


def test_sizes_that_differ_everywhere_stand_out_by_their_median(tmp_path: Path, picture: Callable[..., Path]) -> None:
    for name in ("cat", "dog"):
        for side in range(20, 30):
            picture(tmp_path / name / f"{side}.png", (side, side + 10))
    assert check_source(tmp_path).faults == ()
    picture(tmp_path / "cat" / "small.png", (24, 5))
    (fault,) = check_source(tmp_path).faults
    assert (fault.kind, fault.found, fault.expected) == ("size", "24 x 5", "about 24 x 34, the median,")


def test_white_images_are_no_leak(folders: Path) -> None:
    for place in ("train/cat", "valid/dog"):
        _write(folders / place / "white.png", WHITE)
    assert {fault.kind for fault in check_source(folders).faults} == {"constant"}


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for name in ("benign", "malignant"):
        (tmp_path / "volumes" / name).mkdir(parents=True)
        for index in range(10):
            _volume(tmp_path / "volumes" / name / f"{index}.nii.gz", generator.normal(size=(4, 5, 6)))
    return tmp_path / "volumes"


def _volume(path: Path, values: Any) -> None:
    nibabel.save(nibabel.Nifti1Image(np.asarray(values).astype(np.float32), np.eye(4)), path)


@pytest.mark.parametrize(
    ("values", "kind", "told"),
    [
        (np.where(NOISE[..., 0] > 1, np.nan, 0), "not_finite", "found NaN or infinity; expected finite values"),
        (np.where(NOISE[..., 0] > 1, np.inf, 0), "not_finite", "found NaN or infinity; expected finite values"),
        (NOISE, "channels", "found 2; expected 1 channels, like most"),
        (np.zeros((4, 5, 6)), "constant", "found the same value in every pixel; expected different pixel values"),
        (np.tile(NOISE[..., 0], (9, 1, 1)), "size", "found 36 x 5 x 6; expected 4 x 5 x 6, like most"),
        (NOISE[:, :, 0, 0], "dimensions", "found shape (4, 5); expected 3 dimensions, or 4 with channels"),
    ],
    ids=["nan", "infinity", "channels", "constant", "size", "dimensions"],
)
def test_a_bad_volume_is_named(volumes: Path, values: Any, kind: str, told: str) -> None:
    assert check_source(volumes).faults == ()
    _volume(volumes / "benign" / "bad.nii.gz", values)
    report = check_source(volumes)
    assert [(fault.kind, Path(fault.file).name) for fault in report.faults] == [(kind, "bad.nii.gz")]
    assert told in report.table()


@pytest.mark.parametrize(
    ("content", "kind", "told"),
    [
        (b"", "empty_file", "found an empty file; expected a readable NIfTI volume"),
        (b"no volume" * 100, "not_an_image", "found an unknown format; expected a readable NIfTI volume"),
    ],
)
def test_a_file_that_is_no_volume_is_named(volumes: Path, content: bytes, kind: str, told: str) -> None:
    (volumes / "benign" / "bad.nii.gz").write_bytes(content)
    report = check_source(volumes)
    assert [fault.kind for fault in report.faults] == [kind]
    assert told in report.table()


def test_a_truncated_volume_is_named(volumes: Path) -> None:
    _volume(volumes / "benign" / "bad.nii", NOISE[..., 0])
    _cut(volumes / "benign" / "bad.nii", 0.9)
    _volume(volumes / "benign" / "bad.nii.gz", np.random.default_rng(0).normal(size=(20, 20, 20)))
    _cut(volumes / "benign" / "bad.nii.gz")
    assert [(fault.kind, Path(fault.file).name) for fault in check_source(volumes).faults] == [
        ("truncated", "bad.nii"),
        ("truncated", "bad.nii.gz"),
    ]


def test_a_volume_that_claims_too_many_voxels_is_not_decoded(volumes: Path) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((30000, 30000, 30000))
    with open(volumes / "benign" / "bad.nii", "wb") as file:
        header.write_to(file)
    (fault,) = check_source(volumes).faults
    assert (fault.kind, fault.found) == ("pixel_limit", "30,000 x 30,000 x 30,000")
    assert fault.expected == "1 to 536,870,912 voxels"


def test_before_a_training_errors_raise_and_the_table_is_logged(
    folders: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = open_data(folders)
    assert check_data(data, folders).faults == () and not caplog.records
    for index in range(6):
        Path(data.training[index]["image"]).write_bytes(b"")
    with pytest.raises(DataError) as caught:
        check_data(data, folders)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"36 images in {str(folders)!r}: 6 errors, 0 warnings."
    assert lines[1].startswith("train/cat/0.png: found an empty file; expected a readable PNG")
    assert lines[-1] == f"2 more errors: see python -m monai_gmcl validate {folders}"
    assert len(lines) == 6
    assert caplog.records[0].levelno == logging.ERROR
    assert "train/cat/0.png and 5 more" in caplog.text


def test_before_a_training_warnings_are_logged_and_it_goes_on(folders: Path, caplog: pytest.LogCaptureFixture) -> None:
    _write(folders / f"{BAD}.png", WHITE)
    report = check_data(open_data(folders))
    assert [fault.kind for fault in report.warnings] == ["constant"]
    assert caplog.records[0].levelno == logging.WARNING and "train/cat/bad.png" in caplog.text


def test_a_split_keeps_the_same_pixels_on_one_side(tmp_path: Path, picture: Callable[..., Path]) -> None:
    for name in ("cat", "dog"):
        for index in range(5):
            path = picture(tmp_path / name / f"{index}.png")
            for copy in range(3):
                shutil.copy(path, tmp_path / name / f"{index}_{copy}.png")
    assert {fault.kind for fault in check_source(tmp_path).faults} == {"duplicate"}
    assert {fault.kind for fault in check_data(open_data(tmp_path)).faults} == {"duplicate"}
    assert {fault.kind for fault in check_data(open_data(tmp_path, check=False)).faults} == {"duplicate"}


def test_a_patient_in_two_parts_is_an_error(folders: Path) -> None:
    data = open_data(folders)
    parts = {
        "training": [{**item, "group": f"p{index % 3}"} for index, item in enumerate(data.training)],
        "validation": [{**item, "group": f"p{index + 2}"} for index, item in enumerate(data.validation)],
    }
    (fault,) = check_parts(parts, data.class_names, folders).faults
    assert (fault.kind, fault.file) == ("group_leak", data.validation[0]["image"])
    assert (fault.found, fault.expected) == (
        "'p2' also in training",
        "a patient or slide that only the part validation has",
    )


def test_a_multi_label_task_counts_the_images_of_each_label(folders: Path) -> None:
    data = open_data(folders)
    training = [{**item, "label": [1.0, float(index == 4), 0.0]} for index, item in enumerate(data.training)]
    report = check_parts({"training": training}, ["edema", "mass", "nodule"], folders)
    assert [(fault.kind, fault.expected, fault.found) for fault in report.faults] == [
        ("empty_class", "images of 'nodule' in training", "none"),
        ("single_image", "several images of 'mass' in training", "one image"),
    ]
