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
# # Write your own teacher and hypergradient
#
# You can replace two parts of GMCL. A *teacher* is a PyTorch module that makes labeled synthetic images. A batch of
# these images is a *lesson*. A *hypergradient* computes the *worth* of each image of a lesson (how much the image
# lowers the student's loss on the next real batch), and the gradient that trains the teacher. This notebook defines a
# new teacher and a new hypergradient in about thirty lines each, tests them, and trains with them. At the end, it adds
# the update rule of another optimizer.
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
import os
import shutil
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from ignite.engine import Events
from monai.config import print_config
from monai.data import CacheDataset, DataLoader
from monai.networks.nets import ResNet
from monai.utils import set_determinism
from torch import nn
from torch.nn.functional import interpolate

from monai_gmcl import (
    ExactHypergradient,
    GMCLTrainer,
    HeadHypergradient,
    Hypergradient,
    Teacher,
    load_teacher,
    register_update_rule,
    save_teacher,
)
from monai_gmcl.benchmark.check import check_estimators
from monai_gmcl.commands.check import report_table
from monai_gmcl.data import image_transforms, make_phantom, open_data

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
images_per_class = {"train": 40, "valid": 40, "test": 40}
if os.environ.get("GMCL_TUTORIAL_QUICK") == "1":
    max_epochs = 1
    images_per_class = dict.fromkeys(images_per_class, 8)
seed = 0
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

# %%
data = open_data(make_phantom(root_dir / f"phantom_{images_per_class['train']}", images_per_class))
load_image = image_transforms(data.spatial_dims, data.channels)
training = CacheDataset(data.training, load_image, progress=False)


def new_trainer(teacher, hypergradient=None, optimizer_class=torch.optim.AdamW, epochs=max_epochs):
    """Return a trainer with a new student, always with the same first weights."""
    set_determinism(seed=seed)
    student = ResNet(
        "basic", [1, 1, 1, 1], [16, 32, 64, 64], spatial_dims=2, num_classes=data.num_classes, conv1_t_size=3
    ).to(device)
    teacher = teacher.to(device)
    return GMCLTrainer(
        device=device,
        max_epochs=epochs,
        train_data_loader=DataLoader(training, batch_size=16, shuffle=True),
        network=student,
        optimizer=optimizer_class(student.parameters(), lr=2e-3),
        loss_function=torch.nn.CrossEntropyLoss(),
        teacher=teacher,
        teacher_optimizer=torch.optim.Adam(teacher.parameters(), lr=0.03),
        hypergradient=hypergradient,
    )


# %% [markdown]
# ## A teacher
#
# The new teacher simulates uneven illumination: it multiplies each image by a smooth field with a coarse and a fine
# part, and learns the strength of both parts. A subclass of `Teacher` has two methods:
#
# - `draw_latents(n, image_shape, generator)` returns all random numbers as a float tensor `(n, L)`.
# - `change(images, labels, latents, difficulty)` returns synthetic images for real images within `value_range`. The
#   result must depend only on the arguments and on the teacher's parameters.
#
# The base class handles the value range, normalized images, the identity at difficulty 0, and the constructor's
# arguments that `save_teacher` needs.


# %%
class ShadowTeacher(Teacher):
    """Light that falls unevenly, with learned shares of coarse and fine shadows."""

    grids = (3, 9)

    def __init__(self, spatial_dims, in_channels, num_classes, usual=0.12, **range_and_normalization):
        super().__init__(spatial_dims, in_channels, num_classes, **range_and_normalization)
        self.usual = usual
        self.log_share = nn.Parameter(torch.zeros(len(self.grids)))

    @property
    def shares(self):
        """Their mean is 1: how strong the light changes in all is the difficulty's matter."""
        return len(self.grids) * self.log_share.softmax(0)

    def draw_latents(self, n, image_shape, generator=None):
        return torch.randn(n, sum(grid**self.spatial_dims for grid in self.grids), generator=generator)

    def change(self, images, labels, latents, difficulty):
        mode = "bilinear" if self.spatial_dims == 2 else "trilinear"
        field = 0.0
        parts = latents.split([grid**self.spatial_dims for grid in self.grids], dim=1)
        for grid, part, share in zip(self.grids, parts, self.shares, strict=True):
            coarse = part.reshape(-1, 1, *[grid] * self.spatial_dims)
            field = field + share * interpolate(coarse, images.shape[2:], mode=mode, align_corners=True)
        return images * torch.exp(self.usual * difficulty * field)


# %% [markdown]
# The next cell tests the requirements. At difficulty 0, the output equals the input. The same arguments give the same
# images, bit for bit. Values are within the range. The gradient reaches the parameters. (With a large share, many
# values would be clipped to the range, and clipped values have no gradient.)

# %%
teacher = ShadowTeacher(data.spatial_dims, data.channels, data.num_classes)
images = torch.stack([training[position]["image"].as_tensor() for position in range(4)])
labels = torch.tensor([training[position]["label"] for position in range(4)])
latents = teacher.draw_latents(4, images.shape[1:], torch.Generator().manual_seed(seed))
assert torch.equal(teacher(images, labels, latents, 0.0), images)
changed = teacher(images, labels, latents, 1.0)
assert torch.equal(changed, teacher(images, labels, latents, 1.0))
assert changed.min() >= 0 and changed.max() <= 1
(gradient,) = torch.autograd.grad(changed.square().sum(), teacher.log_share)
assert gradient.abs().min() > 0
print("all requirements are met")

# %%
figure, axes = plt.subplots(3, 4, figsize=(6.5, 5.1), layout="constrained")
for row, difficulty in zip(axes, (0.0, 1.0, 3.0), strict=True):
    with torch.no_grad():
        shown = teacher(images, labels, latents, difficulty)
    row[0].set_ylabel(f"difficulty {difficulty:g}")
    for axis, one in zip(row, shown, strict=True):
        axis.imshow(one.permute(1, 2, 0), interpolation="nearest")
        axis.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# You train and save this teacher in the same way as any other teacher. To load it, pass its class: `load_teacher`
# never runs code that is named in a file.

# %%
trainer = new_trainer(teacher)
shares = []
trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: shares.append(teacher.shares.tolist()))
trainer.run()
print(f"difficulty {trainer.state.curriculum['difficulty']:.2f}, shares of coarse and fine {shares[-1]}")
plt.figure(figsize=(5, 2.6), layout="constrained")
plt.plot(range(1, len(shares) + 1), shares, marker=".", label=["coarse shadows", "fine shadows"])
plt.xlabel("epoch")
plt.ylabel("share")
plt.grid(alpha=0.3)
plt.legend(fontsize=9)
plt.show()

# %%
file = save_teacher(teacher, root_dir / "shadows.safetensors", label_names=data.class_names)
kept = load_teacher(file, classes={"ShadowTeacher": ShadowTeacher}).to(device)
with torch.no_grad():
    arguments = images.to(device), labels.to(device), latents.to(device), 1.0
    print("the loaded teacher makes the same images:", torch.equal(kept(*arguments), teacher(*arguments)))

# %% [markdown]
# A teacher does not have to be a subclass of `Teacher`. Any module with the same signature works. Its latents are
# normally distributed, with shape `(n, 64)`. Such a module has no checks and no identity at difficulty 0, and cannot
# be saved with `save_teacher`.


# %%
class Tint(nn.Module):
    """A color cast of each image."""

    def __init__(self):
        super().__init__()
        self.cast = nn.Linear(64, 3)

    def forward(self, images, labels, latents, difficulty):
        return (images * (1 + 0.2 * difficulty * self.cast(latents).tanh()[..., None, None])).clamp(0, 1)


tinted = new_trainer(Tint(), epochs=1)
tinted.run()
print(f"norm of the teacher's last gradient: {tinted.state.output[0]['teacher_grad_norm']:.2g}")

# %% [markdown]
# ## A hypergradient
#
# The worth of image i of a lesson is $s_i = \langle \nabla_\theta \ell_i, A v \rangle$. $\nabla_\theta \ell_i$ is the
# gradient of the student's loss on the image, v is the gradient on the next real batch, and A is the derivative of the
# optimizer's update with respect to the gradient. `HeadHypergradient` computes the inner product over the
# classification head, `ExactHypergradient` over all parameters. The class below computes it over any named part of the
# student. Its inputs are a `Lesson` with its autograd graph, and v as a dictionary of parameter names. It returns the
# gradient with respect to the lesson's images, for lesson weight 1, and s.


# %%
class PartHypergradient(Hypergradient):
    """Hypergradient over the parameters whose names begin with one of ``parts``."""

    def __init__(self, *parts):
        self.parts = parts

    def required_parameters(self, lesson):
        """The engine keeps A of these parameters only."""
        return [name for name in lesson.parameters if name.startswith(self.parts)]

    def __call__(self, lessons, look_ahead):
        (lesson,) = lessons
        learned = lesson.update_direction(look_ahead)  # A·v by name
        names = [name for name in self.required_parameters(lesson) if name in learned]
        weights = lesson.weights.detach().requires_grad_()
        gradients = torch.autograd.grad(
            (weights * lesson.losses).sum(),
            [lesson.parameters[name] for name in names],
            create_graph=True,
            materialize_grads=True,
        )
        total = sum((gradient * learned[name]).sum() for name, gradient in zip(names, gradients, strict=True))
        by_image, worth = torch.autograd.grad(total, (lesson.images, weights), retain_graph=True)
        return by_image / -len(lesson), worth


# %% [markdown]
# The test compares the new class with `ExactHypergradient` and `HeadHypergradient` on the same lesson. A recorder
# stores the last lesson of a short training run.


# %%
class Recorder(PartHypergradient):
    """All parameters; keeps what it was asked last."""

    def record_head(self, network, trained):
        return HeadHypergradient().record_head(network, trained)

    def choose(self, seen, outputs, losses):
        return HeadHypergradient().choose(seen, outputs, losses)

    def __call__(self, lessons, look_ahead):
        self.asked = lessons, {name: v.clone() for name, v in look_ahead.items()}
        return super().__call__(lessons, look_ahead)


recorder = Recorder("")
new_trainer(ShadowTeacher(2, data.channels, data.num_classes), recorder, epochs=max(1, max_epochs // 3)).run()
exact, _ = ExactHypergradient()(*recorder.asked)
head, _ = HeadHypergradient()(*recorder.asked)
everything, _ = PartHypergradient("")(*recorder.asked)
only_the_head, _ = PartHypergradient("fc.")(*recorder.asked)
assert torch.allclose(everything, exact, rtol=1e-3, atol=1e-3 * float(exact.abs().max()))
assert torch.allclose(only_the_head, head, rtol=1e-3, atol=1e-3 * float(head.abs().max()))
print("agrees with both estimators")

# %% [markdown]
# The figure shows the cosine similarity to the exact hypergradient if more layers are included, from the head towards
# the input:

# %%
layers = ["fc.", "layer4.", "layer3.", "layer2.", "layer1.", ""]
cosines = []
for end in range(1, len(layers) + 1):
    part, _ = PartHypergradient(*layers[:end])(*recorder.asked)
    cosines.append(float(torch.cosine_similarity(part.flatten(), exact.flatten(), dim=0)))
plt.figure(figsize=(6, 2.8), layout="constrained")
plt.plot(["head", "+ layer 4", "+ layer 3", "+ layer 2", "+ layer 1", "everything"], cosines, marker="o")
plt.ylabel("cosine to the exact hypergradient")
plt.grid(alpha=0.3)
plt.show()
print(" ".join(f"{cosine:.3f}" for cosine in cosines))

# %% [markdown]
# The curve is for one lesson of one short run. Other students give other curves. To train with the new hypergradient,
# pass it to the trainer:

# %%
parted = new_trainer(ShadowTeacher(2, data.channels, data.num_classes), PartHypergradient("fc.", "layer4."), epochs=1)
parted.run()
print(f"shares of coarse and fine: {parted.teacher.shares.tolist()}")

# %% [markdown]
# ## Compare hypergradients on your student
#
# `check_estimators` (on the command line: `python -m monai_gmcl check --config_file ...`, with a bundle's
# configuration) applies each hypergradient to one lesson of your own student. It reports the cosine similarity to the
# exact hypergradient, time and memory. Train for some steps before this lesson (`iterations`). In the first steps of
# Adam, A is very large for parameters with a gradient near 0, and these parameters dominate the cosine.

# %%
os.environ["KINETO_LOG_LEVEL"] = "99"  # the profiler that measures memory would log each start
judged = new_trainer(ShadowTeacher(2, data.channels, data.num_classes))
print(report_table(check_estimators(judged, iterations=4 if max_epochs == 1 else 40)))

# %% [markdown]
# ## Another optimizer
#
# A is the derivative of the optimizer's update with respect to the gradient. If there is no rule for your optimizer,
# register one. The update of `RMSprop` is $\eta g / (\sqrt{v} + \epsilon)$ with $v = \alpha v_0 + (1 - \alpha) g^2$.
# Its derivative is
#
# $$A = \frac{\eta}{\sqrt{v} + \epsilon} - \frac{\eta (1 - \alpha) g^2}{\sqrt{v} (\sqrt{v} + \epsilon)^2}$$


# %%
def rmsprop_rule(group, state, parameter, gradient):
    """``state`` is as it stands before the step; empty before the first one."""
    before = state.get("square_avg", torch.zeros_like(gradient))
    root = (group["alpha"] * before + (1 - group["alpha"]) * gradient**2).sqrt()
    bottom = root + group["eps"]
    slope = (1 - group["alpha"]) * gradient**2 / root.clamp_min(torch.finfo(gradient.dtype).tiny)
    return group["lr"] / bottom - group["lr"] * slope / bottom**2


# %% [markdown]
# The test compares the rule with a central difference of two steps of the optimizer, in float64:


# %%
def stepped(gradients):
    """Return where RMSprop takes a parameter, and the state before its last step."""
    parameter = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.RMSprop([parameter], lr=0.01)
    for gradient in gradients:
        before = {name: torch.as_tensor(value).clone() for name, value in optimizer.state[parameter].items()}
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach(), optimizer.param_groups[0], before


first, second = torch.randn(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
small = 1e-6
(up, group, before), (down, _, _) = stepped([first, second + small]), stepped([first, second - small])
difference = (down - up) / (2 * small)
derived = rmsprop_rule(group, before, None, second)
assert torch.allclose(derived, difference, rtol=1e-5)

register_update_rule(torch.optim.RMSprop, rmsprop_rule)
other = new_trainer(ShadowTeacher(2, data.channels, data.num_classes), optimizer_class=torch.optim.RMSprop, epochs=1)
other.run()
output = other.state.output[0]
print(f"with RMSprop: loss {output['loss']:.2f}, norm of the teacher's gradient {output['teacher_grad_norm']:.2g}")

# %% [markdown]
# ## Contribute
#
# In your own script, you can use the classes as in this notebook. To add a teacher or a hypergradient to this
# repository, see the page *Architecture* for the folders and tests.

# %% [markdown]
# ## Cleanup data directory
#
# The next cell removes the directory if it is a temporary directory.

# %%
if directory is None:
    shutil.rmtree(root_dir)
