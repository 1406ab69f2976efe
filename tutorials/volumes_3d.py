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
# # Volumes
#
# This notebook shows the complete workflow for 3-D NIfTI volumes with different geometries. It trains a 3-D *student*
# with `SupervisedTrainer` and with `GMCLTrainer`, shows the volumes that the *teacher* makes, and writes synthetic
# volumes (`.nii.gz`) with the geometry of their sources. The last part segments the lesions.
#
# The data are the *volume phantom*: drawn volumes that show no patient. Each volume has one bright lesion in gray
# tissue with vessels and noise. The class is the lesion's shape: a ball, a shell, a cross or a pair.

# %% [markdown]
# ## Setup environment
#
# If `monai_gmcl` is not installed, the next cell installs it from this repository.

# %%
# !python -c "import monai_gmcl" || pip install -q "..[tutorials]"

# %% [markdown]
# ## Setup imports

# %%
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel
import torch
from IPython.display import Markdown, display
from monai.config import print_config
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import ROCAUC, MeanDice, from_engine
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.networks.nets import ResNet, UNet
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandRotate90d,
)
from monai.utils import set_determinism

from monai_gmcl import GMCLTrainer, PolicyTeacher, save_teacher
from monai_gmcl.data import (
    image_transforms,
    make_volume_mask_phantom,
    make_volume_phantom,
    open_data,
    open_segmentation_data,
)

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
# `GMCL_TUTORIAL_QUICK=1` in the environment is for automatic tests: one epoch, eight volumes of each class.

# %%
max_epochs = 120
segmentation_epochs = 60
volumes_per_class = {"train": 12, "valid": 8, "test": 50}
if os.environ.get("GMCL_TUTORIAL_QUICK") == "1":
    max_epochs = segmentation_epochs = 1
    volumes_per_class = dict.fromkeys(volumes_per_class, 8)
seed = 0
size = 16
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

# %% [markdown]
# ## Volumes of several scanners
#
# The files differ in voxel spacing, in the order and direction of the axes, in origin and in tilt, as if they came from
# several scanners.

# %%
phantom = make_volume_phantom(root_dir / f"volumes_{volumes_per_class['train']}", volumes_per_class)
data = open_data(phantom)
for item in data.training[::12]:
    volume = nibabel.load(item["image"])
    axes, zooms = "".join(nibabel.aff2axcodes(volume.affine)), tuple(map(float, volume.header.get_zooms()))
    print(f"label {item['label']}: {volume.shape} voxels of {zooms} mm, axes {axes}")

# %% [markdown]
# `image_transforms` reorients the volumes to RAS and scales intensities to [0, 1]. `spacing` resamples to a voxel size
# in millimeters, `crop` crops the center, and `size` resizes the result. Here, each volume is resized to 16 voxels per
# side, which is small enough for a notebook on a CPU.

# %%
load_volume = image_transforms(data.spatial_dims, data.channels, spacing=3.0, size=size)
training = CacheDataset(data.training, load_volume, progress=False)
test_loader = DataLoader(CacheDataset(data.test, load_volume, progress=False), batch_size=100)
print(len(training), "volumes to learn from, each", tuple(training[0]["image"].shape))

# %%
rows = [[item["image"][0] for item in training if item["label"] == k][:6] for k in range(data.num_classes)]
figure, places = plt.subplots(len(rows), len(rows[0]), figsize=(8, 5.6), squeeze=False)
for row, name, shown in zip(places, data.class_names, rows, strict=True):
    row[0].set_ylabel(name)
    for place, volume in zip(row, shown, strict=True):
        # The brightest voxel along one axis.
        place.imshow(volume.as_tensor().amax(2), cmap="gray", vmin=0, vmax=1)
        place.set(xticks=[], yticks=[])
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Two training runs
#
# Both runs use the same student, data loader, transforms (flips and quarter turns) and number of steps. The second run
# adds a teacher and its optimizer. The teacher needs only one setting for volumes: `spatial_dims=3`.

# %%
turn = Compose(
    [RandFlipd("image", prob=0.5, spatial_axis=axis) for axis in range(3)]
    + [RandRotate90d("image", prob=0.5, spatial_axes=axes) for axes in ((0, 1), (1, 2))]
)


class Turned(torch.utils.data.Dataset):
    """The cached volumes, turned anew each time."""

    def __len__(self):
        return len(training)

    def __getitem__(self, index):
        return turn(dict(training[index]))


def new_arguments():
    """Return what both trainers take, always with the same first weights and the same order of volumes."""
    set_determinism(seed=seed)
    turn.set_random_state(seed)
    student = ResNet(
        "basic",
        [1, 1, 1, 1],
        [16, 32, 64, 64],
        spatial_dims=3,
        n_input_channels=data.channels,
        num_classes=data.num_classes,
        conv1_t_size=3,
        conv1_t_stride=1,
    ).to(device)
    optimizer = torch.optim.AdamW(student.parameters(), lr=2e-3)
    return {
        "device": device,
        "max_epochs": max_epochs,
        "train_data_loader": DataLoader(Turned(), batch_size=16, shuffle=True),
        "network": student,
        "optimizer": optimizer,
        "loss_function": torch.nn.CrossEntropyLoss(),
        "decollate": False,
    }


def test_auc(student):
    """Return the mean AUC of the classes on test volumes."""
    evaluator = SupervisedEvaluator(
        device=device,
        val_data_loader=test_loader,
        network=student,
        postprocessing=Compose([Activationsd("pred", softmax=True), AsDiscreted("label", to_onehot=data.num_classes)]),
        key_val_metric={"auc": ROCAUC(output_transform=from_engine(["pred", "label"]))},
    )
    evaluator.run()
    return evaluator.state.metrics["auc"]


logging.disable(logging.INFO)
results = {}

# %%
arguments = new_arguments()
began = time.perf_counter()
SupervisedTrainer(**arguments).run()
results["SupervisedTrainer"] = test_auc(arguments["network"]), time.perf_counter() - began

# %%
arguments = new_arguments()
teacher = PolicyTeacher(spatial_dims=3, in_channels=data.channels, num_classes=data.num_classes)
began = time.perf_counter()
trainer = GMCLTrainer(
    **arguments,
    teacher=teacher,
    teacher_optimizer=teacher.optimizer(),
    seed=seed,
)
trainer.run()
results["GMCLTrainer"] = test_auc(arguments["network"]), time.perf_counter() - began

# %%
lines = [f"| {name} | {auc:.3f} | {seconds:.0f} |" for name, (auc, seconds) in results.items()]
display(Markdown("\n".join(["| trainer | test AUC | seconds |", "| --- | --- | --- |", *lines])))

# %% [markdown]
# An AUC of .5 is chance. A step with a lesson (a batch of synthetic volumes) passes twice as many volumes through the
# student and takes more time. With a dozen volumes of each class, the AUC strongly depends on the seed. With three
# other seeds, equal compute and tuned transforms, both methods had an AUC of .81 (`studies/proof/development`).

# %% [markdown]
# ## Synthetic volumes
#
# The figure shows one volume that the teacher changes with different latents (random numbers), at the last difficulty.
# Each picture is a maximum intensity projection along one axis. Rotation, shift, shear and elastic deformation act in
# all three dimensions.

# %%
difficulty = trainer.state.curriculum["difficulty"]
volume = training[0]["image"].as_tensor().to(device)
with torch.no_grad():
    latents = teacher.draw_latents(5, volume.shape, torch.Generator().manual_seed(1)).to(device)
    labels = torch.full((5,), training[0]["label"], device=device)
    changed = teacher(volume.expand(5, *volume.shape), labels, latents, difficulty)
figure, places = plt.subplots(1, 6, figsize=(9, 1.8))
titles = ["a volume", *["in a lesson"] * 5]
for place, shown, title in zip(places, [volume, *changed], titles, strict=True):
    place.imshow(shown[0].amax(2).cpu(), cmap="gray", vmin=0, vmax=1)
    place.set(xticks=[], yticks=[], title=title)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Synthetic volumes as files
#
# `synthesize` writes labeled volumes, a datalist for training, and a data card. Each file has the geometry of its
# source (axes, spacing, origin). The name and the header text of the source are not copied.

# %%
save_teacher(teacher, root_dir / "teacher.safetensors", data.class_names, {"difficulty": difficulty})
command = [sys.executable, "-m", "monai_gmcl", "synthesize", "--teacher", str(root_dir / "teacher.safetensors")]
command += ["--source", str(phantom / "train"), "--out", str(root_dir / "synthetic"), "--per_class", "5"]
subprocess.run([*command, "--spacing", "3.0", "--size", str(size)], check=True, capture_output=True)
files = sorted((root_dir / "synthetic" / "images").rglob("*.nii.gz"))
print(len(files), "files")
for path in files[::6]:
    volume = nibabel.load(path)
    zooms = tuple(round(float(zoom), 2) for zoom in volume.header.get_zooms())
    print(f"{path.parent.name}/{path.name}: {volume.shape}, {zooms} mm, {str(volume.header['descrip'].astype(str))!r}")

# %% [markdown]
# ## Segmentation
#
# This part segments the lesions with the workflow of MONAI's spleen tutorial. Each volume gives four patches, half of
# them centered on the lesion. The student is a residual 3-D U-Net. Dice is computed with sliding windows. Two lines are
# new in the call of the trainer: `teacher` and `teacher_optimizer`. The teacher moves each mask with its volume.
# `open_segmentation_data` also reads `imagesTr` and `labelsTr` of the Medical Segmentation Decathlon and of nnU-Net.

# %%
lesions = open_segmentation_data(make_volume_mask_phantom(root_dir / "lesions", {"train": 6, "valid": 2, "test": 12}))
read = image_transforms(3, lesions.channels, spacing=2.0, mask_key="label", mask_values=lesions.mask_values)
patches = RandCropByPosNegLabeld(["image", "label"], "label", spatial_size=16, pos=1, neg=1, num_samples=4)
lesion_patches = CacheDataset(lesions.training, Compose([*read.transforms, patches]), progress=False)
lesion_loader = DataLoader(CacheDataset(lesions.test, read, progress=False), batch_size=1)


def segmentation_arguments():
    """Return what both trainers take, always with the same first weights and the same order of patches."""
    set_determinism(seed=seed)
    lesion_patches.transform.set_random_state(seed)
    student = UNet(3, lesions.channels, lesions.num_classes, channels=[8, 16, 32], strides=[2, 2], num_res_units=2)
    student = student.to(device)
    return {
        "device": device,
        "max_epochs": segmentation_epochs,
        "train_data_loader": DataLoader(lesion_patches, batch_size=2, shuffle=True),
        "network": student,
        "optimizer": torch.optim.AdamW(student.parameters(), lr=2e-3),
        "loss_function": DiceCELoss(to_onehot_y=True, softmax=True),
        "decollate": False,
    }


def test_dice(student):
    """Return the mean Dice of the lesions in whole test volumes."""
    evaluator = SupervisedEvaluator(
        device=device,
        val_data_loader=lesion_loader,
        network=student,
        inferer=SlidingWindowInferer(roi_size=16, sw_batch_size=4, overlap=0.5),
        postprocessing=AsDiscreted(["pred", "label"], argmax=[True, False], to_onehot=lesions.num_classes),
        key_val_metric={"dice": MeanDice(include_background=False, output_transform=from_engine(["pred", "label"]))},
    )
    evaluator.run()
    return evaluator.state.metrics["dice"]


# %%
arguments = segmentation_arguments()
SupervisedTrainer(**arguments).run()
dice = {"SupervisedTrainer": test_dice(arguments["network"])}

arguments = segmentation_arguments()
lesion_teacher = PolicyTeacher(spatial_dims=3, in_channels=lesions.channels, num_classes=lesions.num_classes)
segmentation_trainer = GMCLTrainer(
    **arguments,
    teacher=lesion_teacher,
    teacher_optimizer=lesion_teacher.optimizer(),
    seed=seed,
)
segmentation_trainer.run()
dice["GMCLTrainer"] = test_dice(arguments["network"])
lines = [f"| {name} | {value:.3f} |" for name, value in dice.items()]
display(Markdown("\n".join(["| trainer | test Dice |", "| --- | --- |", *lines])))

# %% [markdown]
# One run of each on six volumes is an example, not a comparison. `python -m monai_gmcl compare` on a folder of volumes
# and masks compares several seeds and methods.

# %% [markdown]
# The figure shows patches of the last lesson with their masks (yellow), in the slice with the largest lesion area.

# %%
lesson = segmentation_trainer.state.lesson
shown = [
    (lesson.images[i, 0].detach().cpu(), lesson.labels[i, 0].cpu())
    for i in range(len(lesson.images))
    if lesson.labels[i].any()
]
figure, places = plt.subplots(1, 6, figsize=(9, 1.8))
for place, (volume, mask) in zip(places, shown, strict=False):
    z = int(mask.sum((0, 1)).argmax())
    place.imshow(volume[..., z], cmap="gray", vmin=0, vmax=1)
    place.contour(mask[..., z].numpy() > 0, levels=[0.5], colors="yellow", linewidths=1)
for place in places:
    place.set(xticks=[], yticks=[])
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Train on your own volumes
#
# The bundle trains on volumes with validation, checkpoints and figures: `python -m monai.bundle run ... --dataset_dir
# /data/mine --image_size 64 --spacing 1.5`. Volumes of realistic size need a GPU and a small batch. With B real
# volumes and a lesson of B volumes, a step needs about as much memory as a supervised step on 2 B volumes.
# For masks, use the bundle `gmcl_segmentation` with `--patch_size 48 --spacing 1.5`.

# %% [markdown]
# ## Cleanup data directory
#
# The next cell removes the directory if it is a temporary directory.

# %%
if directory is None:
    shutil.rmtree(root_dir)
