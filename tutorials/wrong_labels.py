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
# # Wrong labels
#
# In this example, 30 % of the labels are wrong, and nobody knows which labels are wrong. Two tools help. `audit` lists
# labels that are probably wrong; a person then checks them. In training, a few images with checked labels (*trusted
# images*) make up half of each batch, and the loss is robust to wrong labels.
#
# The images are the *phantom*: drawings of H&E-like epithelium. They show no tissue and no patient. Because they are
# drawn, the correct labels are known for the evaluation. The audit and the training do not use them.

# %% [markdown]
# ## Setup environment
#
# If `monai_gmcl` is not installed, the next cell installs it from this repository.

# %%
# !python -c "import monai_gmcl" || pip install -q "..[tutorials]"

# %% [markdown]
# ## Setup imports

# %%
import csv
import json
import os
import random
import shutil
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from IPython.display import Image, display
from monai.config import print_config
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedTrainer
from monai.networks.nets import ResNet
from monai.utils import first, set_determinism
from torch.utils.data import ConcatDataset, WeightedRandomSampler

from monai_gmcl import Curriculum, GMCLTrainer, LookAheadWeighting, PolicyTeacher
from monai_gmcl.commands.audit import audit
from monai_gmcl.data import image_transforms, make_phantom, open_data
from monai_gmcl.generalized_cross_entropy import GeneralizedCrossEntropy
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
max_epochs = 30
audit_epochs = 12
images_per_class = {"images": 100, "test": 100}
trusted_per_class = 20
if os.environ.get("GMCL_TUTORIAL_QUICK") == "1":
    max_epochs = audit_epochs = 1
    images_per_class = dict.fromkeys(images_per_class, 8)
    trusted_per_class = 2
seed = 0
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

# %% [markdown]
# ## A noisy table
#
# The table has images of two grades, normal and CIN2. Twenty images of each grade have checked labels; the column
# `trusted` marks them. Of the other images, 30 % have the label of the other class.

# %%
phantom = make_phantom(root_dir / f"phantom_{images_per_class['images']}", images_per_class, size=32)
grades = ["0_normal", "2_cin2"]
generator = random.Random(seed)
false = set()
with open(root_dir / "noisy.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["image", "label", "trusted"])
    for number, grade in enumerate(grades):
        images = sorted((phantom / "images" / grade).glob("*.png"))
        doubtful = images[trusted_per_class:]
        wrong = generator.sample(doubtful, round(0.3 * len(doubtful)))
        false.update(str(image) for image in wrong)
        for image in images:
            label = grades[1 - number] if image in wrong else grade
            table.writerow([image, label, "no" if image in doubtful else "yes"])
print(f"{sum(images_per_class['images'] for _ in grades)} images, {len(false)} of them with a wrong label")

# %% [markdown]
# ## A list of suspicious labels
#
# The function `audit`, or `python -m monai_gmcl audit noisy.csv audit --image_size 32` on the command line, uses
# cross-validation: each label is compared with the predictions of students that were not trained on this label. All
# students are trained on the trusted images.

# %%
report = StringIO()
with redirect_stdout(report), redirect_stderr(StringIO()):  # progress bars
    audit(
        str(root_dir / "noisy.csv"),
        str(root_dir / "audit"),
        folds=4,
        image_size=32,
        max_epochs=audit_epochs,
        overwrite=True,
    )
print(report.getvalue().replace(f"{root_dir}{os.sep}", ""))
with open(root_dir / "audit" / "label_audit.csv", newline="") as file:
    suspects = list(csv.DictReader(file))
print(json.loads((root_dir / "audit" / "label_audit.json").read_text())["students"])

# %% [markdown]
# `label_audit.png` shows the images whose labels are most probably wrong:

# %%
display(Image(str(root_dir / "audit" / "label_audit.png"), width=700))

# %% [markdown]
# The figure shows how many wrong labels are found if a person checks the list from the top, compared with a list in
# random order.

# %%
hits = torch.tensor([row["image"] in false for row in suspects]).double()
looked_at = torch.arange(1, len(hits) + 1)
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
axis.plot(looked_at, hits.cumsum(0), label="the list")
axis.plot(looked_at, looked_at * hits.mean(), ":", color="black", label="random order")
axis.set(xlabel="labels that a person has checked, from the top of the list", ylabel="wrong labels found")
axis.grid(alpha=0.3)
axis.legend()
plt.show()
print(f"wrong labels: {hits.mean():.1%} of all, {hits[:30].mean():.1%} of the first 30")

# %% [markdown]
# ## A student that learns less from wrong labels
#
# `open_data` returns the rows with `yes` in the column `trusted` separately. The sampler draws as many trusted images
# as others, on average. The generalized cross-entropy (Zhang and Sabuncu 2018) has smaller gradients than cross-entropy
# for labels that the student finds improbable. The teacher makes a lesson (a batch of synthetic images) from each
# batch, which makes it harder to memorize wrong labels.

# %%
data = open_data(root_dir / "noisy.csv", seed=seed)
load_image = image_transforms(data.spatial_dims, data.channels)
trusted = CacheDataset(data.trusted, load_image, progress=False)
doubtful = CacheDataset([*data.training, *data.validation, *data.test], load_image, progress=False)
clean = [{"image": str(p), "label": k} for k, g in enumerate(grades) for p in sorted((phantom / "test" / g).iterdir())]
test = first(DataLoader(CacheDataset(clean, load_image, progress=False), batch_size=len(clean)))


def arguments(images, epochs=max_epochs, sampler=None):
    """Return the arguments of a trainer, always with the same first weights."""
    set_determinism(seed=seed)
    student = ResNet("basic", [1, 1, 1, 1], [16, 32, 64, 64], spatial_dims=2, num_classes=2, conv1_t_size=3).to(device)
    return {
        "device": device,
        "max_epochs": epochs,
        "train_data_loader": DataLoader(images, batch_size=16, sampler=sampler, shuffle=sampler is None),
        "network": student,
        "optimizer": torch.optim.AdamW(student.parameters(), lr=1e-3),
        "loss_function": torch.nn.CrossEntropyLoss(),
    }


def measure(trainer):
    """Return AUC and accuracy on images whose labels are right."""
    with torch.no_grad():
        probabilities = trainer.network.eval()(test["image"].to(device)).softmax(1).cpu()
    return classification_measures(probabilities, test["label"])


every = ConcatDataset([doubtful, trusted])
shares = [1 / len(images) for images in (doubtful, trusted) for _ in range(len(images))]
half_trusted = WeightedRandomSampler(shares, len(every))


def with_teacher(real_weight, **weights):
    """Return a trainer with a teacher, half of whose real images are trusted, after its run."""
    teacher = PolicyTeacher(data.spatial_dims, data.channels, data.num_classes).to(device)
    trainer = GMCLTrainer(
        **arguments(every, sampler=half_trusted) | {"loss_function": GeneralizedCrossEntropy()},
        teacher=teacher,
        teacher_optimizer=teacher.optimizer(),
        curriculum=Curriculum(real_weight=real_weight),
        **weights,
    )
    trainer.run()
    return trainer


robust = with_teacher(1.0)

# %% [markdown]
# The trusted images can also set the weights of the images of a lesson (`LookAheadWeighting`): the weight of an image
# depends on how much a step on this image lowers the student's loss on the trusted images. The weights apply to
# lessons only. Real images, some with wrong labels, therefore get a small weight (`real_weight=0.1`).

# %%
judges = DataLoader(trusted, batch_size=16, shuffle=True)
weighted = with_teacher(0.1, weighting=LookAheadWeighting(), meta_data_loader=judges)

# %% [markdown]
# Two controls use the same images. The first is trained on all labels as given, including the trusted images. The
# second is trained on the trusted images alone, for the same number of steps.

# %%
plain = SupervisedTrainer(**arguments(every))
plain.run()
alone = SupervisedTrainer(**arguments(trusted, max_epochs * len(every) // len(trusted)))
alone.run()
runs = {
    "all labels as they are": plain,
    "trusted images alone": alone,
    "GMCL, half trusted images": robust,
    "the same, weighted lessons": weighted,
}
for name, trainer in runs.items():
    measures = measure(trainer)
    print(f"{name:34} AUC {measures['auc']:.3f}, accuracy {measures['accuracy']:.3f}")

# %% [markdown]
# In the saved run, 25 of the first 30 labels on the list are wrong. The estimated fraction of wrong labels, 43 %, has
# a wide interval, which contains the true fraction, 30 %. Training on all labels as given has the lowest accuracy.
# With half of each batch trusted, a robust loss and lessons, the accuracy is higher by .14, and with weighted lessons
# by .25. For these simple drawings, 40 images are enough: the student that was trained on the trusted images alone has
# nearly the same accuracy. On real images, the order can differ: in `studies/wrong_labels`, weights did not help on
# chest X-rays. Compare the methods on your own data with several seeds.
#
# ## Next steps
#
# - The bundle has the option `--trusted_dir DIR`, and also reads the column `trusted` of a table. It uses half of each
#   batch and the robust loss, without weights. The how-to *Wrong labels* has the details.
# - `python -m monai_gmcl audit noisy.csv audit --model_file model.pt` uses the student of an earlier training instead.
# - Look at the images of the list before you change a label. The list also contains images with correct labels that a
#   weak student classifies wrongly.

# %% [markdown]
# ## Cleanup data directory
#
# The next cell removes the directory if it is a temporary directory.

# %%
if directory is None:
    shutil.rmtree(root_dir)
