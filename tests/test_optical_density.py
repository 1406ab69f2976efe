# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.optical_density import HEMATOXYLIN_EOSIN, combine_stains, separate_stains


def _images(seed: int = 0, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, 5, 4, generator=generator, dtype=torch.float64) * (1 - 1 / 255) + 1 / 255


def test_the_rows_are_unit_vectors_and_the_residual_is_perpendicular_to_both_stains() -> None:
    gram = HEMATOXYLIN_EOSIN @ HEMATOXYLIN_EOSIN.T
    torch.testing.assert_close(gram.diagonal(), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(gram[2, :2], torch.zeros(2, dtype=torch.float64))
    # .65 / sqrt(.65^2 + .70^2 + .29^2) and .99 / sqrt(.07^2 + .99^2 + .11^2), by hand
    assert HEMATOXYLIN_EOSIN[0, 0].item() == pytest.approx(0.6512, abs=1e-3)
    assert HEMATOXYLIN_EOSIN[1, 1].item() == pytest.approx(0.9915, abs=1e-3)


def test_one_unit_of_each_stain_has_the_color_that_the_vectors_say() -> None:
    units = torch.eye(3, dtype=torch.float64)[:2, :, None, None]
    colors = combine_stains(units)[..., 0, 0].numpy()
    rows = np.array([(0.65, 0.70, 0.29), (0.07, 0.99, 0.11)])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(colors, np.exp(-rows), rtol=1e-12)


def test_white_holds_no_stain() -> None:
    assert separate_stains(torch.ones(1, 3, 2, 2)).abs().max().item() == 0


def test_combining_undoes_separating_above_the_floor() -> None:
    images = _images()
    torch.testing.assert_close(combine_stains(separate_stains(images)), images, rtol=1e-12, atol=1e-12)


def test_separating_undoes_combining_where_nothing_is_clamped() -> None:
    concentrations = torch.rand(2, 3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    concentrations[:, 2] *= 0.1
    torch.testing.assert_close(separate_stains(combine_stains(concentrations)), concentrations, rtol=1e-10, atol=1e-10)


def test_black_is_taken_as_one_gray_level() -> None:
    black, gray = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 1 / 255)
    assert torch.equal(separate_stains(black), separate_stains(gray))


def test_images_stay_in_range_for_any_concentration() -> None:
    wild = 5 * torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    images = combine_stains(wild)
    assert images.min().item() >= 0
    assert images.max().item() == 1


def test_a_matrix_for_each_image_does_what_each_matrix_does_alone() -> None:
    images = _images()
    matrices = torch.stack((HEMATOXYLIN_EOSIN, HEMATOXYLIN_EOSIN.flip(1)))
    for transform in (separate_stains, combine_stains):
        together = transform(images, matrices)
        alone = torch.cat([transform(images[i : i + 1], matrices[i]) for i in range(2)])
        torch.testing.assert_close(together, alone)
        assert not torch.allclose(together[1], transform(images)[1])


def test_both_directions_are_differentiable_in_images_and_matrix() -> None:
    images = (_images() * 0.8 + 0.1).requires_grad_()
    matrix = HEMATOXYLIN_EOSIN.clone().requires_grad_()
    assert torch.autograd.gradcheck(separate_stains, (images, matrix))
    assert torch.autograd.gradcheck(combine_stains, (images, matrix))


@pytest.mark.parametrize("transform", [separate_stains, combine_stains])
def test_another_number_of_channels_is_refused(transform: object) -> None:
    with pytest.raises(ConfigurationError, match=r"\(B, 3, H, W\), found \(2, 1, 4, 4\)"):
        transform(torch.rand(2, 1, 4, 4))  # type: ignore[operator]


def test_a_matrix_for_another_number_of_images_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"stain_matrix: .*found \(3, 3, 3\)"):
        separate_stains(_images(), HEMATOXYLIN_EOSIN.expand(3, 3, 3))
