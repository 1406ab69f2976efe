# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m monai_gmcl check``: comparison of hypergradient estimators on a user's student."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from monai.bundle.config_parser import ConfigParser
from torch.optim import Optimizer

from monai_gmcl.benchmark.check import EstimatorReport, check_estimators
from monai_gmcl.benchmark.cost_model import cost_of_passes, cost_table
from monai_gmcl.benchmark.host_traffic import DEVICE
from monai_gmcl.benchmark.step_traffic import traffic_of_steps, traffic_table
from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.exceptions import ConfigurationError

__all__ = ["check"]

MODULES = ("network", "teacher", "loss_function")
"""Arguments of the trainer that must be on its device."""


def check(
    config_file: str | list[str],
    bundle_root: str | None = None,
    iterations: int = 4,
    repeats: int = 3,
    cost: bool = False,
    **override: Any,
) -> None:
    """Compare hypergradient estimators on your student: cosine to the exact hypergradient, time and memory.

    Args:
        config_file: configuration of the bundle's training, one file or a list of files.
        bundle_root: folder of the bundle. Default: the parent of the configuration's folder.
        iterations: optimizer steps of the student before the comparison.
        repeats: number of estimates; the table shows their median time.
        cost: print the cost of a training step instead. One table has the counted FLOPs and the measured time of each
            pass, relative to a supervised step. Another table lists, by line of code, the random numbers, the copies
            and the waiting of the host in a step. It is counted on a simulated device, in float32; with ``amp`` in
            float16, with the loss scale of a GPU.
        override: values of the configuration to replace, such as ``--train#trainer#device cpu``.

    Raises:
        ConfigurationError: the configuration has no ``train#trainer`` that is a GMCLTrainer.
    """
    files = [config_file] if isinstance(config_file, str) else list(config_file)
    for file in files:
        if not Path(file).is_file():
            raise ConfigurationError(f"check: expected a bundle configuration (JSON or YAML), found no file {file!r}.")
    root = bundle_root or str(Path(files[0]).resolve().parent.parent)
    trainer = _trainer(files, {"bundle_root": root, **override})
    if cost:
        print(cost_table(cost_of_passes(trainer, max(iterations, 10), repeats)))
        values = {"bundle_root": root, **override}
        scaled = trainer.amp and trainer.amp_kwargs.get("dtype", torch.float16) == torch.float16

        def build() -> GMCLTrainer:
            built = _trainer(files, values, DEVICE)
            if scaled:
                built.scaler = torch.amp.GradScaler(DEVICE.type)
            return built

        print(traffic_table(traffic_of_steps(build, max(iterations, 10))))
        if trainer.amp:
            print("The host was counted without mixed precision, which the simulated device does not support.")
        if scaled:
            print(_waits_of_scaler(trainer.optimizer))
    else:
        print(report_table(check_estimators(trainer, iterations, repeats)))


def _trainer(files: list[str], values: dict[str, Any], device: torch.device | None = None) -> GMCLTrainer:
    """Build the trainer of the configuration, without validation and handlers, on the given device."""
    parser = ConfigParser()
    parser.read_config(files)
    parser.update(values)
    # The trainer runs without validation and without handlers that write files.
    parser.update({"train#trainer#train_handlers": [], "train#trainer#accumulation_steps": 1})
    if device is not None:
        parser.update({"device": device, "train#trainer#device": device, "train#trainer#amp": False})
    parser.get_parsed_content("initialize", default=None)
    for part in MODULES if device is not None else ():
        module = parser.get_parsed_content(f"train#trainer#{part}", default=None)
        if isinstance(module, torch.nn.Module):
            # Before optimizers are built from the parameters.
            module.to(device)
    trainer = parser.get_parsed_content("train#trainer", default=None)
    if not isinstance(trainer, GMCLTrainer):
        raise ConfigurationError(
            f"check: expected train#trainer of {json.dumps(files)} to be a GMCLTrainer, got {type(trainer).__name__}."
        )
    return trainer


def _waits_of_scaler(optimizer: Optimizer) -> str:
    """Return whether torch's loss scaling waits for the device with an optimizer, and the remedy."""
    name = type(optimizer).__name__
    if getattr(optimizer, "_step_supports_amp_scaling", False):
        return f"The loss scale of float16 was counted: with this {name}, torch's GradScaler does not wait."
    remedy = f"{name}(..., fused=True) or " if "fused" in optimizer.defaults else ""
    return (
        f"The loss scale of float16 was counted: with {name}, torch's GradScaler waits in each step, because the host "
        f"decides whether to skip it. Without this wait: {remedy}bfloat16, amp_kwargs={{'dtype': torch.bfloat16}}."
    )


def report_table(reports: list[EstimatorReport]) -> str:
    """Return the reports as text, one line for each."""
    lines = [f"{'estimator':<32}{'cosine':>9}{'ms':>10}{'passes':>9}{'MiB':>9}"]
    for report in reports:
        if report.failure:
            lines.append(f"{report.name:<32}not available: {report.failure}")
        else:
            figures = f"{report.cosine:>9.4f}{report.milliseconds:>10.1f}{report.passes:>9.2f}{report.mebibytes:>9.1f}"
            lines.append(f"{report.name:<32}{figures}")
    lines.append(
        "cosine: similarity to the exact hypergradient; passes: time relative to a forward and backward pass of the "
        "student"
    )
    return "\n".join(lines)
