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
# This notebook starts from a MONAI workflow that trains a classifier on few labeled images, and adds a *teacher*: a
# small second network that turns real images into labeled synthetic images. One batch of synthetic images is a
# *lesson*. The classifier, the *student*, is trained on real images and lessons together. The teacher is updated by
# backpropagating the student's loss on the next real batch. The rest of the workflow does not change.
#
# The notebook shows the change in code, validation curves with and without a teacher, synthetic images during training,
# the meaning of the logged values, and how to save the teacher.
#
# **What comes from the paper.** The idea, generative meta curriculum learning (GMCL), comes from Li and Lovell
# ([arXiv:2212.10086](https://arxiv.org/abs/2212.10086), ICIP 2023): one additional model is trained together with the
# classifier, generates a curriculum and is updated by meta-learning, without a discriminator. Only the abstract and the
# introduction of the paper were available. The training step, the teacher and the curriculum are our reconstruction.
#
# **The images are a phantom**: drawings of H&E-like epithelium in four grades, made from a seed on first use. They show
# no tissue and no patient. The results do not predict the performance on tissue. In this notebook, the drawings are
# called *real images*, in contrast to the teacher's images.

# %% [markdown]
# ## Setup environment
#
# If `monai_gmcl` is not installed, the next cell installs it from this repository.

# %%
# !python -c "import monai_gmcl" || pip install -q "..[tutorials]"

# %% [markdown]
# ## Setup imports

# %%
import os
import shutil
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from IPython.display import Image, display
from monai.config import print_config
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import ROCAUC, LrScheduleHandler, MetricLogger, ValidationHandler, from_engine
from monai.networks.nets import ResNet
from monai.transforms import Activationsd, AsDiscreted, Compose, RandAdjustContrastd, RandFlipd
from monai.utils import first, set_determinism

from monai_gmcl import GMCLTrainer, PolicyTeacher, load_teacher
from monai_gmcl.data import image_transforms, make_phantom, open_data
from monai_gmcl.handlers import CurriculumLog, CurvesHandler, ImageGridHandler, TeacherSaver
from monai_gmcl.handlers.epoch_table import EpochTable
from monai_gmcl.metrics.classification import class_report

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
max_epochs = 20
images_per_class = {"train": 50, "valid": 50, "test": 100}
if os.environ.get("GMCL_TUTORIAL_QUICK") == "1":
    max_epochs = 1
    images_per_class = dict.fromkeys(images_per_class, 8)
seed = 0
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

# %% [markdown]
# ## The data
#
# The four grades are normal and CIN1 to CIN3. In CIN1, dysplastic nuclei (large, dark, crowded) fill the lower third
# of the epithelium, in CIN2 two thirds, in CIN3 all of it. Stain, size and focus vary between images.

# %%
phantom = make_phantom(root_dir / f"phantom_{images_per_class['train']}", images_per_class)
data = open_data(phantom)
load_image = image_transforms(data.spatial_dims, data.channels)
print(f"{len(data.training)} images to train on, {len(data.validation)} to validate on, {len(data.test)} to test on")

# %%
figure, axes = plt.subplots(1, data.num_classes, figsize=(9, 2.8), layout="constrained")
for axis, (label, name) in zip(axes, enumerate(data.class_names), strict=True):
    item = next(item for item in data.training if item["label"] == label)
    axis.imshow(load_image(item)["image"].permute(1, 2, 0), interpolation="nearest")
    axis.set_title(name, fontsize=10)
    axis.axis("off")
figure.suptitle("The phantom: a training image of each class")
plt.show()

# %% [markdown]
# ## The workflow without a teacher
#
# The workflow uses a small residual network, weak random transforms, AdamW with a one-cycle schedule, and the AUC on
# validation images after each epoch. The function below returns the trainer's arguments. The cells that follow show
# only the differences between the runs.

# %%
weak = [
    RandFlipd("image", prob=0.5, spatial_axis=1),
    RandAdjustContrastd("image", prob=0.5, gamma=(0.9, 1.1)),
]


def workflow(epochs=max_epochs):
    """Return the arguments of a trainer, and the evaluator that it calls after each epoch."""
    set_determinism(seed=seed)
    training = CacheDataset(data.training, Compose([*load_image.transforms, *weak]), progress=False)
    train_loader = DataLoader(training, batch_size=16, shuffle=True)
    validation = CacheDataset(data.validation, load_image, progress=False)
    student = ResNet(
        "basic",
        [1, 1, 1, 1],
        [16, 32, 64, 64],
        spatial_dims=data.spatial_dims,
        n_input_channels=data.channels,
        num_classes=data.num_classes,
        conv1_t_size=3,
    ).to(device)
    optimizer = torch.optim.AdamW(student.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * len(train_loader) + 1)
    evaluator = SupervisedEvaluator(
        device=device,
        val_data_loader=DataLoader(validation, batch_size=100),
        network=student,
        postprocessing=Compose([Activationsd("pred", softmax=True), AsDiscreted("label", to_onehot=data.num_classes)]),
        key_val_metric={"val_auc": ROCAUC(output_transform=from_engine(["pred", "label"]))},
    )
    arguments = {
        "device": device,
        "max_epochs": epochs,
        "train_data_loader": train_loader,
        "network": student,
        "optimizer": optimizer,
        "loss_function": torch.nn.CrossEntropyLoss(),
        "train_handlers": [
            LrScheduleHandler(scheduler, epoch_level=False, print_lr=False),
            ValidationHandler(interval=1, validator=evaluator),
        ],
    }
    return arguments, evaluator


# %% [markdown]
# This cell trains without a teacher:

# %%
arguments, evaluator = workflow()
plain_history = MetricLogger(evaluator=evaluator)
plain = SupervisedTrainer(**arguments)
plain.run()
print(f"validation AUC after {max_epochs} epochs: {evaluator.state.metrics['val_auc']:.3f}")

# %% [markdown]
# ## With a teacher
#
# ```diff
# -trainer = SupervisedTrainer(**arguments)
# +trainer = GMCLTrainer(
# +    **arguments,
# +    teacher=teacher,
# +    teacher_optimizer=teacher.optimizer(),
# +)
# ```
#
# `PolicyTeacher` changes images by named operations (rotation, zoom, contrast, blur, ...). The amount of each
# operation is drawn from a learned range. The four handlers are optional. They log values and images, which takes
# additional time.

# %%
output_dir = root_dir / "gmcl_quickstart"
shutil.rmtree(output_dir, ignore_errors=True)
picture_interval = max(1, max_epochs // 4)

arguments, evaluator = workflow()
gmcl_history = MetricLogger(evaluator=evaluator)
arguments["train_handlers"] += [
    CurriculumLog(output_dir, evaluator=evaluator),
    CurvesHandler(output_dir),
    ImageGridHandler(output_dir, data.class_names, per_class=2, interval=picture_interval),
    TeacherSaver(output_dir),
]
teacher = PolicyTeacher(data.spatial_dims, data.channels, data.num_classes).to(device)
gmcl = GMCLTrainer(
    **arguments,
    teacher=teacher,
    teacher_optimizer=teacher.optimizer(),
)
gmcl.run()
print(f"validation AUC after {max_epochs} epochs: {evaluator.state.metrics['val_auc']:.3f}")

# %% [markdown]
# ## Controls
#
# A student with a teacher is trained on one lesson for each real batch, that is, on twice as many images. Two controls
# follow. The first is the workflow without a teacher and with twice as many epochs. The second is a *frozen teacher*
# (`teacher_optimizer=None`): it applies the same operations with the same rule for the difficulty, but is not trained.
# An effect of the teacher's training is shown only if GMCL is better than both controls.

# %%
arguments, evaluator = workflow(epochs=2 * max_epochs)
longer_history = MetricLogger(evaluator=evaluator)
longer = SupervisedTrainer(**arguments)
longer.run()

arguments, evaluator = workflow()
frozen_history = MetricLogger(evaluator=evaluator)
random_teacher = PolicyTeacher(data.spatial_dims, data.channels, data.num_classes).to(device)
frozen = GMCLTrainer(**arguments, teacher=random_teacher, teacher_optimizer=None)
frozen.run()

runs = {
    "SupervisedTrainer": (plain, plain_history),
    "SupervisedTrainer, twice the epochs": (longer, longer_history),
    "GMCLTrainer, frozen random teacher": (frozen, frozen_history),
    "GMCLTrainer": (gmcl, gmcl_history),
}

# %% [markdown]
# ## Results

# %%
figure, axis = plt.subplots(figsize=(7, 4))
for (name, (trainer, history)), style in zip(runs.items(), (":", "--", "-.", "-"), strict=True):
    auc = [value for _, value in history.metrics["val_auc"]]
    images_an_epoch = len(data.training) * (2 if isinstance(trainer, GMCLTrainer) else 1)
    seen = [images_an_epoch * (epoch + 1) for epoch in range(len(auc))]
    axis.plot(seen, auc, style, marker=".", label=name)
axis.set_xlabel("images that the student has learned from, real and synthetic")
axis.set_ylabel("validation AUC, mean of the classes")
axis.grid(alpha=0.3)
axis.legend(loc="lower right", fontsize=9)
plt.show()

# %% [markdown]
# The table shows the last checkpoint of each student on the test images:

# %%
test_loader = DataLoader(CacheDataset(data.test, load_image, progress=False), batch_size=len(data.test))
test_batch = first(test_loader)
print(f"{'':36}{'seconds':>8}{'AUC':>7}{'accuracy':>10}   accuracy of {', '.join(data.class_names)}")
for name, (trainer, _) in runs.items():
    with torch.no_grad():
        probabilities = trainer.network.eval()(test_batch["image"].to(device)).softmax(1).cpu()
    *grades, every = class_report(probabilities, test_batch["label"], data.class_names)
    by_grade = "  ".join(f"{row['accuracy']:.2f}" for row in grades)
    seconds = trainer.state.times["COMPLETED"]
    print(f"{name:36}{seconds:8.0f}{every['auc']:7.3f}{every['accuracy']:10.3f}   {by_grade}")

# %% [markdown]
# In the saved run, the accuracy with lessons is higher by more than .08 than without a teacher. Twice as many epochs
# without a teacher do not close this gap. The gain comes from the lessons, not from the teacher's training: on the
# phantom, a frozen teacher is as good as a trained teacher. The standard error of the accuracy on 400 images is .02,
# so that the difference between the last two rows is not significant. If an operation breaks the labels (makes them
# wrong), a trained teacher is better: see the results page and the how-to *Which changes keep the label?*
#
# The phantom favors augmentation. The transforms of the workflow without a teacher are weak on purpose, and no setting
# was tuned. Stronger transforms would reduce the gap. The times were measured on a busy machine; the times of
# `GMCLTrainer` include logs and figures. The results page has measurements on real patches. There, the differences are
# smaller.

# %% [markdown]
# ## Synthetic images during training
#
# The three figures show synthetic images at three epochs. Source images and random numbers are the same in all
# figures, so that only the teacher and the difficulty differ. In the saved run, the difficulty falls from 1.5 to 1.
# White patches and color casts become weaker (see the rows of CIN2 and CIN3). Flips and rotations remain.

# %%
for epoch in sorted({picture_interval, min(2 * picture_interval, max_epochs), max_epochs}):
    display(Image(str(output_dir / "images" / f"epoch_{epoch:04d}.png"), width=520))

# %% [markdown]
# ## How to read difficulty and diversity
#
# A teacher is a `torch.nn.Module`. Its inputs are images, labels, *latents* (the random numbers) and a *difficulty*
# (the strength of the changes). At difficulty 0, images do not change. At difficulty 1, the operations of an untrained
# teacher have their usual strength. In the figure, the trained teacher changes one image. The difficulty differs
# between columns, the latents differ between rows.
#
# *Diversity* measures the differences between rows: the root mean square difference of two synthetic images, averaged
# over all pairs. If the diversity falls towards 0, the teacher has collapsed to a single change.

# %%
difficulties, draws = (0.0, 0.5, 1.0, 2.0, 4.0), 3
image = load_image(data.training[-1])["image"].as_tensor().to(device)
label = torch.full((draws,), data.training[-1]["label"], device=device)
latents = teacher.draw_latents(draws, image.shape, torch.Generator().manual_seed(seed)).to(device)
figure, axes = plt.subplots(draws, len(difficulties), figsize=(8, 5.1), layout="constrained")
for column, difficulty in zip(axes.T, difficulties, strict=True):
    with torch.no_grad():
        changed = teacher(image.expand(draws, *image.shape), label, latents, difficulty).cpu()
    column[0].set_title(f"difficulty {difficulty:g}")
    for axis, one in zip(column, changed, strict=True):
        axis.imshow(one.permute(1, 2, 0).clamp(0, 1), interpolation="nearest")
        axis.set(xticks=[], yticks=[])
for row, axis in enumerate(axes[:, 0]):
    axis.set_ylabel(f"latents {row + 1}")
plt.show()

# %% [markdown]
# ## How to read the curves
#
# - **Loss** and **Accuracy in training**: lessons should be a little harder than real images. `synthetic loss` should
#   then be higher than `loss`, and `lesson accuracy` lower than `real accuracy`. If the curves are equal, lessons are
#   too easy. If the lesson accuracy is at chance, lessons are changed so strongly that their classes cannot be
#   recognized.
# - **difficulty** is set by competence: it rises while the accuracy on lessons is less than .1 below the accuracy on
#   real images, and falls otherwise. For a fixed value, use `curriculum=Curriculum(difficulty=1.0)`.
# - **real weight** and **lesson weight** are the factors of the two gradients in the student's step. By default, both
#   are constant. They can be functions of progress, such as `LinearRamp(0, 1)`.
# - **hardness** is the weight of a second term in the teacher's loss, 0 by default. This term rewards images on which
#   the student has a high loss. Large values make lessons too hard.
# - **Norm of the teacher's gradient** is 0 for a teacher that is not trained.
# - **Diversity of lessons** is computed on the last images of an epoch and is therefore noisy. `diversity_kept`, in
#   the table below, is the ratio of the diversities of the trained and the untrained teacher on the same sources and
#   latents. At 1, no diversity is lost. Below .5, the teacher has collapsed.

# %%
display(Image(str(output_dir / "curves.png"), width=900))

# %%
rows = EpochTable(output_dir / CurriculumLog.FILE_NAME).read()
shown = ("epoch", "loss", "synthetic_loss", "real_accuracy", "lesson_accuracy", "difficulty", "diversity_kept")
print("  ".join(f"{name:>15}" for name in shown))
for row in rows[picture_interval - 1 :: picture_interval]:
    print("  ".join(f"{row[name]:15.3g}" for name in shown))

# %% [markdown]
# ## How to read a lesson
#
# `trainer.state.lesson` is the last lesson, with the source images, the synthetic images, the student's loss on each
# image and the *weight* of each image in the student's step. Weights are 1 by default. With unlabeled images,
# `LookAheadWeighting` computes the weights: an image has a large weight if a step on it lowers the student's loss on
# real images, and the weight 0 if the step raises this loss.

# %%
lesson = gmcl.state.lesson
by_loss = lesson.losses.argsort()[torch.linspace(0, len(lesson) - 1, 6).long()].tolist()
figure, axes = plt.subplots(2, len(by_loss), figsize=(9, 3.9), layout="constrained")
for column, i in zip(axes.T, by_loss, strict=True):
    for axis, images in zip(column, (lesson.sources, lesson.images), strict=True):
        axis.imshow(images[i].detach().cpu().permute(1, 2, 0).clamp(0, 1), interpolation="nearest")
        axis.set(xticks=[], yticks=[])
    column[0].set_title(data.class_names[lesson.labels[i]])
    column[1].set_xlabel(f"loss {lesson.losses[i]:.2f}\nweight {lesson.weights[i]:.2f}")
axes[0, 0].set_ylabel("source")
axes[1, 0].set_ylabel("in the lesson")
figure.suptitle(f"From the last lesson, easiest to hardest (difficulty {lesson.difficulty:.2f})")
plt.show()

# %% [markdown]
# ## What the teacher has learned
#
# The table shows the policy at the last difficulty. `share` is the learned strength of an operation relative to the
# usual strength; for a flip, it is the odds. An operation with a share below 1/2 is *turned down*. Without evidence, a
# share stays at 1. The 260 steps of this run give little evidence; a longer run gives more.

# %%
print(teacher.policy_table(difficulty=rows[-1]["difficulty"]))

# %% [markdown]
# ## Save the teacher
#
# `TeacherSaver` has written the teacher to one file. Loading the file runs no code, and a damaged file raises an
# error. With the same latents, the loaded teacher makes the same images, bit for bit.

# %%
kept = load_teacher(output_dir / "teacher.safetensors").to(device)
with torch.no_grad():
    sources = image.expand(draws, *image.shape)
    same = torch.equal(kept(sources, label, latents, 1.0), teacher(sources, label, latents, 1.0))
learned = sum(parameter.numel() for parameter in kept.parameters())
print(f"{type(kept).__name__} with {learned} learned numbers; makes the same images: {same}")

# %% [markdown]
# ## Next steps
#
# - To use your own images, read them with `open_data("/path")`: class folders, CSV tables and MONAI datalists with
#   PNG, JPEG, TIFF or NIfTI files. The [bundle](../bundles/gmcl_classification/docs/README.md) trains on them with one
#   command.
# - To test whether GMCL helps on your images, use `python -m monai_gmcl compare`. It trains with standard transforms, a
#   frozen teacher and GMCL at equal compute over several seeds.
# - To use another teacher, see `ImageTeacher`, `StainTeacher` and `LatentTeacher`, or write your own module.

# %% [markdown]
# ## Cleanup data directory
#
# The next cell removes the directory if it is a temporary directory.

# %%
if directory is None:
    shutil.rmtree(root_dir)
