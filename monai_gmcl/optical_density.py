# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""H&E stain space: images as amounts of hematoxylin, eosin and a residual, in optical density."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_gmcl.exceptions import ConfigurationError

__all__ = ["HEMATOXYLIN_EOSIN", "combine_stains", "separate_stains"]

# Below one gray level of an 8-bit image, the logarithm depends on the scanner's black level, not on the stain.
_FLOOR = 1 / 255


def _stain_rows() -> Tensor:
    hematoxylin = torch.tensor((0.65, 0.70, 0.29), dtype=torch.float64)
    eosin = torch.tensor((0.07, 0.99, 0.11), dtype=torch.float64)
    rows = torch.stack((hematoxylin, eosin, torch.linalg.cross(hematoxylin, eosin)))
    unit_rows: Tensor = rows / rows.norm(dim=1, keepdim=True)
    return unit_rows


HEMATOXYLIN_EOSIN: Tensor = _stain_rows()
"""Unit rows ``(3, 3)``: red, green, blue optical density of one unit of hematoxylin, eosin and the residual.

Hematoxylin (.65, .70, .29) and eosin (.07, .99, .11) are the vectors of Ruifrok and Johnston; the residual is
perpendicular to both (their normalized cross product).
"""


def separate_stains(images: Tensor, stain_matrix: Tensor | None = None) -> Tensor:
    """Return the amount of each stain in every pixel (color deconvolution).

    Light is absorbed exponentially (Beer-Lambert), so optical density ``-ln(max(image, 1/255))`` is linear in the
    amounts of stain: ``density = concentrations @ stain_matrix``. This solves for the concentrations.
    Differentiable in both arguments. :func:`combine_stains` is the exact inverse wherever a pixel is at least 1/255.

    Args:
        images: RGB in [0, 1].
        stain_matrix: one row per stain, one column per color channel, for all images or for each image.
            Default: :data:`HEMATOXYLIN_EOSIN`.

    Returns:
        Concentrations in natural-log optical density, channels hematoxylin, eosin, residual. The residual, and
        either stain in a pixel of another color, can be negative.

    Shape:
        images ``(B, 3, H, W)``, stain_matrix ``(3, 3)`` or ``(B, 3, 3)``, result ``(B, 3, H, W)``.

    Raises:
        ConfigurationError: another shape.

    Source:
        A. C. Ruifrok, D. A. Johnston: Quantification of histochemical staining by color deconvolution.
        Analytical and Quantitative Cytology and Histology 23(4), 2001.
    """
    matrix = _matrix_for("images", images, stain_matrix)
    density = -images.clamp(min=_FLOOR).log()
    return _mix(density, torch.linalg.inv(matrix))


def combine_stains(concentrations: Tensor, stain_matrix: Tensor | None = None) -> Tensor:
    """Return the RGB image of given amounts of stain: ``exp(-concentrations @ stain_matrix)``, clamped to [0, 1].

    Inverse of :func:`separate_stains`, with its shapes and errors, and differentiable in both arguments.
    """
    matrix = _matrix_for("concentrations", concentrations, stain_matrix)
    return (-_mix(concentrations, matrix)).exp().clamp(0, 1)


def _mix(pixels: Tensor, matrix: Tensor) -> Tensor:
    """Multiply the row of three values of each pixel by the matrix of its image."""
    equation = "bihw,bij->bjhw" if matrix.ndim == 3 else "bihw,ij->bjhw"
    return torch.einsum(equation, pixels, matrix)


def _matrix_for(name: str, pixels: Tensor, stain_matrix: Tensor | None) -> Tensor:
    if pixels.ndim != 4 or pixels.shape[1] != 3:
        raise ConfigurationError(f"{name}: expected shape (B, 3, H, W), found {tuple(pixels.shape)}.")
    if stain_matrix is None:
        return HEMATOXYLIN_EOSIN.to(pixels)
    accepted = ((3, 3), (pixels.shape[0], 3, 3))
    if tuple(stain_matrix.shape) not in accepted:
        raise ConfigurationError(
            f"stain_matrix: expected shape {accepted[0]} or {accepted[1]}, found {tuple(stain_matrix.shape)}."
        )
    return stain_matrix.to(pixels)
