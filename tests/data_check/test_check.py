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
BAD = "train/cat/bad"


def _cut(path: Path, share: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _write(path: Path, values: Any, **options: Any) -> Path:
    Image.fromarray(values).save(path, **options)
    return path


def _nothing(path: Path) -> None:
    path.with_suffix(".png").touch()


def _text(path: Path) -> None:
    path.with_suffix(".jpg").write_text("an image, in words")


def _notes(path: Path) -> None:
    path.with_suffix(".txt").write_text("notes")


def _subfolder(path: Path) -> None:
    path.mkdir()


def _folder_named_like_an_image(path: Path) -> None:
    path.with_suffix(".png").mkdir()


def _other_format(path: Path) -> None:
    _write(path.with_suffix(".png"), RGB, format="BMP")


def _postscript(path: Path) -> None:
    path.with_suffix(".png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n")


def _cut_png(path: Path) -> None:
    _cut(_write(path.with_suffix(".png"), np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)))


def _cut_jpeg(path: Path) -> None:
    _cut(_write(path.with_suffix(".jpg"), np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)))


def _cut_tiff(path: Path) -> None:
    _cut(_write(path.with_suffix(".tif"), RGB), 0.8)


def _flipped_bit(path: Path) -> None:
    content = bytearray(_write(path.with_suffix(".png"), RGB).read_bytes())
    content[len(content) // 2] ^= 1
    path.with_suffix(".png").write_bytes(content)


def _bomb(path: Path) -> None:
    Image.new("1", (12000, 12000)).save(path.with_suffix(".png"))


def _huge_bomb(path: Path) -> None:
    header = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)
    data = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"")) + _chunk(b"IEND", b"")
    path.with_suffix(".png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def _bomb_of_words(path: Path) -> None:
    content = _write(path.with_suffix(".png"), RGB).read_bytes()
    words = _chunk(b"zTXt", b"comment\0\0" + zlib.compress(b"a" * 2**26))
    path.with_suffix(".png").write_bytes(content[:33] + words + content[33:])


def _floating_point(path: Path) -> None:
    _write(path.with_suffix(".tif"), np.random.default_rng(0).random((12, 12), dtype=np.float32))


def _deep(path: Path) -> None:
    _write(path.with_suffix(".tif"), np.arange(144, dtype=np.int32).reshape(12, 12) * 10**6)


def _negative(path: Path) -> None:
    _write(path.with_suffix(".tif"), np.arange(144, dtype=np.int32).reshape(12, 12) - 5)


def _pages(path: Path) -> None:
    pages = [Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())]
    pages[0].save(path.with_suffix(".tif"), save_all=True, append_images=pages[1:])


def _frames(path: Path) -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())]
    frames[0].save(path.with_suffix(".png"), save_all=True, append_images=frames[1:])


def _lab(path: Path) -> None:
    Image.frombytes("LAB", (12, 12), RGB.tobytes()).save(path.with_suffix(".tif"))


def _link_to_nothing(path: Path) -> None:
    path.with_suffix(".png").symlink_to(path.parent / "gone.png")


def _link_in_a_circle(path: Path) -> None:
    path.with_suffix(".png").symlink_to(path.with_suffix(".png"))


def _pipe(path: Path) -> None:
    os.mkfifo(path.with_suffix(".png"))


def _device(path: Path) -> None:
    path.with_suffix(".png").symlink_to("/dev/zero")


def _volume_among_images(path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(RGB.astype(np.float32), np.eye(4)), path.with_suffix(".nii.gz"))


def _leak(path: Path) -> None:
    shutil.copy(path.parents[2] / "valid" / "cat" / "1.png", path.with_suffix(".png"))


def _leak_in_another_format(path: Path) -> None:
    with Image.open(path.parents[2] / "test" / "dog" / "1.png") as image:
        image.save(path.with_suffix(".tif"))


def _two_labels(path: Path) -> None:
    shutil.copy(path.parents[1] / "dog" / "1.png", path.with_suffix(".png"))


ERRORS = [
    (_nothing, "empty_file", f"{BAD}.png", "found an empty file; expected a readable PNG, JPEG or TIFF image"),
    (_text, "not_an_image", f"{BAD}.jpg", "found something else; expected a readable PNG, JPEG or TIFF image"),
    (_notes, "not_an_image", f"{BAD}.txt", "found 'bad.txt'; expected only images (.png, .jpg"),
    (_subfolder, "not_an_image", BAD, "found 'bad'; expected only images (.png, .jpg"),
    (_folder_named_like_an_image, "not_an_image", f"{BAD}.png", "found a folder; expected a readable PNG"),
    (_other_format, "not_an_image", f"{BAD}.png", "found something else; expected a readable PNG, JPEG or TIFF"),
    (_postscript, "not_an_image", f"{BAD}.png", "found something else; expected a readable PNG, JPEG or TIFF"),
    (_cut_png, "truncated", f"{BAD}.png", "found damage (OSError: image file is truncated"),
    (_cut_jpeg, "truncated", f"{BAD}.jpg", "found damage (OSError: image file is truncated"),
    (_cut_tiff, "truncated", f"{BAD}.tif", "found damage ("),
    (_flipped_bit, "unreadable", f"{BAD}.png", "found damage ("),
    (_bomb, "pixel_limit", f"{BAD}.png", "found 12,000 x 12,000; expected at most 67,108,864 pixels"),
    (_huge_bomb, "pixel_limit", f"{BAD}.png", "found 2,147,483,647 x 2,147,483,647; expected at most 67,108,864"),
    (_bomb_of_words, "unreadable", f"{BAD}.png", "found damage (ValueError: Decompressed data too large"),
    (_floating_point, "pixel_type", f"{BAD}.tif", "found floating point; expected 8 or 16 bits"),
    (_deep, "pixel_type", f"{BAD}.tif", "found 32: values from 0 to 143000000; expected 8 or 16 bits"),
    (_negative, "pixel_type", f"{BAD}.tif", "found 32: values from -5 to 138; expected 8 or 16 bits"),
    (_lab, "pixel_type", f"{BAD}.tif", "found the mode LAB; expected grey or color"),
    (_pages, "pages", f"{BAD}.tif", "found several pages or frames; expected one image"),
    (_frames, "pages", f"{BAD}.png", "found several pages or frames; expected one image"),
    (_link_to_nothing, "not_an_image", f"{BAD}.png", "found a link to nothing; expected a readable PNG"),
    (_link_in_a_circle, "not_an_image", f"{BAD}.png", "found a link to nothing; expected a readable PNG"),
    (_pipe, "not_an_image", f"{BAD}.png", "found no regular file; expected a readable PNG"),
    (_volume_among_images, "dimensions", f"{BAD}.nii.gz", "found a volume; expected images, like most"),
    (_leak, "leak", "valid/cat/1.png", "/train/cat/bad.png' in training; expected images that only validation has"),
    (_leak_in_another_format, "leak", "test/dog/1.png", "/train/cat/bad.tif' in training; expected images that only"),
    (_two_labels, "two_labels", "train/dog/1.png", "/train/cat/bad.png' labeled 0 and 1; expected one label"),
]


@pytest.mark.parametrize(("spoil", "kind", "file", "told"), ERRORS, ids=[case[0].__name__[1:] for case in ERRORS])
def test_a_bad_file_is_an_error_that_names_it(
    folders: Path, spoil: Callable[[Path], None], kind: str, file: str, told: str
) -> None:
    spoil(folders / BAD)
    report = check_source(folders)
    assert [(fault.kind, fault.file) for fault in report.errors] == [(kind, str(folders / file))]
    line = next(line for line in report.table().splitlines() if line.startswith("error"))
    assert file in line and told in line and report.errors[0].remedy in line


def _constant(path: Path) -> None:
    _write(path.with_suffix(".png"), np.full((12, 12, 3), 255, dtype=np.uint8))


def _grey(path: Path) -> None:
    _write(path.with_suffix(".png"), RGB[..., 0].copy())


def _grey_of_16_bits(path: Path) -> None:
    _write(path.with_suffix(".png"), RGB[..., 0].astype(np.uint16) * 257)


def _one_bit(path: Path) -> None:
    Image.fromarray(RGB[..., 0]).convert("1").save(path.with_suffix(".png"))


def _palette(path: Path) -> None:
    Image.fromarray(RGB).quantize(16).save(path.with_suffix(".png"))


def _cmyk(path: Path) -> None:
    Image.fromarray(RGB).convert("CMYK").save(path.with_suffix(".jpg"))


def _opaque_alpha(path: Path) -> None:
    Image.fromarray(RGB).convert("RGBA").save(path.with_suffix(".png"))


def _transparent_color(path: Path) -> None:
    _write(path.with_suffix(".png"), RGB, transparency=tuple(int(value) for value in RGB[3, 4]))


def _jpeg_named_png(path: Path) -> None:
    _write(path.with_suffix(".png"), RGB, format="JPEG")


def _larger(path: Path) -> None:
    _write(path.with_suffix(".png"), np.random.default_rng(0).integers(0, 256, (90, 12, 3), dtype=np.uint8))


def _twice(path: Path) -> None:
    shutil.copy(path.parent / "1.png", path.with_suffix(".png"))


def _link_outside(path: Path) -> None:
    outside = _write(path.parents[3] / "outside.png", RGB)
    path.with_suffix(".png").symlink_to(outside)


WARNINGS = [
    (_constant, "constant", f"{BAD}.png", "found the same value in every pixel; expected a picture"),
    (_grey, "pixel_mix", f"{BAD}.png", "found grey; expected RGB, like most"),
    (_grey_of_16_bits, "pixel_mix", f"{BAD}.png", "found grey of 16 bits; expected RGB, like most"),
    (_one_bit, "pixel_mix", f"{BAD}.png", "found 1 bit; expected RGB, like most"),
    (_palette, "pixel_mix", f"{BAD}.png", "found palette; expected RGB, like most"),
    (_cmyk, "pixel_mix", f"{BAD}.jpg", "found CMYK; expected RGB, like most"),
    (_opaque_alpha, "pixel_mix", f"{BAD}.png", "found RGB with alpha; expected RGB, like most"),
    (_transparent_color, "transparent", f"{BAD}.png", "found transparent ones; expected opaque pixels"),
    (_jpeg_named_png, "wrong_suffix", f"{BAD}.png", "found JPEG; expected PNG, as its name says"),
    (_larger, "size", f"{BAD}.png", "found 90 x 12; expected 12 x 12, like most"),
    (_twice, "duplicate", f"{BAD}.png", "/train/cat/1.png' again; expected each image once"),
    (_link_outside, "outside", f"{BAD}.png", "/outside.png'; expected files inside of"),
]


@pytest.mark.parametrize(("spoil", "kind", "file", "told"), WARNINGS, ids=[case[0].__name__[1:] for case in WARNINGS])
def test_an_odd_file_is_a_warning_that_names_it(
    folders: Path, spoil: Callable[[Path], None], kind: str, file: str, told: str
) -> None:
    spoil(folders / BAD)
    report = check_source(folders)
    assert [(fault.kind, fault.file) for fault in report.faults] == [(kind, str(folders / file))]
    line = next(line for line in report.table().splitlines() if line.startswith("warning"))
    assert file in line and told in line and report.warnings[0].remedy in line


def test_a_link_to_a_device_is_not_read(folders: Path) -> None:
    _device(folders / BAD)
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
        ("single_image", str(folders), "a single one"),
        ("stray", str(folders / "train" / "lost.png"), "one beside them"),
    ]
    assert report.faults[0].expected == "images of 'dog' in validation"


def test_all_faults_are_told_of_at_once_and_alike_ones_in_one_line(folders: Path) -> None:
    for spoil, *_ in (*ERRORS, *WARNINGS):
        spoil(folders / "train" / "cat" / spoil.__name__)
    report = check_source(folders)
    assert {fault.kind for fault in report.faults} == {kind for _, kind, *_ in (*ERRORS, *WARNINGS)}
    lines = report.table().splitlines()
    assert len(lines) - 2 < len(report.faults)
    assert any("_bomb.png" in line for line in lines)
    assert lines[-1].endswith(f"{len(report.errors)} errors, {len(report.warnings)} warnings")
    severities = [line.split()[0] for line in lines[1:-1]]
    assert severities == sorted(severities)


def test_the_pixel_limit_is_the_users(folders: Path) -> None:
    assert [fault.kind for fault in check_source(folders, pixel_limit=143).errors] == ["pixel_limit"] * 36
    assert check_source(folders, pixel_limit=144).faults == ()


def test_above_pillows_own_limits_the_users_holds(folders: Path, recwarn: pytest.WarningsRecorder) -> None:
    """Pillow warns above 89 million pixels and refuses twice as many."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 14000, 14000, 1, 0, 0, 0, 0))
    data = header + _chunk(b"IDAT", zlib.compress(b"")) + _chunk(b"IEND", b"")
    (folders / f"{BAD}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    assert [fault.kind for fault in check_source(folders).faults] == ["pixel_limit"]
    assert [fault.kind for fault in check_source(folders, pixel_limit=14000**2 - 1).faults] == ["pixel_limit"]
    assert [fault.kind for fault in check_source(folders, pixel_limit=14000**2).faults] == ["truncated"]
    assert not recwarn.list


@pytest.mark.parametrize("limit", [0, -1, 1.5, "many", True])
def test_a_pixel_limit_that_is_no_count_is_refused(folders: Path, limit: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"pixel_limit must be a whole number from 1, got {limit!r}"):
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
        _constant(folders / place / "white")
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


NOISE = np.random.default_rng(5).normal(size=(4, 5, 6, 2))


@pytest.mark.parametrize(
    ("values", "kind", "told"),
    [
        (np.where(NOISE[..., 0] > 1, np.nan, 0), "not_finite", "found NaN or infinity; expected numbers"),
        (np.where(NOISE[..., 0] > 1, np.inf, 0), "not_finite", "found NaN or infinity; expected numbers"),
        (NOISE, "channels", "found 2; expected 1 channels, like most"),
        (np.zeros((4, 5, 6)), "constant", "found the same value in every pixel; expected a picture"),
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
        (b"no volume" * 100, "not_an_image", "found something else; expected a readable NIfTI volume"),
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


def test_a_volume_of_colors_is_refused(volumes: Path) -> None:
    colors = np.zeros((4, 5, 6), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colors, np.eye(4)), volumes / "benign" / "bad.nii")
    (fault,) = check_source(volumes).faults
    assert (fault.kind, fault.expected) == ("pixel_type", "real numbers")


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
    assert lines[-1] == f"... and 2 more: python -m monai_gmcl validate {folders}"
    assert len(lines) == 6
    assert caplog.records[0].levelno == logging.ERROR
    assert "train/cat/0.png and 5 more" in caplog.text


def test_before_a_training_warnings_are_logged_and_it_goes_on(folders: Path, caplog: pytest.LogCaptureFixture) -> None:
    _constant(folders / BAD)
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
    assert (fault.found, fault.expected) == ("'p2' in training too", "a patient or slide that only validation has")


def test_a_multi_label_task_counts_the_images_of_each_label(folders: Path) -> None:
    data = open_data(folders)
    training = [{**item, "label": [1.0, float(index == 4), 0.0]} for index, item in enumerate(data.training)]
    report = check_parts({"training": training}, ["edema", "mass", "nodule"], folders)
    assert [(fault.kind, fault.expected, fault.found) for fault in report.faults] == [
        ("empty_class", "images of 'nodule' in training", "none"),
        ("single_image", "images of 'mass' in training", "a single one"),
    ]
