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
#
# # From SupervisedTrainer to GMCLTrainer
#
# You have a MONAI workflow that trains a classifier on few labeled images. This notebook adds a *teacher* to it: a
# second, small model that changes real images into labeled synthetic ones, its *lessons*. The classifier, the student,
# learns from real images and lessons at once, and the teacher is told by gradient how much each lesson helped the
# student on the next real images. Nothing else of the workflow changes.
#
# The idea, generative meta curriculum learning (GMCL), is Li and Lovell's
# ([arXiv:2212.10086](https://arxiv.org/abs/2212.10086), ICIP 2023), of which we know the abstract and the introduction.
# The step, the teacher and the curriculum used here are our reconstruction.
#
# The images are a *phantom*: drawings of H&E-like epithelium in four grades, made from a seed on first use. They show
# no patient and prove nothing about real tissue; they are here so that this notebook runs anywhere in a few minutes.

# %% [markdown]
# ## Setup environment

# %%
# !python -c "import monai_gmcl" || pip install -q "..[tutorials]"

# %% [markdown]
# ## Setup imports

# %%
import csv
import logging
import os
import shutil
import tempfile
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from IPython.display import Image, display
from monai.config import print_config
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import ROCAUC, LrScheduleHandler, ValidationHandler, from_engine
from monai.networks.nets import ResNet
from monai.transforms import Activationsd, AsDiscreted, Compose, RandAdjustContrastd, RandFlipd
from monai.utils import set_determinism

from monai_gmcl import GMCLTrainer, PolicyTeacher, load_teacher
from monai_gmcl.data import image_transforms, make_phantom, open_data
from monai_gmcl.handlers import CurriculumLog, CurvesHandler, ImageGridHandler, TeacherSaver

warnings.filterwarnings("ignore")
logging.disable(logging.INFO)
print_config()

# %% [markdown]
# ## Setup data directory
#
# The phantom and what the runs write go to `MONAI_DATA_DIRECTORY`, or to a temporary folder.

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
max_epochs = 20
images_per_class = {"train": 50, "valid": 50, "test": 100}
if os.environ.get("GMCL_TUTORIAL_QUICK") == "1":
    max_epochs = 1
    images_per_class = dict.fromkeys(images_per_class, 8)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

# %% [markdown]
# ## The data
#
# Four grades: normal, and CIN1 to CIN3, in which dysplastic nuclei fill the lower third, two thirds, all of the
# epithelium's thickness.

# %%
phantom = make_phantom(root_dir / f"phantom_{images_per_class['train']}", images_per_class)
data = open_data(phantom)
load_image = image_transforms(data.spatial_dims, data.channels)
weak = [
    RandFlipd("image", prob=0.5, spatial_axis=1),
    RandAdjustContrastd("image", prob=0.5, gamma=(0.9, 1.1)),
]
print(f"{len(data.training)} images to train on, {len(data.validation)} to choose by, {len(data.test)} to test on")

# %%
figure, axes = plt.subplots(1, 4, figsize=(10, 2.8))
for axis, label in zip(axes, range(4), strict=True):
    first = next(item for item in data.training if item["label"] == label)
    axis.imshow(load_image(first)["image"].permute(1, 2, 0))
    axis.set_title(data.class_names[label])
    axis.axis("off")
plt.show()

# %% [markdown]
# ## The workflow
#
# One function for both runs. What differs is the trainer's class and what it is given beside: everything below is an
# ordinary MONAI workflow.


# %%
def workflow(trainer_class, handlers=(), **teaching):
    """Train a student; return it with the validation AUC of each epoch and the seconds that it took."""
    set_determinism(seed=0)
    train_loader = DataLoader(
        CacheDataset(data.training, Compose([*load_image.transforms, *weak]), progress=False),
        batch_size=16,
        shuffle=True,
    )
    valid_loader = DataLoader(CacheDataset(data.validation, load_image, progress=False), batch_size=100)
    student = ResNet(
        "basic", [1, 1, 1, 1], [16, 32, 64, 64], spatial_dims=2, n_input_channels=3, num_classes=4, conv1_t_size=3
    ).to(device)
    optimizer = torch.optim.AdamW(student.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=max_epochs * len(train_loader) + 1)
    to_probabilities = Compose([Activationsd("pred", softmax=True), AsDiscreted("label", to_onehot=4)])
    evaluator = SupervisedEvaluator(
        device=device,
        val_data_loader=valid_loader,
        network=student,
        postprocessing=to_probabilities,
        key_val_metric={"val_auc": ROCAUC(output_transform=from_engine(["pred", "label"]))},
    )
    trainer = trainer_class(
        device=device,
        max_epochs=max_epochs,
        train_data_loader=train_loader,
        network=student,
        optimizer=optimizer,
        loss_function=torch.nn.CrossEntropyLoss(),
        train_handlers=[
            LrScheduleHandler(scheduler, epoch_level=False, print_lr=False),
            ValidationHandler(interval=1, validator=evaluator),
            *handlers,
        ],
        **teaching,
    )
    history = []
    evaluator.add_event_handler("COMPLETED", lambda: history.append(evaluator.state.metrics["val_auc"]))
    began = time.perf_counter()
    trainer.run()
    return student, history, time.perf_counter() - began


# %% [markdown]
# First as it was:

# %%
plain_student, plain_auc, plain_seconds = workflow(SupervisedTrainer)
print(f"SupervisedTrainer: {plain_seconds:.0f} s, validation AUC {plain_auc[-1]:.3f}")

# %% [markdown]
# Then with a teacher and its optimizer. `PolicyTeacher` is a policy that a person can read: named operations with
# learned ranges. The handlers write down what it does.

# %%
output_dir = root_dir / "gmcl_quickstart"
shutil.rmtree(output_dir, ignore_errors=True)
teacher = PolicyTeacher(spatial_dims=2, in_channels=3, num_classes=4).to(device)
student, auc, seconds = workflow(
    GMCLTrainer,
    handlers=[
        CurriculumLog(output_dir),
        CurvesHandler(output_dir),
        ImageGridHandler(output_dir, data.class_names),
        TeacherSaver(output_dir),
    ],
    teacher=teacher,
    teacher_optimizer=torch.optim.Adam(teacher.parameters(), lr=0.03),
)
print(f"GMCLTrainer: {seconds:.0f} s, validation AUC {auc[-1]:.3f}")

# %% [markdown]
# ## What came out
#
# The same student, schedule and seed; GMCL's student saw a lesson beside each batch of real images, so its steps cost
# about twice as much. On one seed of a phantom a difference of a few hundredths is noise: the comparison that counts,
# on real patches, at equal compute and over several seeds, is `python -m monai_gmcl compare`.

# %%
figure, axis = plt.subplots(figsize=(6, 3.5))
epochs = range(1, max_epochs + 1)
axis.plot(epochs, plain_auc, "--", marker=".", label="SupervisedTrainer")
axis.plot(epochs, auc, marker=".", label="GMCLTrainer")
axis.set_xlabel("epoch")
axis.xaxis.get_major_locator().set_params(integer=True)
axis.set_ylabel("validation AUC")
axis.legend()
plt.show()


# %%
@torch.no_grad()
def test_accuracy(network):
    """Return the share of test images that a student is right about."""
    loader = DataLoader(CacheDataset(data.test, load_image, progress=False), batch_size=100)
    network.eval()
    right = [network(batch["image"].to(device)).argmax(1).cpu() == batch["label"] for batch in loader]
    return torch.cat(right).float().mean().item()


print(f"test accuracy: SupervisedTrainer {test_accuracy(plain_student):.3f}, GMCLTrainer {test_accuracy(student):.3f}")

# %% [markdown]
# ## What the teacher does to images
#
# The same sources and the same random numbers after the first epoch and after the last: only the teacher and the
# difficulty have changed.

# %%
for epoch in sorted({1, max_epochs}):
    display(Image(str(output_dir / "images" / f"epoch_{epoch:04d}.png"), width=640))

# %% [markdown]
# ## How to read the curves
#
# - **Loss and accuracy.** `synthetic_loss` above `loss`, and `lesson_accuracy` a little below `real_accuracy`: lessons
#   are harder than real images, but can be learned. Equal curves mean lessons that teach nothing new; a lesson accuracy
#   at chance means lessons that nobody can read.
# - **difficulty**, the strength of the teacher's changes, follows the student's competence: it grows while the student
#   keeps up and falls otherwise. 1 is what the operations usually do.
# - **real_weight** and **lesson_weight** say how much real images and lessons count in the student's step.
#   **hardness** above 0 would make the teacher look for what the student finds hard.
# - **diversity** is how different the images of a lesson are from each other. If it falls towards 0 the teacher has
#   collapsed to one change; `diversity_kept` in `curriculum.csv` compares it with the untrained teacher.

# %%
display(Image(str(output_dir / "curves.png"), width=800))

# %%
with open(output_dir / "curriculum.csv", newline="", encoding="utf-8") as file:
    rows = list(csv.DictReader(file))
shown = ("epoch", "loss", "synthetic_loss", "real_accuracy", "lesson_accuracy", "difficulty", "diversity_kept")
print("  ".join(f"{name:>15}" for name in shown))
for row in rows[:: max(1, len(rows) // 5)]:
    print("  ".join(f"{float(row[name]):15.3g}" for name in shown))

# %% [markdown]
# What the teacher has learned, in words: `share` is how much of the common strength each operation got; 1 is an equal
# share.

# %%
print(teacher.policy_table(difficulty=float(rows[-1]["difficulty"])))

# %% [markdown]
# ## Keep the teacher
#
# `TeacherSaver` wrote the teacher to one file. Loading runs no code from it, and a damaged file is refused.

# %%
kept = load_teacher(output_dir / "teacher.safetensors")
print(type(kept).__name__, "with", sum(p.numel() for p in kept.parameters()), "learned numbers")

# %% [markdown]
# ## Cleanup data directory

# %%
if directory is None:
    shutil.rmtree(root_dir)
