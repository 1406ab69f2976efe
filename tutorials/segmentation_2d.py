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
# # Segmentation
#
# This notebook trains a 2-D segmentation network with the same methods as MONAI's spleen tutorial: U-Net, patches,
# Dice and sliding windows. The first run uses `SupervisedTrainer`. The second uses `GMCLTrainer`, which needs two
# additional arguments: a *teacher* and its optimizer. The teacher makes synthetic images and masks from real images
# and masks.
#
# The data are the *phantom with masks*: drawings of epithelium with masks of the nuclei. They show no tissue and no
# patient.

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
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from IPython.display import Markdown, display
from monai.config import print_config
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import MeanDice, from_engine
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.transforms import AsDiscreted, Compose, RandCropByPosNegLabeld, RandFlipd
from monai.utils import set_determinism

from monai_gmcl import GMCLTrainer, PolicyTeacher
from monai_gmcl.data import image_transforms, make_mask_phantom, open_segmentation_data
from monai_gmcl.reporting.image_sheet import class_color, mask_contours

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
# `GMCL_TUTORIAL_QUICK=1` in the environment is for automatic tests: one epoch, few images.

# %%
max_epochs = 300
images = {"train": 3, "valid": 3, "test": 20}
if os.environ.get("GMCL_TUTORIAL_QUICK") == "1":
    max_epochs = 1
    images = dict.fromkeys(images, 2)
seed = 0
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

# %% [markdown]
# ## Images and masks
#
# `open_segmentation_data` reads folders of images and masks, `imagesTr` and `labelsTr` of the Medical Segmentation
# Decathlon and of nnU-Net, CSV tables and MONAI datalists. It checks every file. `image_transforms` scales images to
# [0, 1] and, with `mask_key`, converts masks to class indices.

# %%
phantom = make_mask_phantom(root_dir / f"masks_{images['train']}", images)
data = open_segmentation_data(phantom)
print(data.class_names, *(len(part) for part in (data.training, data.validation, data.test)))
read = image_transforms(2, data.channels, mask_key="label", mask_values=data.mask_values)
patches = [
    RandCropByPosNegLabeld(["image", "label"], "label", spatial_size=64, num_samples=4),
    RandFlipd(["image", "label"], prob=0.5, spatial_axis=1),
]
training = CacheDataset(data.training, Compose([*read.transforms, *patches]), progress=False)
test_loader = DataLoader(CacheDataset(data.test, read, progress=False), batch_size=1)


def show(place, image, mask, title):
    """Draw an image with the contours of its mask."""
    place.imshow(image.permute(1, 2, 0).clamp(0, 1))
    for label, lines in mask_contours(mask).items():
        for line in lines:
            place.plot(*line.T, color=[part / 255 for part in class_color(label)], linewidth=1)
    place.set(xticks=[], yticks=[], title=title)


figure, places = plt.subplots(1, 4, figsize=(9, 2.5))
for place, item in zip(places, test_loader.dataset, strict=False):
    show(place, item["image"].as_tensor(), item["label"][0].as_tensor(), "")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Two training runs
#
# Both runs use the same student, data loader, transforms and number of steps.


# %%
def new_arguments():
    """Return what both trainers take, always with the same first weights and the same order of patches."""
    set_determinism(seed=seed)
    training.transform.set_random_state(seed)
    student = UNet(2, data.channels, data.num_classes, channels=[16, 32, 64], strides=[2, 2], num_res_units=2)
    student = student.to(device)
    return {
        "device": device,
        "max_epochs": max_epochs,
        "train_data_loader": DataLoader(training, batch_size=3, shuffle=True),
        "network": student,
        "optimizer": torch.optim.AdamW(student.parameters(), lr=2e-3),
        "loss_function": DiceCELoss(to_onehot_y=True, softmax=True),
        "decollate": False,
    }


def test_dice(student):
    """Return the mean Dice of whole test images, by sliding windows."""
    evaluator = SupervisedEvaluator(
        device=device,
        val_data_loader=test_loader,
        network=student,
        inferer=SlidingWindowInferer(roi_size=64, sw_batch_size=4, overlap=0.5),
        postprocessing=AsDiscreted(["pred", "label"], argmax=[True, False], to_onehot=data.num_classes),
        key_val_metric={"dice": MeanDice(include_background=False, output_transform=from_engine(["pred", "label"]))},
    )
    evaluator.run()
    return evaluator.state.metrics["dice"]


logging.disable(logging.INFO)
results = {}

# %%
arguments = new_arguments()
began = time.perf_counter()
SupervisedTrainer(**arguments).run()
results["SupervisedTrainer"] = test_dice(arguments["network"]), time.perf_counter() - began

# %%
arguments = new_arguments()
teacher = PolicyTeacher(spatial_dims=2, in_channels=data.channels, num_classes=data.num_classes)
began = time.perf_counter()
trainer = GMCLTrainer(**arguments, teacher=teacher, teacher_optimizer=teacher.optimizer(), seed=seed)
trainer.run()
results["GMCLTrainer"] = test_dice(arguments["network"]), time.perf_counter() - began

# %%
lines = [f"| {name} | {dice:.3f} | {seconds:.0f} |" for name, (dice, seconds) in results.items()]
display(Markdown("\n".join(["| trainer | test Dice | seconds |", "| --- | --- | --- |", *lines])))

# %% [markdown]
# A step with a lesson (a batch of synthetic patches) passes twice as many patches through the student and takes more
# time. With three training images, the Dice depends on the seed. One run of each is an example, not a comparison.

# %% [markdown]
# ## Synthetic images and masks
#
# The figure shows one patch that the teacher changes with different latents (random numbers), at the last difficulty
# of the training. The contours show the masks. `change_labels` applies the geometric operations of the image to the
# mask.

# %%
difficulty = trainer.state.curriculum["difficulty"]
patch = training[0][0]
image, mask = (patch[key].as_tensor().to(device) for key in ("image", "label"))
with torch.no_grad():
    latents = teacher.draw_latents(4, image.shape, torch.Generator().manual_seed(1)).to(device)
    masks = mask.expand(4, *mask.shape)
    changed = teacher(image.expand(4, *image.shape), masks, latents, difficulty).cpu()
    moved = teacher.change_labels(masks, latents, difficulty).cpu()
figure, places = plt.subplots(1, 5, figsize=(9, 2.2))
show(places[0], image.cpu(), mask[0].cpu(), "a patch")
for place, one, its_mask in zip(places[1:], changed, moved, strict=True):
    show(place, one, its_mask[0], "in a lesson")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Train on your own images
#
# `python -m monai_gmcl init mine gmcl_segmentation` copies the segmentation bundle to the folder `mine`. The bundle
# trains with validation, evaluates each class and writes masks to files. To train, run `python -m monai.bundle run
# --bundle_root mine --config_file mine/configs/train.yaml --dataset_dir /data/mine`.

# %% [markdown]
# ## Cleanup data directory
#
# The next cell removes the directory if it is a temporary directory.

# %%
if directory is None:
    shutil.rmtree(root_dir)
