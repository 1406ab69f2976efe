# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# Copyright (c) monai_gmcl contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
# &nbsp;&nbsp;&nbsp;&nbsp;http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
# # Few labels, many images
#
# In this notebook, the student has sixteen labeled images of each class and a *pool* of unlabeled images. Some images
# of the pool are out-of-distribution. The teacher makes lessons (batches of synthetic images) from labeled and
# unlabeled images. A running average of the student predicts pseudo-labels for the pool (*proposed labels*). The
# weight of an image in a lesson depends on how much a step on this image lowers the student's loss on labeled images
# (the *look-ahead*). The notebook compares this method with simpler methods, and shows the images with the highest and
# the lowest weights.
#
# The images are the *phantom*: drawings of H&E-like epithelium in four grades. The out-of-distribution images of the
# pool are gray bands. The images show no tissue and no patient. Because they are drawn, the true class of each image of
# the pool is known for the evaluation. The training does not use it.

# %% [markdown]
# ## Setup environment
#
# If `monai_gmcl` is not installed, the next cell installs it from this repository.

# %%
# !python -c "import monai_gmcl" || pip install -q "..[tutorials]"

# %% [markdown]
# ## Setup imports

# %%
import json
import os
import shutil
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Image, display
from monai.config import print_config
from monai.data import CacheDataset, DataLoader
from monai.networks.nets import ResNet
from monai.utils import first, set_determinism

from monai_gmcl import (
    GMCLEvents,
    GMCLTrainer,
    HeadHypergradient,
    LookAheadWeighting,
    PolicyTeacher,
    UniformWeighting,
)
from monai_gmcl.data import image_transforms, make_phantom, make_unlabeled_phantom, open_data, unlabeled_datalist
from monai_gmcl.handlers import LessonWeightsLog
from monai_gmcl.metrics.classification import classification_measures

print_config()

# %% [markdown]
# ## Setup data directory
#
# All files are written to `MONAI_DATA_DIRECTORY`, or to a temporary folder.

# %%
directory = os.environ.get("MONAI_DATA_DIRECTORY")
if directory is not None:
    os.makedirs(directory, exist_ok=True)
root_dir = Path(tempfile.mkdtemp() if directory is None else directory)

# %% [markdown]
# ## Settings
#
# `GMCL_TUTORIAL_QUICK=1` in the environment is for automatic tests: one epoch, eight images of each class.

# %%
max_epochs = 90
pool_size = 400
images_per_class = {"train": 16, "valid": 8, "test": 100}
if os.environ.get("GMCL_TUTORIAL_QUICK") == "1":
    max_epochs = 1
    pool_size = 40
    images_per_class = dict.fromkeys(images_per_class, 8)
seed = 0
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

# %% [markdown]
# ## Labeled images, and a pool

# %%
data = open_data(make_phantom(root_dir / f"phantom_{images_per_class['test']}", images_per_class, size=32))
pool_dir = make_unlabeled_phantom(root_dir / f"pool_{pool_size}", count=pool_size, foreign_share=0.2, size=32)
pool = unlabeled_datalist(pool_dir)
kinds = json.loads((pool_dir.parent / "unlabeled_phantom.json").read_text())["kinds"]  # used for the evaluation only
load_image = image_transforms(data.spatial_dims, data.channels)
labeled = CacheDataset(data.training, load_image, progress=False)
unlabeled = CacheDataset(pool, load_image, progress=False)
test = first(DataLoader(CacheDataset(data.test, load_image, progress=False), batch_size=len(data.test)))
print(f"{len(labeled)} labeled images, {len(unlabeled)} unlabeled images, {kinds.count('foreign')} out-of-distribution")

figure, axes = plt.subplots(2, 8, figsize=(9.5, 2.7), layout="constrained")
for row, (name, images) in zip(axes, (("labeled", labeled), ("the pool", unlabeled)), strict=True):
    row[0].set_ylabel(name)
    for axis, position in zip(row, np.linspace(0, len(images) - 1, 8).astype(int), strict=True):
        axis.imshow(images[int(position)]["image"].permute(1, 2, 0), interpolation="nearest")
        axis.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## Six methods
#
# All methods train with a teacher. They use:
#
# - labeled images alone;
# - the pool, with equal weights;
# - the pool, with weights by the look-ahead: the default with unlabeled images. It needs one additional forward pass
#   of the student;
# - the same with the gradient of the newest real batch only, without a running average: `LookAheadWeighting(memory=0)`;
# - the same with the student's last layer (the head) only, `LookAheadWeighting(HeadHypergradient())`, without an
#   additional pass;
# - the default weights with true labels instead of proposed labels. Out-of-distribution images get a random label.
#
# A lesson from the pool has the batch size of the data loader.

# %%
batch_size = 16
records = []  # (kind, proposed label, weight, epoch) of each image of the pool in each lesson
truth = {}  # true class of an image, by its pixels
generator = np.random.default_rng(seed)
for position, kind in enumerate(kinds):
    pixels = unlabeled[position]["image"].as_tensor()
    truth[float(pixels.double().sum())] = (kind, int(generator.integers(4)) if kind == "foreign" else kind)


def true_labels(images):
    """A proposal that knows the label, with its confidence."""
    known = [truth[float(image.cpu().double().sum())][1] for image in images]
    return torch.tensor(known, device=images.device), torch.ones(len(known), device=images.device)


def train(name, weighting=None, with_pool=True, label_proposal=None, handlers=()):
    """Train a student; return its trainer."""
    set_determinism(seed=seed)
    student = ResNet(
        "basic", [1, 1, 1, 1], [16, 32, 64, 64], spatial_dims=2, num_classes=data.num_classes, conv1_t_size=3
    ).to(device)
    teacher = PolicyTeacher(data.spatial_dims, data.channels, data.num_classes).to(device)
    optional = {}
    if with_pool:
        pool_loader = DataLoader(unlabeled, batch_size=batch_size, shuffle=True)
        optional = {"unlabeled_data_loader": pool_loader, "weighting": weighting, "label_proposal": label_proposal}
    trainer = GMCLTrainer(
        device=device,
        # The same number of student steps for all: a pass over the pool is not an epoch.
        max_epochs=max_epochs,
        train_data_loader=DataLoader(labeled, batch_size=batch_size, shuffle=True),
        network=student,
        optimizer=torch.optim.AdamW(student.parameters(), lr=2e-3),
        loss_function=torch.nn.CrossEntropyLoss(),
        train_handlers=list(handlers),
        teacher=teacher,
        teacher_optimizer=teacher.optimizer(),
        **optional,
    )
    trainer.run()
    return trainer


def note(engine):
    """Remember the weight of each image of the pool, with what it really is."""
    lesson = engine.state.lesson
    for i in range(lesson.num_labeled, len(lesson)):
        kind, _ = truth[float(lesson.sources[i].cpu().double().sum())]
        records.append((kind, int(lesson.labels[i]), float(lesson.weights[i]), engine.state.epoch))


class Note:
    """A handler that calls ``note`` after each lesson."""

    def attach(self, engine):
        engine.add_event_handler(GMCLEvents.LESSON_COMPLETED, note)


output_dir = root_dir / "few_labels"
shutil.rmtree(output_dir, ignore_errors=True)
log = LessonWeightsLog(output_dir, data.class_names, interval=max_epochs)
trainers = {
    "labeled images alone": train("labeled", with_pool=False),
    "and the pool, equal weights": train("alike", UniformWeighting()),
    "and the pool, look-ahead weights": train("weighed", LookAheadWeighting(), handlers=[log, Note()]),
    "and the pool, newest gradient only": train("newest", LookAheadWeighting(memory=0)),
    "and the pool, last layer only": train("head", LookAheadWeighting(HeadHypergradient())),
    "and the pool, true labels": train("true", LookAheadWeighting(), label_proposal=true_labels),
}

# %%
for name, trainer in trainers.items():
    with torch.no_grad():
        probabilities = trainer.network.eval()(test["image"].to(device)).softmax(1).cpu()
    measures = classification_measures(probabilities, test["label"])
    print(f"{name:36} accuracy {measures['accuracy']:.3f}, AUC {measures['auc']:.3f}")

# %% [markdown]
# In the saved run, the pool lowers the AUC if all weights are equal: a fifth of the pool is no epithelium, and about a
# third of the proposed labels are wrong. With weights by the look-ahead, the AUC is higher than with labeled images
# alone. The gain depends on how the weights are computed. The student soon memorizes the 64 labeled images, which
# probably makes the running average of their gradients less useful. On this phantom, the newest gradient alone and the
# last layer alone are better than the default (the last layer by .03 in each of four seeds). On real patches (PCam,
# 100 and 500 labels), the default was better (`studies/proof/README.md`). Compare these weights on your own data with
# several seeds.
#
# ## Which images have large weights?
#
# The figure shows the weights of the pool's images in the run with weights by the look-ahead. There are three groups:
# images with a correct proposed label, images with a wrong proposed label, and out-of-distribution images (printed as
# *foreign*). The mean weight of a lesson, including labeled images, is 1.

# %%
groups = {"right label": [], "wrong label": [], "foreign": []}
epochs = {name: {} for name in groups}
for kind, label, weight, epoch in records:
    group = "foreign" if kind == "foreign" else "right label" if kind == label else "wrong label"
    groups[group].append(weight)
    epochs[group].setdefault(epoch, []).append(weight)
for name, weights in groups.items():
    if weights:
        zero = np.mean(np.asarray(weights) == 0)
        print(f"{name:12} {len(weights):6} times in a lesson, mean weight {np.mean(weights):.2f}, weight 0: {zero:.0%}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3), layout="constrained")
step = max(1, max_epochs // 10)  # one epoch has few lessons


def by_tenths(by_epoch):
    """Return the last epoch of each tenth of the run, and the mean over the tenth."""
    tenths = {}
    for epoch, values in by_epoch.items():
        tenths.setdefault(-(-epoch // step) * step, []).extend(values)
    return list(tenths), [np.mean(values) for values in tenths.values()]


for name, by_epoch in epochs.items():
    left.plot(*by_tenths(by_epoch), marker=".", label=name)
share = {}
for kind, label, _, epoch in records:
    if kind != "foreign":
        share.setdefault(epoch, []).append(kind == label)
right.plot(*by_tenths(share), marker=".", color="black")
left.set(xlabel="epoch", ylabel="mean weight")
right.set(xlabel="epoch", ylabel="share of right labels\namong images that belong there", ylim=(0, 1))
left.legend(fontsize=9)
for axis in (left, right):
    axis.grid(alpha=0.3)
plt.show()

# %% [markdown]
# In the saved run, the weight of out-of-distribution images is about a quarter of the weight of the other images.
# Images with a wrong label have smaller weights at first, when most proposed labels are wrong. Later, when few
# proposed labels are wrong, these images have larger weights. A weight is an estimate of the effect of an image on the
# loss. It does not show whether the label is correct.
#
# ## Images with the highest and the lowest weights
#
# `LessonWeightsLog` draws these images for each class of the proposed label, with their sources. The figure shows the
# last epoch.

# %%
display(Image(str(output_dir / "weights" / f"epoch_{max_epochs:04d}.png"), width=800))

# %% [markdown]
# ## Next steps
#
# - `ConfidenceWeighting` weights images by the confidence of their label. `Curriculum(unlabeled_weight=LinearRamp(0,
#   1))` increases the weight of unlabeled images from 0 to 1 during the run.
# - `label_proposal` can be any function, such as `true_labels` above, or a student that was trained before:
#   `PseudoLabeler(network=first)`. Because this student is not trained on its own labels, unlabeled images can have a
#   large weight: `Curriculum(real_weight=0.1, unlabeled_weight=3, unlabeled_difficulty=0.3)`, with
#   `UniformWeighting()`.
# - The bundle has the option `--unlabeled_dir /data/unlabeled`.

# %% [markdown]
# ## Cleanup data directory
#
# The next cell removes the directory if it is a temporary directory.

# %%
if directory is None:
    shutil.rmtree(root_dir)
