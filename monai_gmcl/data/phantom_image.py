# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""One image of the phantom, H&E-like epithelium, drawn from a generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from monai_gmcl.optical_density import HEMATOXYLIN_EOSIN, combine_stains

__all__ = ["phantom_image", "phantom_image_with_mask"]

Array = NDArray[np.float64]

MARGIN = 8
"""Margin in units that is drawn around the image and removed, so that blur and cells have no border effects."""

STEEPNESS = 25.0
"""Width of the logistic border between dysplastic and mature cells, relative to the epithelium's thickness."""

DYSPLASTIC_SHARE = ((0.0, 0.0), (0.22, 0.44), (0.56, 0.78), (0.9, 1.1))
"""Lowest and highest fraction of the epithelium's thickness that is dysplastic, by grade."""


@dataclass(frozen=True)
class _Section:
    """A section through the phantom. Lengths are in units of 1/64 of the image's side, at magnification 1."""

    magnification: float
    angle: float
    base: float
    thickness: float
    waves: Array
    dysplastic: float
    atypia: float
    basal: float
    spacing: float
    nucleus: float
    chromatin: float
    inflammation: float

    @classmethod
    def draw(cls, grade: int, generator: np.random.Generator) -> _Section:
        between = generator.uniform
        low, high = DYSPLASTIC_SHARE[grade]
        magnification = between(0.8, 1.25)
        thickness = between(34, 50) / magnification
        return cls(
            magnification=magnification,
            angle=generator.normal(0, 0.2),
            base=-thickness / 2 - between(-3, 6),
            thickness=thickness,
            # amplitude, wavelength and phase of the two waves of the membrane and the one wave of the surface
            waves=np.stack((between(0.5, (5, 1.5, 2)), between((40, 12, 30), (90, 20, 80)), between(0, 2 * np.pi, 3))),
            dysplastic=between(low, high),
            atypia=between(0.25, 0.88),
            basal=between(0.08, 0.3),
            spacing=between(0.75, 1.25),
            nucleus=between(0.75, 1.35),
            chromatin=between(0.8, 1.3),
            inflammation=between(0, 1),
        )

    def depth(self, u: Array, v: Array) -> Array:
        """Height above the basal membrane: 0 at the membrane, 1 at the surface, negative in the stroma."""
        amplitude, wavelength, phase = self.waves
        wave = amplitude[:, None] * np.sin(2 * np.pi * u.ravel() / wavelength[:, None] + phase[:, None])
        membrane = (self.base + wave[0] + wave[1]).reshape(u.shape)
        surface = (self.base + self.thickness + wave[2]).reshape(u.shape)
        height: Array = (v - membrane) / (surface - membrane)
        return height


@dataclass(frozen=True)
class _Nuclei:
    """Ellipses with a wavy rim. Arrays are ``(N,)``, ``rim`` is ``(N, 4)``; ``long`` and ``short`` are semi-axes."""

    u: Array
    v: Array
    long: Array
    short: Array
    angle: Array
    rim: Array
    hematoxylin: Array

    def chosen(self, which: NDArray[np.bool_]) -> _Nuclei:
        return _Nuclei(**{name: values[which] for name, values in vars(self).items()})


def phantom_image(grade: int, generator: np.random.Generator, size: int = 64) -> NDArray[np.uint8]:
    """Draw one H&E-like patch of phantom epithelium, RGB ``(size, size, 3)``.

    The stroma is at the bottom, with a crowded basal layer above it. Towards the surface, nuclei become sparser,
    smaller and flatter. In the lower part of the epithelium, cells are dysplastic: nuclei are larger, darker, crowded
    and irregular. This part is empty for grade 0 (normal), the lower third for grade 1, two thirds for grade 2, and the
    whole epithelium for grade 3 (CIN3). The amounts of hematoxylin and eosin are converted to RGB with the stain
    vectors of Ruifrok and Johnston (2001), absorption (Beer-Lambert), defocus and sensor noise.
    """
    return phantom_image_with_mask(grade, generator, size)[0]


def phantom_image_with_mask(
    grade: int, generator: np.random.Generator, size: int = 64
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw the patch of :func:`phantom_image` and the mask ``(size, size)`` of its nuclei.

    The mask is 1 if a nucleus of any cell covers the pixel's center, otherwise 0.
    """
    section = _Section.draw(grade, generator)
    pixels = size / 64 * section.magnification
    side = size + 2 * round(MARGIN * size / 64)
    across = (np.arange(side) - (side - 1) / 2) / pixels
    x, y = np.meshgrid(across, -across)
    cosine, sine = np.cos(section.angle), np.sin(section.angle)
    u, v = x * cosine + y * sine, y * cosine - x * sine
    cells = _epithelial_nuclei(section, generator)
    others = _other_nuclei(section, generator)
    stains = np.zeros((3, side, side))
    stains[:2] = _ground(section, u, v, cells, generator, pixels)
    chromatin = 1 + 0.3 * _smooth_noise(generator, side, 0.6 * pixels, 0.6 * pixels)
    mask = np.zeros((side, side), dtype=np.uint8)
    for nuclei in (cells, others):
        cover, inside = _cover(nuclei, section.angle, side, pixels)
        stains[0] = np.maximum(stains[0], cover * chromatin)
        mask[inside] = 1
    return _light(stains, generator, size), _without_margin(mask, size)


def _epithelial_nuclei(section: _Section, generator: np.random.Generator) -> _Nuclei:
    count = 700
    reach = 45 / section.magnification
    u = generator.uniform(-reach, reach, count)
    v = section.base + generator.uniform(-6, section.thickness + 4, count)
    depth = section.depth(u, v)
    ill = (depth + generator.normal(0, 0.05, count) < section.dysplastic).astype(float) * section.atypia
    basal = np.clip(1 - depth / section.basal, 0, 1)
    radius = section.nucleus * (1.75 - 0.45 * depth + ill * (0.9 + 0.45 * depth))
    radius *= np.exp(generator.normal(0, 0.08 + 0.14 * ill))
    mature_spacing = 3.4 + 5.2 * np.clip(depth, 0, 1) ** 0.6 * (1 - 0.5 * basal)
    crowded_spacing = np.maximum(mature_spacing * (1 - 0.5 * ill), 1.8 * radius)
    stretch = 1.15 + 0.35 * basal + 1.8 * np.clip(depth - 0.6, 0, 1) * (ill == 0) + 0.35 * ill * generator.random(count)
    # nuclei are upright at the membrane and flat at the surface; dysplastic nuclei have random directions
    angle = np.where(depth < 0.45, np.pi / 2, 0.0) + generator.normal(0, 0.25 + 0.6 * ill)
    nuclei = _Nuclei(
        u,
        v,
        long=radius * np.sqrt(stretch),
        short=radius / np.sqrt(stretch),
        angle=angle,
        rim=generator.normal(0, 1, (count, 4)) * (0.04 + 0.08 * ill)[:, None],
        hematoxylin=section.chromatin * (1.0 + 0.3 * basal + 0.6 * ill) * np.exp(generator.normal(0, 0.12, count)),
    )
    spacing = section.spacing * np.where(ill > 0, crowded_spacing, mature_spacing)
    return nuclei.chosen((depth > 0.04) & (depth < 0.96) & _apart(u, v, spacing))


def _other_nuclei(section: _Section, generator: np.random.Generator) -> _Nuclei:
    """Fibroblasts and lymphocytes of the stroma, and some lymphocytes in the epithelium."""
    count = 160
    reach = 45 / section.magnification
    u = generator.uniform(-reach, reach, count)
    v = section.base + generator.uniform(-28, 0.8 * section.thickness, count)
    depth = section.depth(u, v)
    lymphocyte = generator.random(count) < 0.2 + 0.7 * section.inflammation
    kept = generator.random(count) < np.where(depth < 0, 0.35 + 0.6 * section.inflammation, 0.2 * section.inflammation)
    kept &= (depth < -0.03) | (lymphocyte & (depth > 0))
    nuclei = _Nuclei(
        u,
        v,
        long=np.where(lymphocyte, 1.35, generator.uniform(2.0, 3.6, count)),
        short=np.where(lymphocyte, 1.25, generator.uniform(0.5, 0.8, count)),
        angle=generator.normal(0, 0.3, count),
        rim=generator.normal(0, 0.04, (count, 4)),
        hematoxylin=np.where(lymphocyte, 1.6, 1.0) * np.exp(generator.normal(0, 0.12, count)),
    )
    return nuclei.chosen(kept & _apart(u, v, np.full(count, 3.4)))


def _apart(u: Array, v: Array, spacing: Array) -> NDArray[np.bool_]:
    """Keep points in their order, except points that are nearer to a kept point than the mean of the two spacings."""
    kept = np.ones(len(u), dtype=bool)
    for i in range(len(u)):
        if kept[i]:
            later = slice(i + 1, None)
            squared = (u[later] - u[i]) ** 2 + (v[later] - v[i]) ** 2
            kept[later] &= squared >= ((spacing[later] + spacing[i]) / 2) ** 2
    return kept


def _cover(nuclei: _Nuclei, tilt: float, side: int, pixels: float) -> tuple[Array, NDArray[np.bool_]]:
    """Return the hematoxylin ``(side, side)`` of the nuclei, and their mask.

    Rims are blurred by one pixel. If two nuclei overlap, the darker one is drawn.
    """
    amount, covered = np.zeros((side, side)), np.zeros((side, side), dtype=bool)
    if not len(nuclei.u):
        return amount, covered
    cosine, sine = np.cos(tilt), np.sin(tilt)
    column = (nuclei.u * cosine - nuclei.v * sine) * pixels + (side - 1) / 2
    row = -(nuclei.u * sine + nuclei.v * cosine) * pixels + (side - 1) / 2
    half = int(np.ceil(1.5 * nuclei.long.max() * pixels)) + 1
    offsets = np.arange(-half, half + 1)
    rows = np.rint(row).astype(int)[:, None, None] + offsets[:, None]
    columns = np.rint(column).astype(int)[:, None, None] + offsets
    y, x = (row[:, None, None] - rows) / pixels, (columns - column[:, None, None]) / pixels
    turn = (nuclei.angle + tilt)[:, None, None]
    along = (x * np.cos(turn) + y * np.sin(turn)) / nuclei.long[:, None, None]
    across = (y * np.cos(turn) - x * np.sin(turn)) / nuclei.short[:, None, None]
    radius, theta = np.hypot(along, across), np.arctan2(across, along)
    a, b, c, d = nuclei.rim.T[:, :, None, None]
    rim = 1 + a * np.cos(2 * theta) + b * np.sin(2 * theta) + c * np.cos(3 * theta) + d * np.sin(3 * theta)
    inside = (rim - radius) * nuclei.short[:, None, None] * pixels
    values = np.clip(0.5 + inside, 0, 1) * nuclei.hematoxylin[:, None, None]
    rows, columns = np.broadcast_arrays(rows, columns)
    seen = (values > 0) & (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
    np.maximum.at(amount, (rows[seen], columns[seen]), values[seen])
    within = seen & (inside > 0)
    covered[rows[within], columns[within]] = True
    return amount, covered


def _ground(
    section: _Section, u: Array, v: Array, cells: _Nuclei, generator: np.random.Generator, pixels: float
) -> Array:
    """Return hematoxylin and eosin ``(2, side, side)`` of cytoplasm, stroma and the empty space above."""
    side = len(u)
    depth = section.depth(u, v)
    epithelium = _step(depth * section.thickness) * _step((1 - depth) * section.thickness)
    stroma = _step(-depth * section.thickness)
    ill = section.atypia / (1 + np.exp(STEEPNESS * (depth - section.dysplastic)))
    mature = np.clip(depth, 0, 1) * (1 - ill)
    squared = (u[..., None] - cells.u) ** 2 + (v[..., None] - cells.v) ** 2
    nearest = np.sqrt(np.partition(squared, 1, axis=-1)[..., :2])
    border = np.exp(-(((nearest[..., 1] - nearest[..., 0]) / 0.7) ** 2))
    grain = _smooth_noise(generator, side, 1.5 * pixels, 1.5 * pixels)
    fibers = _smooth_noise(generator, side, 7 * pixels, 0.8 * pixels, section.angle)
    cytoplasm = 0.42 - 0.14 * mature + 0.2 * border * (0.4 + mature) + 0.05 * grain
    hematoxylin = epithelium * (0.08 + 0.12 * ill + 0.1 * (1 - np.clip(depth / section.basal, 0, 1))) + 0.05 * stroma
    eosin = epithelium * cytoplasm + stroma * np.clip(0.62 + 0.25 * fibers, 0.08, None)
    return np.stack((hematoxylin, eosin))


def _step(units: Array) -> Array:
    """Return a smooth step from 0 to 1 over one unit."""
    return np.clip(units + 0.5, 0, 1)


def _gaussian(side: int, along: float, across: float, angle: float = 0.0) -> Array:
    """Transfer function ``(side, side // 2 + 1)`` of a Gaussian blur with standard deviations in pixels."""
    y, x = np.meshgrid(-np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij")
    p, q = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    transfer: Array = np.exp(-2 * np.pi**2 * ((along * p) ** 2 + (across * q) ** 2))
    return transfer


def _smooth_noise(generator: np.random.Generator, side: int, along: float, across: float, angle: float = 0.0) -> Array:
    """Return Gaussian noise ``(side, side)`` with mean 0 and variance 1, and correlation lengths in two directions."""
    spectrum = np.fft.rfft2(generator.normal(size=(side, side))) * _gaussian(side, along, across, angle)
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, (side, side))
    scaled: Array = noise / noise.std()
    return scaled


def _light(stains: Array, generator: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Return the camera image of the stains ``(3, side, side)``: RGB ``(size, size, 3)``."""
    side = stains.shape[-1]
    amounts = stains * np.exp(generator.normal(0, (0.2, 0.3, 0.0)))[:, None, None]
    vectors = HEMATOXYLIN_EOSIN.numpy() + generator.normal(0, 0.05, (3, 3))
    vectors = np.abs(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    rgb = combine_stains(torch.from_numpy(amounts)[None], torch.from_numpy(vectors))[0].numpy()
    focus = generator.uniform(0.3, 1.6) * size / 64
    rgb = np.fft.irfft2(np.fft.rfft2(rgb) * _gaussian(side, focus, focus), (side, side))
    rgb = rgb * generator.uniform(0.9, 1.0, (3, 1, 1)) + generator.normal(0, 0.012, rgb.shape)
    seen = _without_margin(rgb, size).transpose(1, 2, 0)
    pixels: NDArray[np.uint8] = np.rint(255 * np.clip(seen, 0, 1)).astype(np.uint8)
    return pixels


def _without_margin(drawn: NDArray[Any], size: int) -> NDArray[Any]:
    margin = (drawn.shape[-1] - size) // 2
    return drawn[..., margin : margin + size, margin : margin + size]
