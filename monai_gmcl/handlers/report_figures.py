# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures of a run's report: confusion matrix, reliability diagram, where the student looks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from monai.visualize.class_activation_maps import GradCAM
from torch import Tensor, nn

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.handlers.grid_figure import display_pixels
from monai_gmcl.handlers.pictures import figure_png
from monai_gmcl.page import Picture
from monai_gmcl.teachers.policy import LARGEST_SHARE

__all__ = ["attention_picture", "confusion_picture", "last_convolution", "policy_picture", "reliability_picture"]

BINS = 10
CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)


def confusion_picture(probabilities: Tensor, labels: Tensor, class_names: Sequence[str]) -> Picture:
    """Draw the confusion matrix: true class by predicted class.

    Args:
        probabilities: ``(N, K)``.
        labels: ``(N,)`` int64.
        class_names: K names.
    """
    # Not ignite's: that one would wait for the other ranks, which do not draw.
    size = len(class_names)
    counts = (labels * size + probabilities.argmax(1)).bincount(minlength=size**2).view(size, size)
    shares = counts / counts.sum(1, keepdim=True).clamp_min(1)
    side = 1.8 + 0.7 * len(class_names)
    figure, axes = _figure(side + 0.8, side)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(counts)):
        for column in range(len(counts)):
            ink = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(int(counts[row, column])), ha="center", va="center", color=ink)
    axes.set_xticks(range(len(class_names)), class_names, rotation=30, ha="right")
    axes.set_yticks(range(len(class_names)), class_names)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    return Picture("confusion", "Confusion matrix: images of each class by predicted class", figure_png(figure))


def reliability_picture(probabilities: Tensor, labels: Tensor) -> Picture:
    """Draw the reliability diagram: accuracy over confidence, in ten bins.

    Args:
        probabilities: ``(N, K)``.
        labels: ``(N,)`` int64.
    """
    confidence, predicted = probabilities.double().max(1)
    right = (predicted == labels).double()
    places = (confidence * BINS).long().clamp_max(BINS - 1)
    counts = places.bincount(minlength=BINS)
    used = counts.nonzero().flatten()
    sure, found = (
        torch.zeros(BINS).double().index_add_(0, places, of)[used] / counts[used] for of in (confidence, right)
    )
    error = float(((sure - found).abs() * counts[used]).sum() / counts.sum())
    figure, axes = _figure(4.4, 4.0)
    axes.plot([0, 1], [0, 1], color="#8a919c", linewidth=1, linestyle="--", label="perfect calibration")
    axes.bar((used + 0.5) / BINS, found, 0.9 / BINS, color="#1d5fc4", alpha=0.35)
    axes.plot(sure, found, "o-", color="#1d5fc4", label="student")
    for x, y, count in zip(sure, found, counts[used], strict=True):
        axes.annotate(
            str(int(count)), (float(x), float(y)), (0, 6), textcoords="offset points", ha="center", fontsize=8
        )
    axes.set(xlim=(0, 1), ylim=(0, 1.08), xlabel="confidence", ylabel="accuracy")
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    alt = f"Reliability: numbers count images; expected calibration error {error:.3f}"
    return Picture("reliability", alt, figure_png(figure))


def attention_picture(
    network: nn.Module, images: Tensor, shown: Tensor, titles: Sequence[str], value_range: tuple[float, float] | None
) -> Picture:
    """Draw images, and over each where the student looks for its predicted class (Grad-CAM).

    Selvaraju et al. 2017, arXiv 1610.02391, by ``monai.visualize.GradCAM`` at the last convolution.

    Args:
        network: the student, unwrapped; in evaluation mode.
        images: ``(n, C, H, W)`` or ``(n, C, D, H, W)`` as the student sees them.
        shown: the same, as they are drawn; the middle slice of volumes.
        titles: of each.
        value_range: values of black and white. Default: lowest and highest of all.

    Raises:
        ConfigurationError: the student has no convolution.
    """
    maps = GradCAM(network, last_convolution(network))(images)
    if value_range is None:
        value_range = float(shown.min()), float(shown.max())
    figure = Figure(figsize=(1.7 * len(images), 3.9), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(2, len(images), squeeze=False)
    for k, title in enumerate(titles):
        pixels = display_pixels(shown[k], value_range)
        heat = torch.as_tensor(maps[k]).float().cpu()
        heat = heat[0] if heat.ndim == 3 else heat[0, heat.shape[1] // 2]
        for row in (0, 1):
            places[row, k].imshow(pixels, cmap="gray", vmin=0, vmax=1)
            places[row, k].set_axis_off()
        # MONAI's maps are inverted: low where the student looks.
        places[1, k].imshow(1 - heat, cmap="inferno", alpha=0.5)
        places[0, k].set_title(title, fontsize=8)
    alt = (
        "Validation images, and where the student looks for the class that it takes each for (Grad-CAM; bright: there)"
    )
    return Picture("attention", alt, figure_png(figure))


def policy_picture(rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Draw the share of each operation by epoch, as a heat map.

    Args:
        rows: of an :class:`OperationTable`, at least one.
    """
    epochs = sorted({row["epoch"] for row in rows})
    names = list(dict.fromkeys(row["operation"] for row in rows))
    shares = torch.full((len(names), len(epochs)), torch.nan)
    for row in rows:
        shares[names.index(row["operation"]), epochs.index(row["epoch"])] = row["share"]
    figure, axes = _figure(min(12.0, 4.5 + 0.2 * len(epochs)), 1.2 + 0.28 * len(names))
    norm = TwoSlopeNorm(0.0, math.log(0.1), math.log(LARGEST_SHARE))
    ends = (min(epochs) - 0.5, max(epochs) + 0.5, len(names) - 0.5, -0.5)
    image = axes.imshow(shares.log(), cmap="RdBu", norm=norm, aspect="auto", interpolation="nearest", extent=ends)
    axes.set_yticks(range(len(names)), names)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    ticks = (0.1, 0.25, 0.5, 1.0, LARGEST_SHARE)
    bar = figure.colorbar(image, ax=axes, ticks=[math.log(tick) for tick in ticks], extend="min")
    bar.ax.set_yticklabels([f"{tick:g}" for tick in ticks])
    down = [row["operation"] for row in rows if row["epoch"] == epochs[-1] and row["turned_down"]]
    alt = "Share of each operation by epoch: 1 (white) is as usual. At the end turned down: "
    return Picture("policy", alt + (", ".join(down) or "nothing"), figure_png(figure))


def last_convolution(network: nn.Module) -> str:
    """Return the dotted name of the last convolution.

    Raises:
        ConfigurationError: there is none.
    """
    names = [name for name, module in network.named_modules() if isinstance(module, CONVOLUTIONS)]
    if not names:
        raise ConfigurationError(f"Grad-CAM looks at a convolution, and {type(network).__name__} has none.")
    return str(names[-1])


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()
