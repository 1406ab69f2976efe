# Copyright (c) monai_gmcl contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""A small labeled set, four ways: weak transforms, twice as long, a frozen random teacher, GMCL.

Run: ``python -m monai_gmcl.benchmark.small_set --data_dir ../shared/data/pcam --crop 64 --size 32``. Any folder with
``train`` and ``valid`` class folders of two classes will do. The labeled set is drawn from ``train`` by seed; AUC is
measured on images of ``train`` that no seed's run trains on here; ``test`` is not read.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import fire
import numpy as np
import torch
from ignite.engine import Events
from monai.data.dataset import ArrayDataset
from monai.engines.trainer import SupervisedTrainer, Trainer
from monai.metrics.rocauc import compute_roc_auc
from monai.networks.nets.resnet import ResNet
from monai.transforms.compose import Compose
from monai.transforms.intensity.array import RandAdjustContrast, RandScaleIntensity, ScaleIntensityRange
from monai.transforms.spatial.array import RandAffine, RandFlip, RandRotate90
from torch import Tensor, nn
from torch.utils.data import DataLoader

from monai_gmcl.curriculum import Curriculum
from monai_gmcl.data import class_folder_datalist, draw_labeled, image_transforms
from monai_gmcl.engines import GMCLTrainer
from monai_gmcl.teachers import PolicyTeacher

__all__ = ["small_set"]

Images = tuple[Tensor, Tensor]
BATCH = 32
ARMS: dict[str, tuple[int, bool | None]] = {
    "weak transforms": (1, None),
    "weak transforms, twice the steps": (2, None),
    "frozen random teacher": (1, False),
    "GMCL": (1, True),
}


def small_set(
    data_dir: str,
    per_class: int = 250,
    seeds: int | Sequence[int] = 3,
    steps: int = 800,
    channels: int = 3,
    crop: int | None = None,
    size: int | None = None,
    quarter_turns: bool = True,
    exclude: Sequence[str] = (),
    report: str = "",
) -> None:
    """Print the AUC of each arm, with weights chosen on validation and with final weights.

    Args:
        data_dir: folder with ``train`` and ``valid`` class folders.
        per_class: labeled images per class.
        seeds: how many seeds, or which.
        steps: student steps of 32 real images.
        channels: of the images, 1 or 3.
        crop: centre to keep.
        size: to resize to.
        quarter_turns: weak transforms: flips and quarter turns; otherwise small shifts and rotations.
        exclude: operations that the teacher must not use, because they make labels false.
        report: JSON lines file to append each run to.
    """
    torch.set_num_threads(1)
    train_items, names = class_folder_datalist(f"{data_dir}/train")
    valid_items, _ = class_folder_datalist(f"{data_dir}/valid", names)
    read = image_transforms(2, channels, crop, size)
    valid = _loaded([valid_items[i] for i in np.random.RandomState(3).permutation(len(valid_items))[:300]], read)
    results: dict[str, list[tuple[float, float]]] = {arm: [] for arm in ARMS}
    for seed in range(seeds) if isinstance(seeds, int) else seeds:
        drawn, rest = draw_labeled(train_items, per_class, seed)
        held_out = _loaded([rest[i] for i in np.random.RandomState(7).permutation(len(rest))[:2000]], read)
        labeled = _loaded(drawn, read)
        for arm, (length, teacher) in ARMS.items():
            start = time.perf_counter()
            run = _Run(labeled, valid, seed, steps * length, teacher, quarter_turns, exclude)
            chosen, final = run.auc_chosen_and_final(held_out)
            results[arm].append((chosen, final))
            row = {"arm": arm, "seed": seed, "chosen": round(chosen, 4), "final": round(final, 4)}
            row["seconds"] = round(time.perf_counter() - start, 1)
            print(json.dumps(row), flush=True)
            if report:
                with open(report, "a", encoding="utf-8") as file:
                    file.write(json.dumps({"data": data_dir, "per_class": per_class, "steps": steps, **row}) + "\n")
    print(f"{'arm':<36}{'chosen':>9}{'final':>9}")
    for arm, pairs in results.items():
        chosen_mean, final_mean = (statistics.mean(values) for values in zip(*pairs, strict=True))
        print(f"{arm:<36}{chosen_mean:>9.4f}{final_mean:>9.4f}")


class _Run:
    def __init__(
        self,
        labeled: Images,
        valid: Images,
        seed: int,
        steps: int,
        teacher: bool | None,
        quarter_turns: bool,
        exclude: Sequence[str],
    ) -> None:
        torch.manual_seed(seed)
        channels = labeled[0].shape[1]
        self.valid = valid
        self.network = ResNet(
            "basic",
            [1, 1, 1, 1],
            [16, 32, 64, 64],
            spatial_dims=2,
            n_input_channels=channels,
            num_classes=2,
            conv1_t_size=3,
            conv1_t_stride=1,
        )
        self.best: tuple[float, dict[str, Tensor]] = (-1.0, {})
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=2e-3)
        data = ArrayDataset(list(labeled[0]), _weak_transforms(quarter_turns), list(labeled[1]))
        loader: DataLoader[Any] = DataLoader(data, batch_size=BATCH, shuffle=True)
        epochs = max(1, round(steps / len(loader)))
        total = epochs * len(loader)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=total + 1)
        shared: dict[str, Any] = {
            "device": "cpu",
            "max_epochs": epochs,
            "train_data_loader": loader,
            "network": self.network,
            "optimizer": optimizer,
            "loss_function": nn.CrossEntropyLoss(),
            "decollate": False,
        }
        self.trainer = self._trainer(shared, teacher, channels, exclude, seed)
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: scheduler.step())
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED(every=max(1, total // 50)), self._validate)

    def _trainer(
        self, shared: dict[str, Any], learns: bool | None, channels: int, exclude: Sequence[str], seed: int
    ) -> Trainer:
        if learns is None:
            return SupervisedTrainer(**shared)
        teacher = PolicyTeacher(spatial_dims=2, in_channels=channels, num_classes=2, exclude=exclude)
        return GMCLTrainer(
            **shared,
            teacher=teacher,
            teacher_optimizer=torch.optim.Adam(teacher.parameters(), lr=0.03, betas=(0.9, 0.99)) if learns else None,
            curriculum=Curriculum() if learns else Curriculum(difficulty=1.0),
            seed=seed,
        )

    def _validate(self) -> None:
        found = self._auc(self.valid)
        if found > self.best[0]:
            self.best = (found, {name: value.clone() for name, value in self.network.state_dict().items()})

    def auc_chosen_and_final(self, images: Images) -> tuple[float, float]:
        """Train, then return the AUC of the weights that validation chose and of the last ones."""
        self.trainer.run()
        final = self._auc(images)
        self.network.load_state_dict(self.best[1])
        return self._auc(images), final

    @torch.no_grad()
    def _auc(self, images: Images) -> float:
        self.network.eval()
        scores = torch.cat([self.network(part).softmax(1)[:, 1] for part in torch.split(images[0], 500)])
        self.network.train()
        auc: Any = compute_roc_auc(scores, images[1])
        return float(auc)


def _loaded(items: Sequence[dict[str, Any]], read: Callable[[Any], Any]) -> Images:
    images = torch.stack([read(item)["image"].as_tensor() for item in items])
    return images, torch.tensor([item["label"] for item in items])


def _weak_transforms(quarter_turns: bool) -> Compose:
    tone = [RandScaleIntensity(factors=0.2, prob=1.0), RandAdjustContrast(prob=1.0, gamma=(0.8, 1.25))]
    clip = ScaleIntensityRange(0.0, 1.0, 0.0, 1.0, clip=True)
    if quarter_turns:
        return Compose([RandRotate90(prob=0.75), RandFlip(prob=0.5, spatial_axis=1), *tone, clip])
    shift = RandAffine(prob=1.0, rotate_range=0.17, translate_range=2, padding_mode="border")
    return Compose([shift, *tone, clip])


if __name__ == "__main__":
    fire.Fire(small_set)
