# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter

import pytest
import torch
from monai.data import MetaTensor
from scipy.stats import ks_2samp

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.teachers import PolicyTeacher

N = 150
"""Draws of each of two samples; the same distribution is rejected below P_VALUE, for fixed seeds."""
P_VALUE = 0.01


def image_of(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def by_both(image, difficulty=1.0, n=N, **options):
    """The same image n times, by the teacher and by MONAI."""
    teacher = PolicyTeacher(image.ndim - 1, len(image), 2, **{"probability": 1.0, **options})
    latents = teacher.draw_latents(n, image.shape, torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = teacher(image.expand(n, *image.shape), torch.zeros(n, dtype=torch.int64), latents, difficulty)
    transform = teacher.to_monai(image.shape[1:], difficulty).transform().set_random_state(0)
    return ours, torch.stack([transform(image).as_tensor() for _ in range(n)])


def coordinates(*size):
    """An image whose channels are the coordinates of its pixels, around .5."""
    axes = [(torch.arange(side) + 0.5 - side / 2) / (2 * max(size)) + 0.5 for side in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def affine_maps(changed, image):
    """Matrices ``(n, d, d + 1)`` fitted to what happened to the coordinates in the middle of an image."""
    middle = (..., *[slice(side // 4, side - side // 4) for side in image.shape[1:]])
    before = image[middle].flatten(1)
    design = torch.cat([before, torch.ones_like(before[:1])]).T
    after = changed[middle].flatten(2).transpose(1, 2)
    maps = torch.linalg.lstsq(design.expand(len(after), *design.shape), after).solution.transpose(1, 2)
    maps[:, :, -1] += maps[:, :, :-1].sum(2) / 2 - 0.5
    return maps


def assert_same_distribution(ours, theirs):
    assert ks_2samp(ours.numpy(), theirs.numpy()).pvalue > P_VALUE
    assert theirs.std() == pytest.approx(float(ours.std()), rel=0.15)


@pytest.mark.parametrize(
    ("name", "entries", "size"),
    [
        ("rotation", [(0, 1), (1, 0)], (32, 32)),
        ("rotation", [(0, 1), (1, 2), (2, 0)], (16, 16, 16)),
        ("shear", [(0, 1), (1, 0)], (32, 24)),
        ("shear", [(0, 1), (1, 2), (2, 0)], (16, 16, 16)),
        ("shift", [(0, 2), (1, 2)], (32, 24)),
        ("shift", [(0, 3), (1, 3), (2, 3)], (16, 16, 12)),
    ],
)
def test_geometry_has_the_teacher_s_distribution(name, entries, size):
    image = coordinates(*size)
    ours, theirs = (affine_maps(changed, image) for changed in by_both(image, include=[name]))
    for row, column in entries:
        assert_same_distribution(ours[:, row, column], theirs[:, row, column])


@pytest.mark.parametrize("size", [(48, 48), (20, 20, 20)])
def test_zoom_has_the_teacher_s_range_and_spread_but_for_whole_pixels(size):
    image = coordinates(*size)
    ours, theirs = (affine_maps(changed, image)[:, 0, 0] for changed in by_both(image, include=["zoom"]))
    assert theirs.std() == pytest.approx(float(ours.std()), rel=0.15)
    assert theirs.min() == pytest.approx(float(ours.min()), abs=1 / size[0])
    assert theirs.max() == pytest.approx(float(ours.max()), abs=1 / size[0])


@pytest.mark.parametrize("size", [(32, 32), (20, 20, 20)])
def test_the_elastic_warp_displaces_as_far_as_the_teacher_s_and_little_besides(size):
    image = coordinates(*size)
    ours, theirs = by_both(image, include=["elastic"])
    assert theirs.std(0).mean() == pytest.approx(float(ours.std(0).mean()), rel=0.2)
    inside = (..., *[slice(5, -5)] * len(size))
    pixels = 2 * max(size) * (theirs - image).mean(0)[inside].abs()
    assert pixels.mean() < 0.05 * min(size) / 3


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 8, 8)])
@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("brightness", lambda changed, image: (changed - image).flatten(1).median(1).values),
        ("contrast", lambda changed, image: changed.flatten(1).std(1)),
        ("gamma", lambda changed, image: changed.flatten(1).median(1).values),
        ("channel_gain", lambda changed, image: (changed / image).flatten(2).median(2).values[:, 0]),
        (
            "channel_gain",
            lambda changed, image: (
                (changed / image)[:, 0].flatten(1).median(1).values
                / (changed / image)[:, 1].flatten(1).median(1).values
            ),
        ),
        ("noise", lambda changed, image: (changed - image).flatten(1).std(1)),
    ],
)
def test_tone_and_noise_have_the_teacher_s_distribution(name, measure, shape):
    image = 0.3 + 0.4 * image_of(*shape)
    image[:, 0], image[:, -1] = 1e-4, 1.0  # gamma is relative to the image's range in MONAI
    ours, theirs = by_both(image, include=[name])
    assert_same_distribution(measure(ours, image), measure(theirs, image))


@pytest.mark.parametrize("shape", [(1, 32, 32), (1, 16, 16, 16)])
def test_blur_and_erasing_act_as_strongly_as_the_teacher_s_on_average(shape):
    image = image_of(*shape)
    middle = (..., *[slice(4, -4)] * (len(shape) - 1))
    ours, theirs = (changed[middle].flatten(1).std(1).mean() for changed in by_both(image, include=["blur"]))
    assert theirs == pytest.approx(float(ours), rel=0.15)
    ours, theirs = ((changed - image).abs().mean() for changed in by_both(image, include=["erasing"]))
    assert theirs == pytest.approx(float(ours), rel=0.4)


@pytest.mark.gate
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 16, 16, 16)])
def test_the_whole_policy_changes_images_as_much_and_leaves_them_as_sharp(shape):
    image = torch.nn.functional.interpolate(
        image_of(1, shape[0], *[side // 2 for side in shape[1:]]), size=shape[1:], mode="nearest"
    )[0]
    ours, theirs = by_both(image, n=300, probability=0.5)
    for measure in (
        lambda changed: (changed - image).abs().mean(),
        lambda changed: changed.diff(dim=-1).abs().mean(),
        lambda changed: changed.std(),
    ):
        assert measure(theirs) == pytest.approx(float(measure(ours)), rel=0.15)


def test_each_operation_acts_with_the_teacher_s_probability():
    image = 0.2 + 0.6 * image_of(1, 8, 8)
    for changed in by_both(image, include=["brightness"], probability=0.3):
        acted = ((changed - image).abs().amax((1, 2, 3)) > 1e-5).sum()
        assert acted == pytest.approx(0.3 * N, abs=16)


@pytest.mark.parametrize("size", [(12, 12), (10, 14), (6, 8, 8), (6, 8, 10)])
@pytest.mark.parametrize("name", ["flip", "quarter_turn"])
@pytest.mark.parametrize("log_odds", [0.0, -2.0, 0.6])
def test_flips_and_quarter_turns_are_the_teacher_s_with_the_learned_probability(name, size, log_odds):
    """The same images, each as often; 300 draws of either."""
    teacher = PolicyTeacher(len(size), 1, 2, include=[name])
    with torch.no_grad():
        teacher.log_odds.fill_(log_odds)
    image, n = image_of(1, *size), 300
    latents = teacher.draw_latents(n, image.shape, torch.Generator().manual_seed(1))
    ours = teacher(image.expand(n, *image.shape), torch.zeros(n), latents)
    policy = teacher.to_monai(size)
    assert policy.left_out == []
    transform = policy.transform().set_random_state(1)
    theirs = [transform(image).as_tensor() for _ in range(n)]
    # Each image by its pixels in ten-thousandths.
    kinds = [
        Counter(tuple((changed * 1e4).round().int().flatten().tolist()) for changed in those)
        for those in (ours, theirs)
    ]
    assert set(kinds[0]) == set(kinds[1]) and len(kinds[0]) > 1
    share = 2 ** math.tanh(log_odds / math.log(2)) if log_odds > 0 else 50 ** math.tanh(log_odds / math.log(50))
    for counts in kinds:
        unchanged = counts[tuple((image * 1e4).round().int().flatten().tolist())]
        p = share / (1 + share)
        assert 1 - unchanged / n == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / n))
    for kind, count in kinds[0].items():
        assert kinds[1][kind] == pytest.approx(count, abs=4 * math.sqrt(2 * n * 0.25))


def test_the_file_names_what_was_turned_down():
    teacher = PolicyTeacher(2, 1, 2)
    with torch.no_grad():
        teacher.log_odds[0], teacher.log_share[-1] = -3.0, -3.0
    description = teacher.to_monai((12, 12)).config["policy_description"]
    assert description["turned_down"] == ["flip", "erasing"]
    assert description["ranges"]["flip"]["probability"] == pytest.approx(teacher.strengths(1.0)[0].item())


def test_difficulty_and_what_was_learned_decide_the_ranges():
    teacher = PolicyTeacher(2, 1, 2)
    with torch.no_grad():
        teacher.log_share[0] += 1
    steps = {
        step["_target_"].rpartition(".")[2]: step
        for step in teacher.to_monai((40, 80), difficulty=2.0).config["policy"]["transforms"]
    }
    table = teacher.policy(2.0)
    assert table["rotation"]["share"] == pytest.approx(2 ** math.tanh(1 / math.log(2)))
    assert steps["RandRotate"]["range_x"] == table["rotation"]["high"]
    assert steps["RandZoom"]["min_zoom"] == table["zoom"]["low"]
    assert steps["RandAffine"]["translate_range"][1][1] == pytest.approx(80 * table["shift"]["high"])


@pytest.mark.parametrize("keys", [None, "image", ["image", "other"]])
@pytest.mark.parametrize("shape", [(3, 16, 20), (1, 10, 12, 14)])
def test_shape_range_and_seed_are_kept_by_single_images_and_dictionaries(shape, keys):
    policy = PolicyTeacher(len(shape) - 1, shape[0], 2).to_monai(shape[1:], 2.0, keys)
    image = image_of(*shape)
    names = [keys] if isinstance(keys, str) else keys
    item = image if keys is None else {name: image.clone() for name in names}
    first, second = (policy.transform().set_random_state(0) for _ in range(2))
    for _ in range(25):
        changed, again = first(item), second(item)
        for name in names or [None]:
            one, other = (changed, again) if name is None else (changed[name], again[name])
            assert one.shape == image.shape and one.min() >= 0 and one.max() <= 1
            assert torch.equal(one, other)
    if keys is None:
        assert torch.equal(item, image)
    else:
        assert all(torch.equal(item[name], image) for name in names)


@pytest.mark.parametrize(
    "options",
    [
        {"value_range": (0, 200)},
        {"value_range": (-1, 1)},
        {"mean": [0.5, 0.4], "std": [0.2, 0.3]},
        {"value_range": (0, 255), "mean": [100], "std": [50]},
    ],
)
def test_images_of_any_range_or_normalization_are_changed_alike(options):
    plain, other = PolicyTeacher(2, 2, 2), PolicyTeacher(2, 2, 2, **options)
    low, high = other.value_range
    image = image_of(2, 12, 12)

    def normalized(image):
        return ((image * (high - low) + low) - other.mean[0]) / other.std[0]

    expected = plain.to_monai((12, 12)).transform().set_random_state(0)
    transform = other.to_monai((12, 12)).transform().set_random_state(0)
    for _ in range(12):
        torch.testing.assert_close(
            transform(normalized(image)).as_tensor(), normalized(expected(image).as_tensor()), rtol=1e-3, atol=2e-3
        )


def test_the_affine_of_a_volume_does_not_matter():
    image = image_of(1, 10, 12, 14)
    tilted = MetaTensor(image, affine=torch.tensor([[0, 2.0, 0, 5], [1, 0, 0, -3], [0, 0, -3, 1], [0, 0, 0, 1]]))
    policy = PolicyTeacher(3, 1, 2).to_monai((10, 12, 14))
    first, second = (policy.transform().set_random_state(0) for _ in range(2))
    for _ in range(8):
        torch.testing.assert_close(second(tilted).as_tensor(), first(image).as_tensor())


def test_what_is_left_out_is_named_in_list_log_and_file(caplog, tmp_path):
    policy = PolicyTeacher(2, 3, 2, value_range=(-1, 1)).to_monai((32, 32))
    assert policy.left_out == ["saturation"]
    assert "MONAI has no counterpart of saturation. The exported policy does not include it" in caplog.text
    assert json.loads(policy.save(tmp_path / "policy.json").read_text())["policy_description"]["left_out"] == [
        "saturation"
    ]
    caplog.clear()
    assert PolicyTeacher(2, 1, 2).to_monai((32, 32)).left_out == [] and caplog.text == ""
    targets = [step["_target_"] for step in policy.config["policy"]["transforms"]]
    assert len(targets) == 12 + 3 + 1 and all(target.startswith("monai.transforms.") for target in targets)


@pytest.mark.slow
def test_a_bundle_runs_with_it_where_monai_gmcl_is_not_installed(tmp_path):
    teacher = PolicyTeacher(2, 1, 2)
    policy = teacher.to_monai((12, 12), keys="image")
    policy.save(tmp_path / "policy.json")
    training = {
        "imports": ["$import torch"],
        "seeded": "$@policy.set_random_state(3)",
        "images": "$[@seeded({'image': torch.full((1, 12, 12), .3 + i / 20)})['image'].as_tensor() for i in range(8)]",
        "run": ["$torch.save(torch.stack(@images), 'images.pt')"],
    }
    (tmp_path / "train.json").write_text(json.dumps(training))
    program = (
        "import sys; sys.modules['monai_gmcl'] = None\n"
        "from monai.bundle import run; run(config_file=['train.json', 'policy.json'])"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    transform = policy.transform().set_random_state(3)
    expected = [transform({"image": torch.full((1, 12, 12), 0.3 + i / 20)})["image"].as_tensor() for i in range(8)]
    assert torch.equal(torch.load(tmp_path / "images.pt", weights_only=True), torch.stack(expected))


@pytest.mark.parametrize(("spatial_size", "difficulty"), [((32, 32, 32), 1.0), ((32, 32), 0.0), ((32, 32), -1.0)])
def test_another_dimension_or_no_difficulty_raises(spatial_size, difficulty):
    with pytest.raises(ConfigurationError, match="2 spatial sizes and a difficulty above 0"):
        PolicyTeacher(2, 1, 2).to_monai(spatial_size, difficulty)
