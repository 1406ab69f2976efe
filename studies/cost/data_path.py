# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

"""How long a training waits for its images: ``python -m studies.cost.data_path --data_dir DIR``."""

from __future__ import annotations

import time

import fire
import torch
from ignite.engine import Events
from monai.data.dataset import Dataset
from torch.utils.data import DataLoader

from monai_gmcl.data import image_transforms, open_data
from monai_gmcl.exceptions import ConfigurationError
from studies.cost.resnet_trainer import resnet_trainer

__all__ = ["data_path"]


def data_path(
    data_dir: str, size: int = 96, channels: int = 3, batch: int = 32, workers: int = 2, iterations: int = 40
) -> None:
    """Print what share of its time a training from image files waits for them, and how many the loader gives alone.

    MONAI's ResNet18 with Head on the CPU, one thread; files are read and decoded anew each time. The workers' start,
    before the first batch, is told by itself.

    Args:
        data_dir: class folders.
        size: side of the images.
        channels: of the images.
        batch: real images in an iteration.
        workers: processes that read.
        iterations: of the training.

    Raises:
        ConfigurationError: fewer than two iterations.
        DataError: nothing to read.
    """
    if iterations < 2:
        raise ConfigurationError(f"data_path: expected at least 2 iterations, got {iterations}.")
    torch.set_num_threads(1)
    data = open_data(data_dir)
    transform = image_transforms(2, channels, size=size)
    items = [data.training[k % len(data.training)] for k in range(batch * iterations)]
    loader = DataLoader(Dataset(items, transform), batch_size=batch, num_workers=workers, shuffle=True)
    trainer = resnet_trainer(loader, channels, data.num_classes)
    asked: list[float] = []
    given: list[float] = []
    trainer.add_event_handler(Events.GET_BATCH_STARTED, lambda: asked.append(time.perf_counter()))
    trainer.add_event_handler(Events.GET_BATCH_COMPLETED, lambda: given.append(time.perf_counter()))
    begin = time.perf_counter()
    trainer.run()
    whole = time.perf_counter() - given[0]
    waited = sum(after - before for before, after in zip(asked[1:], given[1:], strict=False))
    told = f"{batch * iterations} images in {whole:.1f} s, of which it waited {waited:.2f} s, {waited / whole:.1%}"
    print(f"training: {told}")
    print(f"first batch after {given[0] - begin:.1f} s")
    begin = time.perf_counter()
    count = sum(len(found["label"]) for found in loader)
    rate = count / (time.perf_counter() - begin)
    print(f"loader alone: {rate:.0f} images/s with {workers} workers, their start included")


if __name__ == "__main__":
    fire.Fire(data_path)
