# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""Fuzzing: whatever stands in a file, the readers return or raise an error of the family.

Short by default; ``pytest -m slow`` goes on for ten minutes and more.
"""

from __future__ import annotations

import gzip
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from monai_gmcl.data.datalists import read_csv_datalist, read_json_datalist
from monai_gmcl.data.faults import Fault
from monai_gmcl.data.loading import ReadImaged
from monai_gmcl.data_check import check_source
from monai_gmcl.data_check.looks import Look, look_at
from monai_gmcl.exceptions import DataError

LIMIT = 10**6


def _encoded(values: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    (values if isinstance(values, Image.Image) else Image.fromarray(values)).save(file, **options)
    return file.getvalue()


def _seeds() -> dict[str, bytes]:
    rgb = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    volume = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    nifti = nibabel.Nifti1Image(volume, np.eye(4))
    second = nibabel.Nifti2Image((volume * 100).astype(np.int16), np.eye(4))
    second.header.set_slope_inter(2.0, 1.0)
    return {
        "rgb.png": _encoded(rgb, format="PNG", exif=exif),
        "palette.png": _encoded(Image.fromarray(rgb).quantize(8), format="PNG"),
        "deep.png": _encoded(rgb[..., 0].astype(np.uint16) * 257, format="PNG"),
        "frames.png": _encoded(
            Image.fromarray(rgb), format="PNG", save_all=True, append_images=[Image.new("RGB", (9, 7))]
        ),
        "rgb.jpg": _encoded(rgb, format="JPEG", exif=exif),
        "cmyk.jpg": _encoded(Image.fromarray(rgb).convert("CMYK"), format="JPEG"),
        "steps.jpg": _encoded(rgb, format="JPEG", progressive=True),
        "plain.tif": _encoded(rgb, format="TIFF"),
        "lzw.tif": _encoded(rgb, format="TIFF", compression="tiff_lzw"),
        "jpeg.tif": _encoded(rgb, format="TIFF", compression="jpeg"),
        "fax.tif": _encoded(Image.fromarray(rgb).convert("1"), format="TIFF", compression="group4"),
        "one.nii": nifti.to_bytes(),
        "two.nii": second.to_bytes(),
        "packed.nii.gz": second.to_bytes(),
    }


SEEDS = _seeds()


@st.composite
def damaged_files(draw: st.DrawFn) -> tuple[str, bytes]:
    """A good image with bytes changed, cut out, doubled or put in."""
    name = draw(st.sampled_from(sorted(SEEDS)))
    content = bytearray(SEEDS[name])
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.one_of(st.integers(0, min(len(content), 400)), st.integers(0, len(content))))
        kind = draw(st.sampled_from(["flip", "set", "cut", "end", "insert", "double"]))
        if kind == "flip" and place < len(content):
            content[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set":
            value = draw(
                st.sampled_from([b"\0", b"\xff", b"\x7f\xff\xff\xff", b"\xff" * 4, b"\0" * 4, b"\0\0\x80\x7f"])
            )
            content[place : place + len(value)] = value
        elif kind == "cut":
            del content[place : place + draw(st.integers(1, 64))]
        elif kind == "end":
            del content[place:]
        elif kind == "insert":
            content[place:place] = draw(st.binary(max_size=32))
        elif kind == "double":
            content[place:place] = content[place : place + 64]
    return name, bytes(content)


def _read_damaged(folder: Path, file: tuple[str, bytes]) -> None:
    name, content = file
    path = folder / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    dims = 3 if ".nii" in name else 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = ReadImaged("image", dims, 1, LIMIT)({"image": path})["image"]
        except DataError as error:
            assert name in str(error) and "\n" not in str(error)
            if "channels" not in str(error):  # the check takes any number of them
                assert isinstance(look_at(str(path), LIMIT), Fault)
        else:
            assert image.ndim == dims + 1 and bool(image.isfinite().all())
            assert isinstance(look_at(str(path), LIMIT), Look)


Value = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["a.png", "b.png", "image", "label", "..", "/", "a.png/", "\0", "\ud800", "x" * 5000, 0, 1, "nan"]),
)
Nested = st.recursive(
    Value,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
Row = st.one_of(
    Nested,
    st.fixed_dictionaries({"image": Nested, "label": Nested}, optional={"group": Nested}),
    st.fixed_dictionaries({"image": st.sampled_from(["a.png", "b.png"]), "label": Nested}, optional={"group": Nested}),
)
Content = st.one_of(
    Nested,
    st.dictionaries(st.sampled_from(["training", "validation", "test", "name"]), st.lists(Row, max_size=6) | Nested),
)
Cell = st.one_of(
    st.text(max_size=12), st.sampled_from(["a.png", "b.png", "0", "1", "-1", "", '"', ",", "\n", "\0", "\r"])
)
Table = st.tuples(
    st.sampled_from(
        ["image,label", "image,label,group", "label,image", "image", "", "\ufeffimage,label", "image,label,label"]
    ),
    st.lists(st.lists(Cell, max_size=4).map(",".join), max_size=6).map("\n".join),
).map("\n".join)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz")
    for name in ("a.png", "b.png"):
        (path / name).write_bytes(SEEDS["rgb.png"] if name == "a.png" else SEEDS["deep.png"])
    return path


def _read_json(folder: Path, content: Any) -> None:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    _read_list(folder / "list.json", text, read_json_datalist)


def _read_csv(folder: Path, content: str | bytes, group: bool) -> None:
    text = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    column = "group" if group else None
    _read_list(folder / "list.csv", text, lambda path: read_csv_datalist(path, group_column=column), column)


def _read_list(path: Path, text: bytes, read: Callable[[Path], Any], group: str | None = None) -> None:
    path.write_bytes(text)
    try:
        items, names = read(path)
    except DataError as error:
        assert path.name in str(error)
        assert check_source(path, group, pixel_limit=LIMIT).errors, "What the reader refuses, the check must find."
    else:
        assert items and all(Path(item["image"]).is_file() for item in items)
        assert all(isinstance(item["label"], list) or 0 <= item["label"] < len(names) for item in items)
    report = check_source(path, group, pixel_limit=LIMIT)
    json.dumps(report.to_json())
    assert report.table().splitlines()[-1] == report.summary()


LENGTHS = pytest.mark.parametrize("examples", [80, pytest.param(20000, marks=pytest.mark.slow)])


def _for_all(examples: int, strategy: st.SearchStrategy[Any], check: Callable[[Any], None]) -> None:
    """Check so many examples: few are always the same, many are new ones each time."""
    options = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
    settings(max_examples=examples, derandomize=examples < 1000, **options)(given(strategy)(lambda file: check(file)))()


@LENGTHS
def test_a_damaged_image_is_read_or_refused_by_name(folder: Path, examples: int) -> None:
    _for_all(examples, damaged_files(), lambda file: _read_damaged(folder, file))


@LENGTHS
def test_any_json_is_read_or_refused(folder: Path, examples: int) -> None:
    _for_all(examples, st.one_of(Content, st.binary(max_size=200)), lambda content: _read_json(folder, content))


@LENGTHS
def test_any_table_is_read_or_refused(folder: Path, examples: int) -> None:
    tables = st.tuples(st.one_of(Table, st.binary(max_size=200)), st.booleans())
    _for_all(examples, tables, lambda table: _read_csv(folder, *table))
