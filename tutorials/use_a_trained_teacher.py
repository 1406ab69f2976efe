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
# # Use a trained teacher
#
# A trained *teacher*, the network that makes synthetic images, is stored in one small file. This notebook trains a
# teacher on few images. Then it uses the teacher without `GMCLTrainer`: as a random transform in another MONAI
# pipeline, on whole batches on the device, as a data set, as a folder of labeled images with a data card, and as
# MONAI's own transforms.
#
# The images are the *phantom*: drawings of H&E-like epithelium in four grades. They show no tissue and no patient.

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
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from IPython.display import Image, Markdown, display
from monai.config import print_config
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import ROCAUC, from_engine
from monai.networks.nets import ResNet
from monai.transforms import Activationsd, AsDiscreted, Compose, RandFlipd
from monai.utils import set_determinism

from monai_gmcl import GMCLTrainer, PolicyTeacher, load_teacher, save_teacher
from monai_gmcl.data import SyntheticDataset, image_transforms, make_phantom, open_data
from monai_gmcl.teachers import describe_teacher
from monai_gmcl.transforms import RandTeacherAugmentd, SeededItems, TeacherBatchAugment

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
max_epochs = 15
images_per_class = {"train": 40, "valid": 40, "test": 100}
if os.environ.get("GMCL_TUTORIAL_QUICK") == "1":
    max_epochs = 1
    images_per_class = dict.fromkeys(images_per_class, 8)
seed = 0
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

# %%
phantom = make_phantom(root_dir / f"phantom_{images_per_class['train']}", images_per_class)
data = open_data(phantom)
load_image = image_transforms(data.spatial_dims, data.channels)
training = CacheDataset(data.training, load_image, progress=False)
test_loader = DataLoader(CacheDataset(data.test, load_image, progress=False), batch_size=100)


def new_student():
    """Return a student and its optimizer, always with the same first weights."""
    set_determinism(seed=seed)
    student = ResNet(
        "basic", [1, 1, 1, 1], [16, 32, 64, 64], spatial_dims=2, num_classes=data.num_classes, conv1_t_size=3
    ).to(device)
    return student, torch.optim.AdamW(student.parameters(), lr=2e-3)


def measure(student):
    """Return the AUC on the test images."""
    evaluator = SupervisedEvaluator(
        device=device,
        val_data_loader=test_loader,
        network=student,
        postprocessing=Compose([Activationsd("pred", softmax=True), AsDiscreted("label", to_onehot=data.num_classes)]),
        key_val_metric={"auc": ROCAUC(output_transform=from_engine(["pred", "label"]))},
    )
    evaluator.run()
    return evaluator.state.metrics["auc"]


# %% [markdown]
# ## Train and save a teacher
#
# In your own workflow, the handler `TeacherSaver` writes the file. The entry `training` in the file describes the
# training run. The package uses only its `difficulty`, as the default strength of changes.

# %%
student, optimizer = new_student()
teacher = PolicyTeacher(data.spatial_dims, data.channels, data.num_classes).to(device)
trainer = GMCLTrainer(
    device=device,
    max_epochs=max_epochs,
    train_data_loader=DataLoader(training, batch_size=16, shuffle=True),
    network=student,
    optimizer=optimizer,
    loss_function=torch.nn.CrossEntropyLoss(),
    teacher=teacher,
    teacher_optimizer=teacher.optimizer(),
)
trainer.run()
difficulty = trainer.state.curriculum["difficulty"]
aucs = {"trained with the teacher (GMCLTrainer)": measure(student)}

file = root_dir / "teacher.safetensors"
save_teacher(
    teacher,
    file,
    label_names=data.class_names,
    training={"data": "phantom", "images": len(data.training), "difficulty": difficulty},
)
description = describe_teacher(file)
print(f"{file.stat().st_size} bytes, {description.architecture}, classes {', '.join(description.label_names)}")
print("training:", description.training)

# %% [markdown]
# Loading runs no code from the file and checks the file's SHA-256. A damaged file raises an error.

# %%
loaded = load_teacher(file)
damaged = root_dir / "damaged.safetensors"
content = bytearray(file.read_bytes())
content[-3] ^= 1
damaged.write_bytes(content)
try:
    load_teacher(damaged)
except ValueError as error:
    print(str(error).replace(f"{root_dir}{os.sep}", ""))

# %% [markdown]
# ## In another pipeline, image by image
#
# `RandTeacherAugmentd` works together with MONAI's own transforms. With `SeededItems`, random transforms depend only
# on the seed, the epoch and the index of the image. The images do not depend on the number of workers.

# %%
pipeline = Compose(
    [
        *load_image.transforms,
        RandFlipd("image", prob=0.5, spatial_axis=1),
        RandTeacherAugmentd("image", file, prob=0.8, difficulty=(0.5 * difficulty, 1.5 * difficulty)),
    ]
)
items = SeededItems(CacheDataset(data.training, pipeline, progress=False), seed=seed)
picked = [len(data.training) * k // data.num_classes + 1 for k in range(data.num_classes)]
figure, axes = plt.subplots(data.num_classes, 6, figsize=(7.5, 5.4), layout="constrained")
for row, position in zip(axes, picked, strict=True):
    row[0].set_ylabel(data.class_names[data.training[position]["label"]])
    row[0].imshow(training[position]["image"].permute(1, 2, 0), interpolation="nearest")
    for epoch, axis in enumerate(row[1:], 1):
        items.set_epoch(epoch)
        axis.imshow(items[position]["image"].permute(1, 2, 0).clamp(0, 1), interpolation="nearest")
        axes[0, epoch].set_title(f"epoch {epoch}", fontsize=10)
axes[0, 0].set_title("the image", fontsize=10)
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## New students
#
# MONAI's `SupervisedTrainer` trains four students with the same initial weights and the same number of steps: on real
# images; with the transform; with `TeacherBatchAugment`, which changes half of every batch on the device; and on real
# and synthetic images together. `SyntheticDataset` makes an image when it is accessed, and always makes the same image
# for an index. The joined data set is twice as large, so that the student is trained for half the epochs.


# %%
def train(dataset, prepare_batch=None, epochs=max_epochs):
    """Train a new student; return its AUC."""
    student, optimizer = new_student()
    handlers = [dataset] if isinstance(dataset, SeededItems) else []
    SupervisedTrainer(
        device=device,
        max_epochs=epochs,
        train_data_loader=DataLoader(dataset, batch_size=16, shuffle=True),
        network=student,
        optimizer=optimizer,
        loss_function=torch.nn.CrossEntropyLoss(),
        train_handlers=handlers,
        **({} if prepare_batch is None else {"prepare_batch": prepare_batch}),
    ).run()
    return measure(student)


synthetic = SyntheticDataset(loaded, images_per_class["train"], training, difficulty=difficulty, seed=seed)
both = torch.utils.data.ConcatDataset([training, CacheDataset(synthetic, progress=False)])
on_device = TeacherBatchAugment(file, fraction=0.5, difficulty=difficulty)
aucs["images as they are"] = train(training)
aucs["RandTeacherAugmentd"] = train(items)
aucs["TeacherBatchAugment"] = train(training, on_device)
aucs["real and synthetic images"] = train(both, epochs=max(1, max_epochs // 2))
for name, auc in aucs.items():
    print(f"{name:40} test AUC {auc:.3f}")

# %% [markdown]
# These are single runs on drawings. They show the code, not the benefit of a trained teacher. The difficulty is the
# last difficulty of the teacher's training. Another student may need another difficulty.
#
# ## As a folder of images
#
# For software that reads image files, use `python -m monai_gmcl synthesize`. The data card reports the diversity of
# the data set, label leaks (the changes of the teacher reveal the label), and distances to real images. Changed real
# images are **not anonymous**.

# %%
folder = root_dir / "synthetic"
shutil.rmtree(folder, ignore_errors=True)
command = [sys.executable, "-m", "monai_gmcl", "synthesize", f"--teacher={file}", f"--source={phantom / 'train'}"]
command += [f"--per_class={images_per_class['train'] // 2}", f"--out={folder}"]
ran = subprocess.run(command, capture_output=True, text=True, check=True)
print(ran.stdout.replace(f"{root_dir}{os.sep}", ""))
print(sorted(path.name for path in folder.iterdir()))

# %%
display(Image(str(folder / "contact_sheet.png"), width=700))

# %%
card = (folder / "README.md").read_text(encoding="utf-8").replace(f"{root_dir}{os.sep}", "")
display(
    Markdown("\n".join(line.replace("# ", "#### ", 1) if line.startswith("#") else line for line in card.split("\n")))
)

# %% [markdown]
# ## As MONAI's own transforms
#
# The policy of a `PolicyTeacher` is a table with the range of each operation. This is the policy at the last
# difficulty:

# %%
print(loaded.policy_table(difficulty=difficulty))

# %% [markdown]
# `to_monai` exports the policy to MONAI's own transforms, so that you can use it without this package. The exported
# transforms are similar to the teacher, not equal. Operations without a counterpart in MONAI are left out; `left_out`
# lists them.

# %%
logging.getLogger("monai_gmcl").setLevel(logging.ERROR)  # the warning names what is printed here
policy = loaded.to_monai((64, 64), difficulty=difficulty, keys="image")
policy.save(root_dir / "policy.json")
print("left out:", ", ".join(policy.left_out))
stock = Compose([*load_image.transforms, policy.transform()])
stock.set_random_state(seed=seed)
figure, axes = plt.subplots(1, 6, figsize=(9, 1.8), layout="constrained")
for axis in axes:
    axis.imshow(stock(data.training[picked[2]])["image"].permute(1, 2, 0).clamp(0, 1), interpolation="nearest")
    axis.axis("off")
figure.suptitle("the policy as MONAI's transforms", fontsize=10)
plt.show()

# %% [markdown]
# ## Cleanup data directory
#
# The next cell removes the directory if it is a temporary directory.

# %%
if directory is None:
    shutil.rmtree(root_dir)
