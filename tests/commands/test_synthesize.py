# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader, load_decathlon_datalist
from PIL import Image

import monai_gmcl
from monai_gmcl.commands.synthesize import synthesize
from monai_gmcl.data import image_transforms, open_data
from monai_gmcl.exceptions import ConfigurationError, DataError, LabelError
from monai_gmcl.teachers import ImageTeacher, LatentTeacher, PolicyTeacher, save_teacher

AFFINE = np.array([[0, -1.5, 0, 10], [2, 0, 0.3, -4], [0, 0, 3, 7], [0, 0, 0, 1.0]])


def write_patches(folder: Path, names=("Jane_1950", "tumor"), count=6, size=16, channels=3) -> Path:
    generator = np.random.default_rng(0)
    for level, name in zip((90, 150), names, strict=True):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            shape = (size, size, 3) if channels == 3 else (size, size)
            pixels = generator.normal(level, 30, shape).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"patient_{i}.png")
    return folder


def write_volumes(folder: Path, count=4, size=None) -> Path:
    generator = np.random.default_rng(0)
    for name in ("normal", "lesion"):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            shape = (10, 9, 8) if size is None else (size, size, size)
            volume = nib.Nifti1Image(generator.random(shape, dtype=np.float32) * 100, AFFINE)
            volume.header["descrip"] = b"Jane Doe 1950"
            nib.save(volume, folder / name / f"patient_{i}.nii.gz")
    return folder


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    return write_patches(tmp_path_factory.mktemp("real") / "patches", ("normal", "tumor"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    return save_teacher(PolicyTeacher(2, 3, 2), path, ["tumor", "normal"], {"difficulty": 0.7})


@pytest.fixture(scope="module")
def finished(teacher, sources, tmp_path_factory) -> tuple[Path, Path]:
    """A set of 2 x 12 images, and its review."""
    folder = tmp_path_factory.mktemp("out")
    synthesize(str(teacher), str(folder / "set"), str(sources), 12, review_dir=str(folder / "review"))
    return folder / "set", folder / "review"


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def test_a_set_holds_images_lists_contact_sheet_and_card(finished):
    found = content(finished[0])
    images = [name for name in found if name.startswith("images")]
    assert sorted(set(found) - set(images)) == sorted(
        ["README.md", "contact_sheet.png", "datalist.json", "manifest.csv", "synthesis.json"]
    )
    assert images == sorted(f"images/{name}/{i:05d}.png" for name in ("normal", "tumor") for i in range(12))
    picture = Image.open(finished[0] / images[0])
    assert picture.size == (16, 16) and picture.mode == "RGB"
    assert picture.text["Comment"] == "synthetic, not for diagnosis; monai_gmcl PolicyTeacher"


@pytest.mark.parametrize(("name", "log_odds", "share"), [("flip", -60.0, 1 / 50), ("quarter_turn", 60.0, 2.0)])
def test_images_are_flipped_and_turned_as_often_as_was_learned(name, log_odds, share, sources, tmp_path):
    teacher = PolicyTeacher(2, 3, 2, include=[name])
    with torch.no_grad():
        teacher.log_odds.fill_(log_odds)
    path = save_teacher(teacher, tmp_path / "teacher.safetensors", ["normal", "tumor"])
    synthesize(str(path), str(tmp_path / "set"), str(sources), 60)
    real = [np.asarray(Image.open(file)) for file in sources.rglob("*.png")]
    made = [np.asarray(Image.open(file)) for file in (tmp_path / "set" / "images").rglob("*.png")]
    turned = [
        [np.rot90(image, k) for image in real for k in (1, 2, 3)],
        [np.flip(image, k) for image in real for k in (0, 1)],
    ]
    unchanged = sum(any(np.array_equal(image, one) for one in real) for image in made)
    changed = sum(any(np.array_equal(image, one) for one in turned[name == "flip"]) for image in made)
    assert len(made) == 120 and changed + unchanged == 120
    p = share / (1 + share)
    assert changed == pytest.approx(120 * p, abs=4 * (120 * p * (1 - p)) ** 0.5)


def test_the_datalist_trains_as_it_is(finished):
    file = finished[0] / "datalist.json"
    data = open_data(file)
    assert data.num_classes == 2 and data.channels == 3
    # labels in the order of the teacher's names
    assert {item["label"] == 0 for item in data.training if "/tumor/" in item["image"]} == {True}
    # a split keeps images of one source together
    parts = [{item["group"] for item in part} for part in (data.training, data.validation, data.test)]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and len(set.union(*parts)) == 12
    listed = load_decathlon_datalist(str(file), is_segmentation=False)
    loader = DataLoader(CacheDataset(listed, image_transforms(2, 3), progress=False), batch_size=24)
    (batch,) = loader
    assert batch["image"].shape == (24, 3, 16, 16) and batch["label"].tolist() == [0] * 12 + [1] * 12
    assert json.loads(file.read_text())["labels"] == {"0": "tumor", "1": "normal"}


def test_the_manifest_has_label_seed_and_hash_of_each_image(finished):
    found = rows(finished[0] / "manifest.csv")
    assert [row["class"] for row in found] == ["tumor"] * 12 + ["normal"] * 12
    assert len({row["seed"] for row in found}) == 24
    for row in found:
        assert hashlib.sha256((finished[0] / row["image"]).read_bytes()).hexdigest() == row["sha256"]
    # six sources a class, twelve images
    assert all(sum(row["group"] == other["group"] for other in found) == 2 for row in found)


def test_the_card_says_what_the_set_is_and_what_it_is_made_of(finished, teacher):
    card = (finished[0] / "README.md").read_text()
    facts = (
        "not for diagnosis",
        "not anonymous",
        "PolicyTeacher",
        '{"difficulty": 0.7}',
        "3 x 16 x 16",
        "| tumor | 12 | 6 |",
    )
    assert [fact for fact in (*facts, f"torch {torch.__version__}") if fact not in card] == []
    assert "Memorization" not in card, "It is claimed of teachers that make images from labels alone."


def test_nothing_that_is_shared_names_or_shows_a_real_image(tmp_path):
    real = write_patches(tmp_path / "real")
    teacher = save_teacher(PolicyTeacher(2, 3, 2), tmp_path / "t.safetensors", ["a", "b"])
    with (tmp_path / "list.csv").open("w") as file:
        file.write("image,label,patient\n")
        for path in sorted(real.rglob("*.png")):
            file.write(f"{path},{'a' if 'Jane' in str(path) else 'b'},Jane Doe {path.stem[-1]}\n")
    arguments = {"group_column": "patient", "review_dir": str(tmp_path / "review"), "difficulty": 0.01}
    synthesize(str(teacher), str(tmp_path / "out"), str(tmp_path / "list.csv"), 4, **arguments)
    shared = b"".join(name.encode() + data for name, data in content(tmp_path / "out").items())
    assert not any(word in shared for word in (b"Jane", b"patient_", b"Doe", b"review", str(tmp_path).encode()))
    groups = [row["group"] for row in rows(tmp_path / "out" / "manifest.csv")]
    # one patient, two classes: the same group; else the split would part them
    assert len(set(groups)) < 8 and set(groups) == {f"source {k + 1}" for k in range(len(set(groups)))}
    assert b"Jane" in (tmp_path / "review" / "closest_pairs.csv").read_bytes()


def test_the_review_shows_the_closest_pairs(finished, sources):
    found = rows(finished[1] / "closest_pairs.csv")
    assert len(found) == 24
    distances = [float(row["distance"]) for row in found]
    assert distances == sorted(distances)
    ours, theirs = (
        torch.from_numpy(np.asarray(Image.open(found[0][key])).astype(float) / 255)
        for key in ("synthetic", "nearest_real")
    )
    # 16 pixels stand four times each in the 32 that are compared
    assert distances[0] == pytest.approx(float((ours - theirs).square().mean().sqrt()), abs=1e-5)
    assert Path(found[0]["nearest_real"]).is_relative_to(sources)
    assert Image.open(finished[1] / "closest_pairs.png").height > 1000


def test_the_same_arguments_give_the_same_bytes(finished, teacher, sources, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        synthesize(str(teacher), str(tmp_path / "again"), str(sources), 12)
    finally:
        torch.set_num_threads(threads)
    assert content(tmp_path / "again") == content(finished[0])


@pytest.mark.gate
@pytest.mark.parametrize(
    ("dims", "per_class", "kill_at"),
    [
        (2, 150, 40),
        pytest.param(2, 500, 500, marks=pytest.mark.slow, id="1,000 patches"),
        pytest.param(3, 10, 10, marks=pytest.mark.slow, id="20 volumes"),
    ],
)
def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_bytes(dims, per_class, kill_at, tmp_path):
    if dims == 2:
        kind, real, teacher = "png", write_patches(tmp_path / "real", size=48), PolicyTeacher(2, 3, 2)
    else:
        kind, real, teacher = "nii.gz", write_volumes(tmp_path / "real", size=64), ImageTeacher(3, 1, 2)
    file = save_teacher(teacher, tmp_path / "teacher.safetensors", sorted(path.name for path in real.iterdir()))
    arguments = {"source": real, "per_class": per_class, "seed": 3}
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "monai_gmcl", "synthesize", f"--teacher={file}", f"--out={out}"]
    command += [f"--{name}={value}" for name, value in arguments.items()]
    path = os.pathsep.join([str(Path(monai_gmcl.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(out.rglob(f"*.{kind}"))) < kill_at and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    written = {name: (out / name).stat().st_mtime_ns for name in content(out) if name.endswith(kind)}
    assert kill_at <= len(written) < 2 * per_class
    # as a write that the kill came upon leaves it
    last = out / "images" / sorted(path.name for path in real.iterdir())[1]
    last.mkdir(exist_ok=True)
    (last / f".{per_class - 1:05d}.{kind}.part").write_bytes(b"half")
    synthesize(str(file), str(out), **{**arguments, "source": str(real)})
    synthesize(str(file), str(tmp_path / "whole"), **{**arguments, "source": str(real)})
    assert content(out) == content(tmp_path / "whole")
    assert len(list((out / "images").rglob(f"*.{kind}"))) == 2 * per_class
    assert all((out / name).stat().st_mtime_ns == then for name, then in written.items()), "Nothing is made twice."


@pytest.mark.parametrize("last", ["synthesis.json", "images/normal/00003.png", "datalist.json", "contact_sheet.png"])
def test_a_run_goes_on_from_wherever_it_was_cut_off(last, finished, teacher, sources, tmp_path, monkeypatch):
    from monai_gmcl.synthesis import out_folder

    write = out_folder.write_atomically

    def write_until(path, written):
        write(path, written)
        if path == tmp_path / "out" / last:
            raise KeyboardInterrupt

    monkeypatch.setattr(out_folder, "write_atomically", write_until)
    with pytest.raises(KeyboardInterrupt):
        synthesize(str(teacher), str(tmp_path / "out"), str(sources), 12)
    monkeypatch.undo()
    synthesize(str(teacher), str(tmp_path / "out"), str(sources), 12)
    assert content(tmp_path / "out") == content(finished[0])


def test_a_finished_set_is_overwritten_only_when_told_so(teacher, sources, tmp_path):
    out = tmp_path / "out"
    synthesize(str(teacher), str(out), str(sources), 3, review_dir=str(tmp_path / "review"))
    before = content(out)
    with pytest.raises(DataError, match="has a finished set .*--overwrite"):
        synthesize(str(teacher), str(out), str(sources), 2)
    assert content(out) == before
    synthesize(str(teacher), str(out), str(sources), 2, seed=1, overwrite=True)
    synthesize(str(teacher), str(tmp_path / "new"), str(sources), 2, seed=1)
    assert content(out) == content(tmp_path / "new")


def test_the_beginning_of_another_set_is_not_gone_on_with(teacher, sources, tmp_path):
    out = tmp_path / "out"
    synthesize(str(teacher), str(out), str(sources), 2)
    (out / "README.md").unlink()
    with pytest.raises(DataError, match="unfinished set .*seed was 0, now 1.*--overwrite"):
        synthesize(str(teacher), str(out), str(sources), 2, seed=1)
    real = write_patches(tmp_path / "real", ("normal", "tumor"), count=2)
    with pytest.raises(DataError, match="source_sha256 was"):
        synthesize(str(teacher), str(out), str(real), 2)


def test_an_overwriting_run_that_was_cut_off_leaves_nothing_of_the_old_set(teacher, sources, tmp_path, monkeypatch):
    from monai_gmcl.synthesis import out_folder

    out = tmp_path / "out"
    synthesize(str(teacher), str(out), str(sources), 3)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(out_folder.shutil, "rmtree", stop)
    with pytest.raises(KeyboardInterrupt):
        synthesize(str(teacher), str(out), str(sources), 3, seed=1, overwrite=True)
    monkeypatch.undo()
    with pytest.raises(DataError, match="unfinished set"):
        synthesize(str(teacher), str(out), str(sources), 3, seed=1)
    synthesize(str(teacher), str(out), str(sources), 3, seed=1, overwrite=True)
    synthesize(str(teacher), str(tmp_path / "new"), str(sources), 3, seed=1)
    assert content(out) == content(tmp_path / "new")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_something_else_is_never_touched(overwrite, teacher, sources, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="found 'thesis.tex'"):
        synthesize(str(teacher), str(tmp_path), str(sources), 2, overwrite=overwrite)
    with pytest.raises(DataError, match="found the file"):
        synthesize(str(teacher), str(tmp_path / "thesis.tex"), str(sources), 2, overwrite=overwrite)
    assert content(tmp_path) == {"thesis.tex": b"years of work"}


def test_an_earlier_review_is_overwritten_only_when_told_so(teacher, sources, tmp_path):
    arguments = {"source": str(sources), "per_class": 2, "review_dir": str(tmp_path / "review")}
    synthesize(str(teacher), str(tmp_path / "one"), **arguments)
    with pytest.raises(DataError, match="found 'closest_pairs.png'.*--overwrite"):
        synthesize(str(teacher), str(tmp_path / "two"), **arguments)
    assert not (tmp_path / "two").exists()
    synthesize(str(teacher), str(tmp_path / "two"), **arguments, overwrite=True)


def test_images_are_made_from_labels_alone(tmp_path):
    torch.manual_seed(0)
    names = ["plain", "../odd", "Plain"]
    teacher = save_teacher(LatentTeacher(2, 1, 3, image_size=8, channels=2), tmp_path / "t.safetensors", names)
    synthesize(str(teacher), str(tmp_path / "out"), per_class=2)
    found = content(tmp_path / "out")
    # no name leads out of the folder, and none that differ in case alone share one
    assert [name for name in found if name.endswith("0.png")] == [
        *("images/1_odd/00000.png", "images/2_Plain/00000.png", "images/plain/00000.png"),
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "t.safetensors"]
    card = found["README.md"].decode()
    assert "were made from labels and random numbers alone" in card and "not anonymous" not in card
    assert "Not measured: no real images were given (`--source`)." in card
    assert {row["group"] for row in rows(tmp_path / "out" / "manifest.csv")} == {""}
    assert Image.open(tmp_path / "out" / "images" / "plain" / "00000.png").mode == "L"


def test_memorization_is_measured_of_images_from_labels_alone(tmp_path):
    torch.manual_seed(0)
    teacher = LatentTeacher(2, 3, 2, image_size=8, channels=2)
    path = save_teacher(teacher, tmp_path / "t.safetensors", ["normal", "tumor"])
    synthesize(str(path), str(tmp_path / "as_if_real"), per_class=8, seed=5)
    # trained images that come out again: the first eight of each class
    synthesize(
        str(path),
        str(tmp_path / "out"),
        str(tmp_path / "as_if_real" / "images"),
        per_class=8,
        seed=5,
        review_dir=str(tmp_path / "review"),
    )
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Memorization: 100.0% of the images" in card
    assert "| synthetic to real | 0.0000 | 0.0000 | 0.0000 |" in card
    assert {row["flagged"] for row in rows(tmp_path / "review" / "closest_pairs.csv")} == {"1"}


def test_volumes_are_written_with_the_geometry_of_their_sources_and_nothing_else(tmp_path):
    real = write_volumes(tmp_path / "real")
    teacher = save_teacher(ImageTeacher(3, 1, 2), tmp_path / "t.safetensors", ["normal", "lesion"])
    synthesize(str(teacher), str(tmp_path / "out"), str(real), 3, intensity_range=(0, 100))
    files = sorted((tmp_path / "out").rglob("*.nii.gz"))
    assert len(files) == 6
    turned = nib.as_closest_canonical(nib.load(next(real.rglob("*.nii.gz"))))
    for file in files:
        volume = nib.load(file)
        np.testing.assert_allclose(volume.affine, turned.affine)
        assert volume.shape == turned.shape == (9, 10, 8) and volume.get_data_dtype() == np.float32
        assert bytes(volume.header["descrip"]).startswith(b"synthetic, not for diagnosis")
    data = open_data(tmp_path / "out" / "datalist.json")
    assert data.spatial_dims == 3
    assert image_transforms(3, 1, intensity_range=(0, 100))(data.training[0])["image"].shape == (1, 9, 10, 8)
    assert "| shape | 1 x 9 x 10 x 8 |" in (tmp_path / "out" / "README.md").read_text()


def test_volumes_are_written_in_the_unit_of_their_sources(tmp_path):
    real = write_volumes(tmp_path / "real", 1)
    teacher = save_teacher(
        ImageTeacher(3, 1, 2, (-1, 1), [0.2], [0.5]), tmp_path / "t.safetensors", ["normal", "lesion"]
    )
    synthesize(str(teacher), str(tmp_path / "out"), str(real), 1, difficulty=0, intensity_range=(0, 100))
    for name in ("normal", "lesion"):
        source, copy = (nib.load(next((folder / name).iterdir())) for folder in (real, tmp_path / "out" / "images"))
        np.testing.assert_allclose(copy.get_fdata(), nib.as_closest_canonical(source).get_fdata(), atol=1e-4)
    assert "identical at difficulty 0" in (tmp_path / "out" / "README.md").read_text()


def test_resized_volumes_keep_their_place_in_space(tmp_path):
    real = write_volumes(tmp_path / "real", 2)
    teacher = save_teacher(ImageTeacher(3, 1, 2), tmp_path / "t.safetensors", ["normal", "lesion"])
    synthesize(str(teacher), str(tmp_path / "out"), str(real), 1, size=5)
    volume = nib.load(next((tmp_path / "out").rglob("*.nii.gz")))
    expected = image_transforms(3, 1, size=5)({"image": str(next(real.rglob("*.nii.gz")))})["image"].affine
    np.testing.assert_allclose(volume.affine, expected, rtol=1e-6)
    assert volume.shape == (5, 5, 5) and not np.allclose(volume.affine, AFFINE)


def test_combinations_of_labels_become_classes(tmp_path):
    real = write_patches(tmp_path / "real")
    files = sorted(real.rglob("*.png"))
    items = [{"image": str(path), "label": [i % 2, i // 6, 0]} for i, path in enumerate(files)]
    (tmp_path / "list.json").write_text(json.dumps({"training": items}))
    for name, teacher in (
        ("change", ImageTeacher(2, 3, 3, condition_on_label=True)),
        ("latent", LatentTeacher(2, 3, 3, image_size=8, channels=2)),
    ):
        path = save_teacher(teacher, tmp_path / f"{name}.safetensors", ["mass", "nodule", "fluid"])
        synthesize(str(path), str(tmp_path / name), str(tmp_path / "list.json"), 2)
        found = json.loads((tmp_path / name / "datalist.json").read_text())
        assert [item["label"] for item in found["training"][::2]] == [[0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0]]
        assert [row["class"] for row in rows(tmp_path / name / "manifest.csv")][::2] == [
            *("none", "nodule", "mass", "mass + nodule"),
        ]
        assert open_data(tmp_path / name / "datalist.json", fractions=(0.5, 0.25, 0.25)).num_classes == 3


def test_labels_that_are_numbers_are_the_teacher_s_labels(teacher, tmp_path):
    real = write_patches(tmp_path / "real", ("1", "0"))
    synthesize(str(teacher), str(tmp_path / "out"), str(real), 1)
    assert [row["class"] for row in rows(tmp_path / "out" / "manifest.csv")] == ["tumor", "normal"]


def test_without_names_in_the_teacher_s_file_those_of_the_source_are_taken(sources, tmp_path):
    teacher = save_teacher(PolicyTeacher(2, 3, 2), tmp_path / "t.safetensors")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train").symlink_to(sources)
    synthesize(str(teacher), str(tmp_path / "out"), str(tmp_path / "data"), 1)
    assert [row["class"] for row in rows(tmp_path / "out" / "manifest.csv")] == ["normal", "tumor"]
    assert "| difficulty | 1 |" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    "names", [("=1+1", "<script>alert(1)</script>"), ("+cmd|x!A1", "bad\udcff"), ("@a", "[x](y)\n# z")]
)
def test_names_of_classes_are_neither_formulas_nor_markup(names, tmp_path):
    real = write_patches(tmp_path / "real", ("0", "1"))
    teacher = save_teacher(PolicyTeacher(2, 3, 2), tmp_path / "t.safetensors", names)
    synthesize(str(teacher), str(tmp_path / "out"), str(real), 1)
    classes = [row["class"] for row in rows(tmp_path / "out" / "manifest.csv")]
    assert classes[0] == f"'{names[0]}" and not classes[1].startswith(("=", "+", "@"))
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "<script>" not in card and "[x](y)" not in card and "\n# z" not in card
    # What is read back is as it was.
    labels = json.loads((tmp_path / "out" / "datalist.json").read_text())["labels"]
    assert list(labels.values()) == list(names)


def test_label_leak_is_measured_of_a_teacher_that_sees_the_label(sources, tmp_path):
    torch.manual_seed(0)
    teacher = ImageTeacher(2, 3, 2, condition_on_label=True)
    path = save_teacher(teacher, tmp_path / "t.safetensors")
    synthesize(str(path), str(tmp_path / "out"), str(sources), 1)
    assert (
        "predicts the label from the teacher's changes alone with an AUC of"
        in (tmp_path / "out" / "README.md").read_text()
    )


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"source": None}, ConfigurationError, "PolicyTeacher, changes real images.* --source"),
        ({"source": "nowhere"}, DataError, "a .json datalist as source, found 'nowhere'"),
        ({"per_class": 0}, ConfigurationError, "per_class must be a whole number of at least 1, got 0"),
        ({"per_class": "many"}, ConfigurationError, "per_class must be a whole number of at least 1, got 'many'"),
        ({"seed": -1}, ConfigurationError, "seed must be a whole number of at least 0, got -1"),
        ({"size": (32, "x")}, ConfigurationError, r"size must be a whole number of at least 1, got \(32, 'x'\)"),
        ({"difficulty": -0.5}, ConfigurationError, "difficulty must be a number of at least 0, got -0.5"),
        ({"intensity_range": (1, 0)}, ConfigurationError, r"the lowest and the highest value of .* got \(1, 0\)"),
        ({"intensity_range": (0, 4095)}, ConfigurationError, "of 3 channel.* from 0 to 255, got .* 4095"),
    ],
)
def test_arguments_that_cannot_work_are_refused(changes, error, message, teacher, sources, tmp_path):
    arguments = {"teacher": str(teacher), "out": str(tmp_path / "out"), "source": str(sources), "per_class": 2}
    with pytest.raises(error, match=message):
        synthesize(**{**arguments, **changes})
    assert not (tmp_path / "out").exists()


def test_sources_of_other_channels_than_the_teacher_s_are_refused(teacher, sources, tmp_path):
    grey = write_patches(tmp_path / "grey", ("normal", "tumor"), channels=1)
    with pytest.raises(
        ConfigurationError, match=r"built for images of 3 channel\(s\), and images of the source have 1"
    ):
        synthesize(str(teacher), str(tmp_path / "out"), str(grey), 2)
    for_grey = save_teacher(PolicyTeacher(2, 1, 2), tmp_path / "grey.safetensors")
    with pytest.raises(
        ConfigurationError, match=r"built for images of 1 channel\(s\), and images of the source have 3"
    ):
        synthesize(str(for_grey), str(tmp_path / "out"), str(sources), 2)
    five = save_teacher(PolicyTeacher(2, 5, 2), tmp_path / "five.safetensors")
    with pytest.raises(ConfigurationError, match="makes images of 5 channels. A PNG can have 1 or 3"):
        synthesize(str(five), str(tmp_path / "out"), str(sources), 2)
    volumes = save_teacher(ImageTeacher(3, 2, 2), tmp_path / "volumes.safetensors")
    with pytest.raises(DataError, match=r"Expected 2 channels and 3 dimensions in '.*patient_\d.nii.gz'"):
        synthesize(str(volumes), str(tmp_path / "out"), str(write_volumes(tmp_path / "real", 1)), 2)
    assert not (tmp_path / "out").exists()


def test_labels_outside_the_teacher_s_classes_are_refused(teacher, tmp_path):
    three = write_patches(tmp_path / "three", ("normal", "tumor"))
    (three / "stroma").mkdir()
    Image.new("RGB", (16, 16)).save(three / "stroma" / "a.png")
    with pytest.raises(LabelError, match=r"built for 2 classes \(tumor, normal\), found 3 .*normal, stroma, tumor"):
        synthesize(str(teacher), str(tmp_path / "out"), str(three), 2)
    unnamed = save_teacher(PolicyTeacher(2, 3, 2), tmp_path / "unnamed.safetensors")
    with pytest.raises(LabelError, match=r"built for 2 classes, found 3"):
        synthesize(str(unnamed), str(tmp_path / "out"), str(three), 2)
    items = [{"image": str(path), "label": 2} for path in three.rglob("*.png")]
    (tmp_path / "list.json").write_text(json.dumps({"training": items}))
    with pytest.raises(LabelError, match=r"found 1 in .*list.json': 2"):
        synthesize(str(teacher), str(tmp_path / "out"), str(tmp_path / "list.json"), 2)
    items = [{"image": str(path), "label": 1} for path in three.rglob("*.png")]
    (tmp_path / "list.json").write_text(json.dumps({"training": items}))
    with pytest.raises(LabelError, match=r"a source of each class, found no source of class 0"):
        synthesize(str(teacher), str(tmp_path / "out"), str(tmp_path / "list.json"), 2)


@pytest.mark.parametrize("bad", [b"no image", b""])
def test_an_unreadable_file_is_named_before_anything_is_written(bad, teacher, tmp_path):
    real = write_patches(tmp_path / "real", ("normal", "tumor"))
    (real / "tumor" / "broken.png").write_bytes(bad)
    with pytest.raises(DataError, match=r"readable PNG, JPEG or TIFF image in '.*tumor/broken.png'"):
        synthesize(str(teacher), str(tmp_path / "out"), str(real), 2)
    assert not (tmp_path / "out").exists()


def test_out_source_and_review_stand_apart(teacher, sources, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(sources)
    for out in (sources, sources / "out", sources / "normal" / "deep" / "out", link / "out"):
        with pytest.raises(ConfigurationError, match="out must be outside of|source must be outside of"):
            synthesize(str(teacher), str(out), str(sources), 2)
    out = str(tmp_path / "out")
    with pytest.raises(ConfigurationError, match="review_dir must be outside of '.*out'"):
        synthesize(str(teacher), out, str(sources), 2, review_dir=f"{out}/review")
    with pytest.raises(ConfigurationError, match="review_dir must be outside of '.*patches'"):
        synthesize(str(teacher), out, str(sources), 2, review_dir=str(sources / "review"))
    synthesize(str(teacher), out, str(sources), 4)
    with pytest.raises(ConfigurationError, match="source must be outside of '.*out'"):
        synthesize(str(teacher), out, f"{out}/datalist.json", 2, overwrite=True)
    items = json.loads(Path(out, "datalist.json").read_text())["training"]
    elsewhere = [{**item, "image": f"{out}/{item['image']}"} for item in items]
    (tmp_path / "list.json").write_text(json.dumps({"training": elsewhere}))
    with pytest.raises(ConfigurationError, match="the source's image must be outside of"):
        synthesize(str(teacher), out, str(tmp_path / "list.json"), 2, overwrite=True)
    assert len(list(Path(out).rglob("*.png"))) == 9
    with pytest.raises(ConfigurationError, match="a review compares synthetic with real images"):
        latent = save_teacher(LatentTeacher(2, 1, 2, image_size=8), tmp_path / "latent.safetensors")
        synthesize(str(latent), str(tmp_path / "new"), per_class=2, review_dir=str(tmp_path / "review"))
