# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures of a run's report: confusion matrix, reliability diagram, Grad-CAM, policy, curves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.ticker import MaxNLocator
from monai.visualize.class_activation_maps import GradCAM
from torch import Tensor, nn

from monai_gmcl.exceptions import ConfigurationError
from monai_gmcl.metrics.classification import calibration_bins, calibration_error
from monai_gmcl.names import shown_name
from monai_gmcl.reporting.figures import figure_png, new_figure, one_panel, plain_texts
from monai_gmcl.reporting.image_sheet import display_pixels
from monai_gmcl.reporting.page import Picture
from monai_gmcl.teachers.policy import LARGEST_SHARE

__all__ = [
    "attention_picture",
    "confusion_picture",
    "curves_png",
    "last_convolution",
    "policy_picture",
    "reliability_picture",
]

BINS = 10
PANELS: dict[str, tuple[str, ...]] = {
    "Loss": ("loss", "synthetic_loss"),
    "Accuracy in training": ("real_accuracy", "lesson_accuracy"),
    "Curriculum": ("difficulty", "real_weight", "lesson_weight", "hardness"),
    "Norm of the teacher's gradient": ("teacher_grad_norm",),
    "Diversity of lessons": ("diversity",),
}
METRICS = "Metrics"
"""The panel of the columns ``train_...`` and ``val_...``."""
STYLES = ("-", "--", ":", "-.")
"""Line styles, so that identical curves, such as both weights, can be distinguished."""


def confusion_picture(probabilities: Tensor, labels: Tensor, class_names: Sequence[str]) -> Picture:
    """Draw the confusion matrix, true class by predicted class, of probabilities ``(N, K)`` and labels ``(N,)``."""
    # Not ignite's ConfusionMatrix, which would wait for the other ranks, which do not draw.
    size = len(class_names)
    counts = (labels * size + probabilities.argmax(1)).bincount(minlength=size**2).view(size, size)
    shares = counts / counts.sum(1, keepdim=True).clamp_min(1)
    side = 1.8 + 0.7 * size
    figure, axes = one_panel(side + 0.8, side)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in itertools.product(range(size), repeat=2):
        ink = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(int(counts[row, column])), ha="center", va="center", color=ink)
    axes.set_xticks(range(size), class_names, rotation=30, ha="right")
    axes.set_yticks(range(size), class_names)
    axes.set(xlabel="predicted class", ylabel="true class")
    alt = "Confusion matrix: number of images by true and predicted class"
    return Picture("confusion", alt, figure_png(figure))


def reliability_picture(probabilities: Tensor, labels: Tensor) -> Picture:
    """Draw the reliability diagram of probabilities ``(N, K)``: accuracy over confidence, in ten bins."""
    counts, sure, right = calibration_bins(probabilities, labels, BINS)
    used = counts.nonzero().flatten()
    counts, sure, right = counts[used], sure[used] / counts[used], right[used] / counts[used]
    figure, axes = one_panel(4.4, 4.0)
    axes.plot([0, 1], [0, 1], color="#8a919c", linewidth=1, linestyle="--", label="perfect calibration")
    axes.bar((used + 0.5) / BINS, right, 0.9 / BINS, color="#1d5fc4", alpha=0.35)
    axes.plot(sure, right, "o-", color="#1d5fc4", label="student")
    for x, y, count in zip(sure.tolist(), right.tolist(), counts.tolist(), strict=True):
        axes.annotate(str(count), (x, y), (0, 6), textcoords="offset points", ha="center", fontsize=8)
    axes.set(xlim=(0, 1), ylim=(0, 1.08), xlabel="confidence", ylabel="accuracy")
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    error = calibration_error(probabilities, labels, BINS)
    alt = f"Reliability diagram with the number of images in each bin. Expected calibration error: {error:.3f}"
    return Picture("reliability", alt, figure_png(figure))


def attention_picture(
    network: nn.Module, images: Tensor, shown: Tensor, titles: Sequence[str], value_range: tuple[float, float] | None
) -> Picture:
    """Draw images with a Grad-CAM overlay for the student's predicted class.

    Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391; ``monai.visualize.GradCAM``) uses the last convolution of the
    student in evaluation mode, without wrappers; ConfigurationError if it has none. Images are the student's inputs
    ``(n, C, H, W)`` or ``(n, C, D, H, W)``; ``shown`` are the drawn images (for volumes, the middle slice). Without
    ``value_range``, black and white are the lowest and highest value of all images.
    """
    maps = GradCAM(network, last_convolution(network))(images)
    value_range = value_range or (float(shown.min()), float(shown.max()))
    figure = new_figure(1.7 * len(images), 3.9)
    places = figure.subplots(2, len(images), squeeze=False)
    for k, title in enumerate(titles):
        heat = torch.as_tensor(maps[k]).float().cpu()
        heat = heat[0] if heat.ndim == 3 else heat[0, heat.shape[1] // 2]
        for row in (0, 1):
            places[row, k].imshow(display_pixels(shown[k], value_range), cmap="gray", vmin=0, vmax=1)
            places[row, k].set_axis_off()
        # MONAI's maps are inverted: low values are important.
        places[1, k].imshow(1 - heat, cmap="inferno", alpha=0.5)
        places[0, k].set_title(title, fontsize=8)
    alt = (
        "Validation images, and Grad-CAM of the predicted class (bright: regions that increase the score of the class)"
    )
    return Picture("attention", alt, figure_png(figure))


def policy_picture(rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Draw the share of each operation by epoch as a heat map, from one or more rows of ``policy.csv``."""
    epochs = sorted({row["epoch"] for row in rows})
    names = list(dict.fromkeys(row["operation"] for row in rows))
    shares = torch.full((len(names), len(epochs)), torch.nan)
    for row in rows:
        shares[names.index(row["operation"]), epochs.index(row["epoch"])] = row["share"]
    figure, axes = one_panel(min(12.0, 4.5 + 0.2 * len(epochs)), 1.2 + 0.28 * len(names))
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
    alt = "Share of each operation by epoch; 1 (white) is the usual strength. Turned down in the last epoch: "
    return Picture("policy", alt + (", ".join(down) or "nothing"), figure_png(figure))


def curves_png(rows: Sequence[Mapping[str, float]]) -> bytes:
    """Draw curves over epochs, from one or more rows of ``curriculum.csv``; panels without a number are left out."""
    known = {name for row in rows for name in row}
    panels = {title: [name for name in names if name in known] for title, names in PANELS.items()}
    panels[METRICS] = sorted(name for name in known if name.startswith(("train_", "val_")))
    panels = {title: names for title, names in panels.items() if names}
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = new_figure(4.2 * columns, 3.2 * lines)
    with plain_texts():
        for place, (title, names) in enumerate(panels.items(), start=1):
            _draw_panel(figure.add_subplot(lines, columns, place), title, names, rows)
        return figure_png(figure)


def _draw_panel(axes: Axes, title: str, names: Sequence[str], rows: Sequence[Mapping[str, float]]) -> None:
    for name, style in zip(names, itertools.cycle(STYLES), strict=False):
        points = [(row["epoch"], row[name]) for row in rows if name in row]
        label = shown_name(name).replace("_", " ")
        axes.plot(*zip(*points, strict=True), label=label, linestyle=style, linewidth=1.6, marker=".", markersize=4)
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if len(names) > 1 or title == METRICS:
        # Outside the axes, because inside it could hide a part of a curve.
        axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)


def last_convolution(network: nn.Module) -> str:
    """Return the dotted name of the last convolution; ConfigurationError if there is none."""
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Conv3d)]
    if not names:
        raise ConfigurationError(f"Grad-CAM needs a convolution, and {type(network).__name__} has none.")
    return str(names[-1])
