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
# # From a GAN to GMCL
#
# MONAI's tutorial `mednist_GAN_workflow` trains a generator and a discriminator against each other with `GanTrainer`.
# The generated images can augment a small labeled data set in two stages: train the GAN and select images, then train
# the classifier on real and generated images. This notebook first uses this method. Then it uses GMCL, which has one
# stage and no discriminator. The discriminator rewards realistic images; GMCL rewards images that lower the
# classifier's loss on the next real batch. The notebook compares time, AUC and images of both methods.
#
# The images are the *phantom*: drawings of H&E-like epithelium in four grades. They show no tissue and no patient. In
# this notebook, the drawings are called *real images*, in contrast to the images of the GAN and of the teacher.

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
import time
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from ignite.engine import Events
from ignite.handlers import EMAHandler
from monai.config import print_config
from monai.data import DataLoader
from monai.engines import GanTrainer, SupervisedTrainer
from monai.networks.blocks import Convolution
from monai.networks.nets import Discriminator, Generator, ResNet
from monai.transforms import RandFlip
from monai.utils import set_determinism
from torch.nn.functional import one_hot
from torch.utils.data import Dataset

from monai_gmcl import GMCLTrainer, PolicyTeacher
from monai_gmcl.data import image_transforms, make_phantom, open_data
from monai_gmcl.metrics import diversity
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
max_epochs = 40
gan_steps = 1000
images_per_class = {"train": 40, "valid": 8, "test": 100}
if os.environ.get("GMCL_TUTORIAL_QUICK") == "1":
    max_epochs = 1
    gan_steps = 10
    images_per_class = dict.fromkeys(images_per_class, 8)
seed = 0
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

# %%
phantom = make_phantom(root_dir / f"phantom_{images_per_class['train']}", images_per_class, size=32)
data = open_data(phantom)
load_image = image_transforms(data.spatial_dims, data.channels)


def read(items):
    """Return images ``(N, C, H, W)`` and labels."""
    images = torch.stack([load_image(item)["image"].as_tensor() for item in items])
    return images, torch.tensor([item["label"] for item in items])


real, real_labels = read(data.training)
test, test_labels = read(data.test)
print(f"{len(real)} labeled images of {data.num_classes} classes, {len(test)} to test on, {tuple(real.shape[1:])}")

# %% [markdown]
# ## The classifier
#
# All methods train the same classifier (the *student*) from the same initial weights on the same number of images. The
# run on real images alone has twice as many epochs. The run with generated images has twice as many images per epoch.
# GMCL makes one *lesson*, a batch of synthetic images, for each real batch.


# %%
class Flipped(Dataset):
    """Images and labels in memory, flipped at random."""

    def __init__(self, images, labels):
        self.images, self.labels, self.flip = images, labels, RandFlip(prob=0.5, spatial_axis=1)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, position):
        return {"image": self.flip(self.images[position]), "label": self.labels[position]}


def arguments(images, labels, epochs):
    """Return the arguments of a trainer."""
    set_determinism(seed=seed)
    student = ResNet(
        "basic", [1, 1, 1, 1], [16, 32, 64, 64], spatial_dims=2, num_classes=data.num_classes, conv1_t_size=3
    ).to(device)
    return {
        "device": device,
        "max_epochs": epochs,
        "train_data_loader": DataLoader(Flipped(images, labels), batch_size=16, shuffle=True),
        "network": student,
        "optimizer": torch.optim.AdamW(student.parameters(), lr=2e-3),
        "loss_function": torch.nn.CrossEntropyLoss(),
    }


def measure(student):
    """Return AUC and accuracy on the test images."""
    with torch.no_grad():
        probabilities = student.eval()(test.to(device)).softmax(1).cpu()
    return classification_measures(probabilities, test_labels)


rows, seconds = {}, {}
start = time.perf_counter()
plain = SupervisedTrainer(**arguments(real, real_labels, 2 * max_epochs))
plain.run()
seconds["real images alone"] = time.perf_counter() - start
rows["real images alone"] = measure(plain.network)
print({name: round(value, 3) for name, value in rows["real images alone"].items() if name in ("auc", "accuracy")})

# %% [markdown]
# ## Stage one: the GAN
#
# The GAN uses MONAI's `Generator`, `Discriminator` and `GanTrainer`. Both networks are conditioned on the class. The
# input of the generator is the latents and a one-hot vector of the class. The discriminator has one additional input
# channel per class, which is 1 for the image's class and 0 otherwise. Every input of the discriminator gets a random
# change of brightness and a random shift, so that the discriminator does not memorize the few images. The generator
# that makes the training images has an exponential moving average of the weights.


# %%
num_latents = 64
image_shape = tuple(real.shape[1:])


class LabeledGenerator(Generator):
    """Makes images from latents and a one-hot class, and hands the class on as channels of the image."""

    def _get_layer(self, in_channels, out_channels, strides, is_last):
        # In place of transposed convolutions, which would leave a checkerboard.
        convolution = Convolution(2, in_channels, out_channels, kernel_size=3, norm="batch", conv_only=is_last)
        return torch.nn.Sequential(torch.nn.Upsample(scale_factor=strides), convolution)

    def forward(self, codes):
        return with_class(torch.sigmoid(super().forward(codes)), codes[:, num_latents:])


def with_class(images, classes):
    """Add a channel for each class, 1 everywhere for the class of the image."""
    return torch.cat([images, classes[..., None, None].expand(-1, -1, *images.shape[2:])], 1)


def codes_of(labels):
    """Return random latents beside the one-hot classes."""
    return torch.cat([torch.randn(len(labels), num_latents), one_hot(labels, data.num_classes)], 1).to(device)


def changed(images):
    """Change the brightness of each image, and shift all by a few pixels."""
    pixels, classes = images.split([image_shape[0], data.num_classes], 1)
    pixels = pixels + 0.4 * torch.rand(len(pixels), 1, 1, 1, device=pixels.device) - 0.2
    shifts = torch.randint(-3, 4, (2,)).tolist()
    return torch.cat([torch.roll(pixels, shifts, (2, 3)), classes], 1)


def discriminator_loss(fakes, reals):
    """Hinge loss: real images above 1, generated ones below -1."""
    return (1 - discriminator(changed(reals))).relu().mean() + (
        1 + discriminator(changed(fakes.detach()))
    ).relu().mean()


def generator_loss(fakes):
    """Generated images should look real to the discriminator."""
    return -discriminator(changed(fakes)).mean()


def real_batch(batch, device, *_, **__):
    """Return images with the channels of their classes."""
    return with_class(batch["image"].to(device), one_hot(batch["label"], data.num_classes).float().to(device))


def random_codes(num_latents, latent_size, **_):
    """Return codes of classes that are drawn from those of the real images."""
    return codes_of(real_labels[torch.randint(len(real_labels), (num_latents,))])


# %%
start = time.perf_counter()
set_determinism(seed=seed)
side = image_shape[1] // 8
generator = LabeledGenerator(
    latent_shape=num_latents + data.num_classes,
    start_shape=(64, side, side),
    channels=(64, 32, 16, image_shape[0]),
    strides=(2, 2, 2, 1),
).to(device)
discriminator = Discriminator(
    in_shape=(image_shape[0] + data.num_classes, *image_shape[1:]),
    channels=(16, 32, 64),
    strides=(2, 2, 2),
    num_res_units=0,
    norm=None,
    dropout=None,
    last_act=None,
).to(device)
gan_loader = DataLoader(Flipped(real, real_labels), batch_size=32, shuffle=True, drop_last=True)
gan = GanTrainer(
    device=device,
    max_epochs=max(1, gan_steps // len(gan_loader)),
    train_data_loader=gan_loader,
    g_network=generator,
    g_optimizer=torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.99)),
    g_loss_function=generator_loss,
    g_prepare_batch=random_codes,
    d_network=discriminator,
    d_optimizer=torch.optim.Adam(discriminator.parameters(), lr=5e-4, betas=(0.5, 0.99)),
    d_loss_function=discriminator_loss,
    d_prepare_batch=real_batch,
    decollate=False,
)
average = EMAHandler(generator, momentum=0.005, handle_buffers="update")
average.attach(gan, event=Events.ITERATION_COMPLETED)
gan.run()
wanted = real_labels.repeat_interleave(4)
with torch.no_grad():
    drawn = average.ema_model.eval()(codes_of(wanted))[:, : image_shape[0]].cpu()
gan_seconds = time.perf_counter() - start
print(f"{gan_steps} steps of generator and discriminator, {gan_seconds:.0f} s")


def show(rows_of_images, title):
    """Draw a row of images for each class."""
    figure, axes = plt.subplots(data.num_classes, 10, figsize=(9, 3.9), layout="constrained")
    for row, images, name in zip(axes, rows_of_images, data.class_names, strict=True):
        row[0].set_ylabel(name, fontsize=9)
        for axis in row:
            axis.set(xticks=[], yticks=[])
        for axis, image in zip(row, images, strict=False):
            axis.imshow(image.permute(1, 2, 0).clamp(0, 1), interpolation="nearest")
    figure.suptitle(title, fontsize=11)
    plt.show()


def by_class(images, labels):
    """Return the first images of each class."""
    return [images[labels == label][:10] for label in range(data.num_classes)]


show(by_class(real, real_labels), "real images")
show(by_class(drawn, wanted), "what the GAN draws")

# %% [markdown]
# ## Stage two: select images, and train the classifier
#
# Not all generated images are useful. For each class, the first classifier selects the quarter with the highest
# confidence.

# %%
start = time.perf_counter()
with torch.no_grad():
    confidence = plain.network.eval()(drawn.to(device)).softmax(1).cpu()[torch.arange(len(wanted)), wanted]
members = [(wanted == label).nonzero()[:, 0] for label in range(data.num_classes)]
picked = torch.cat([of[confidence[of].argsort(descending=True)[: len(of) // 4]] for of in members])
joined = torch.cat([real, drawn[picked]]), torch.cat([real_labels, wanted[picked]])
second = SupervisedTrainer(**arguments(*joined, max_epochs))
second.run()
seconds["two stages, with a GAN"] = seconds["real images alone"] + gan_seconds + time.perf_counter() - start
rows["two stages, with a GAN"] = measure(second.network)
show(by_class(drawn[picked], wanted[picked]), "what was selected")

# %% [markdown]
# ## GMCL instead of the GAN
#
# GMCL needs one training run. The teacher replaces the generator. The student's loss on the next real batch replaces
# the discriminator.

# %%
start = time.perf_counter()
teacher = PolicyTeacher(data.spatial_dims, data.channels, data.num_classes).to(device)
gmcl = GMCLTrainer(
    **arguments(real, real_labels, max_epochs),
    teacher=teacher,
    teacher_optimizer=teacher.optimizer(),
)
gmcl.run()
seconds["GMCL"] = time.perf_counter() - start
rows["GMCL"] = measure(gmcl.network)

latents = teacher.draw_latents(len(real), real.shape[1:], torch.Generator().manual_seed(seed)).to(device)
difficulty = gmcl.state.curriculum["difficulty"]
with torch.no_grad():
    taught = teacher(real.to(device), real_labels.to(device), latents, difficulty).cpu()
show(by_class(taught, real_labels), "what the teacher makes, in the end")

# %% [markdown]
# ## Comparison

# %%
print(f"{'':24}{'seconds':>8}{'AUC':>8}{'accuracy':>10}")
for name, row in rows.items():
    print(f"{name:24}{seconds[name]:8.0f}{row['auc']:8.3f}{row['accuracy']:10.3f}")
sets = {"real": real, "drawn by the GAN": drawn, "selected": drawn[picked], "the teacher's": taught}
print("\ndiversity (root mean square difference of two images):")
for name, images in sets.items():
    print(f"  {name:18}{diversity(images):.3f}")

# %% [markdown]
# The time of the two stages includes the training of the first classifier, which selects images. This comparison has
# one seed, drawings, and a small GAN. It shows how both methods work, but does not rank them. For a ranking with
# several seeds, equal compute and a better GAN, see `studies/proof` in the repository. The control for a trained
# teacher, a frozen teacher (a teacher that is not trained), is in `gmcl_quickstart`.
#
# A GAN generates new images. Some of them do not show the class of their label. A `PolicyTeacher` changes real images.
# Their labels stay correct if the operations keep them. The operations cannot add new image content. `LatentTeacher`
# corresponds to a generator: it makes images from labels and latents alone.

# %% [markdown]
# ## Cleanup data directory
#
# The next cell removes the directory if it is a temporary directory.

# %%
if directory is None:
    shutil.rmtree(root_dir)
