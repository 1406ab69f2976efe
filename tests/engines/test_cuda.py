# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""What only a GPU shows. As a script: one rank of two that share it, with SyncBatchNorm; arguments as in rank_runs."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from ignite.engine import Events
from torch import Tensor, nn

import monai_gmcl
from monai_gmcl import (
    ExactHypergradient,
    GMCLEvents,
    GMCLKeys,
    GMCLTrainer,
    HeadHypergradient,
    Hypergradient,
    LookAheadWeighting,
    PolicyTeacher,
)
from monai_gmcl.handlers import CheckpointKeeper

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch.cuda.is_available() is False: no GPU here")

Build = Callable[..., GMCLTrainer]


class SmoothStudent(nn.Sequential):
    """Without dropout, of which each device draws masks of its own, and without kinks."""

    def __init__(self, norm: nn.Module | None = None) -> None:
        super().__init__(
            *(nn.Conv2d(3, 8, 3, padding=1), norm or nn.Identity(), nn.Tanh(), nn.Conv2d(8, 8, 3, padding=1)),
            *(nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)),
        )


class Noting(Hypergradient):
    """Keeps what the teacher is told."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Tensor] = []

    def __call__(self, lessons: Sequence[Any], look_ahead: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        result = super().__call__(lessons, look_ahead)
        self.found.append(result[0])
        return result


class NotingHead(Noting, HeadHypergradient):
    pass


class NotingExact(Noting, ExactHypergradient):
    pass


@pytest.fixture(autouse=True)
def single_precision_that_repeats() -> Iterator[None]:
    """TF32 has 10 bits of mantissa; and cuDNN may else choose algorithms that add up in any order."""
    tf32 = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        yield
    torch.backends.cuda.matmul.allow_tf32 = tf32


@pytest.fixture
def on(trainer: Build) -> Build:
    """Build a small trainer on a device; the weights it begins with are the same on every one."""

    def build(device: str, network: nn.Module | None = None, teacher: nn.Module | None = None, **changes: Any) -> Any:
        torch.manual_seed(0)
        network = SmoothStudent() if network is None else network
        teacher = PolicyTeacher(spatial_dims=2, in_channels=3, num_classes=2) if teacher is None else teacher
        return trainer(network=network.to(device), teacher=teacher.to(device), device=device, **changes)

    return build


@pytest.fixture
def steady(on: Build) -> Build:
    """One whose steps follow gradients, not their signs as Adam's first ones do: rounding decides a small one's."""

    def build(device: str, **changes: Any) -> GMCLTrainer:
        torch.manual_seed(0)
        network = SmoothStudent().to(device)
        teacher = PolicyTeacher(spatial_dims=2, in_channels=3, num_classes=2).to(device)
        changes["optimizer"] = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        changes["teacher_optimizer"] = torch.optim.SGD(teacher.parameters(), lr=1.0)
        return on(device, network, teacher, **changes)

    return build


def weights(part: nn.Module) -> Tensor:
    return torch.cat([value.detach().double().cpu().flatten() for value in part.state_dict().values()])


def cosines(one: Sequence[Tensor], other: Sequence[Tensor]) -> list[float]:
    pairs = ((a.double().flatten(), b.double().flatten()) for a, b in zip(one, other, strict=True))
    return [float(torch.cosine_similarity(*pair, dim=0)) for pair in pairs]


def test_the_gpu_trains_student_and_teacher_as_the_cpu_does(steady: Build) -> None:
    runs = {device: steady(device) for device in ("cpu", "cuda")}
    begin = {name: weights(getattr(runs["cpu"], name)) for name in ("network", "teacher")}
    latents: dict[str, list[Tensor]] = {device: [] for device in runs}
    for device, run in runs.items():

        @run.on(GMCLEvents.LESSON_COMPLETED)
        def note(run: GMCLTrainer = run, seen: list[Tensor] = latents[device]) -> None:
            seen.append(run.state.lesson.latents.cpu())

        run.run()
    assert len(latents["cpu"]) == 10
    assert all(torch.equal(*pair) for pair in zip(*latents.values(), strict=True))
    assert_near(runs["cuda"], runs["cpu"], begin)


def assert_near(run: GMCLTrainer, other: GMCLTrainer, begin: Mapping[str, Tensor]) -> None:
    """Both ended within a thousandth of the way that they went."""
    for name, start in begin.items():
        end, wanted = weights(getattr(run, name)), weights(getattr(other, name))
        moved, apart = float((wanted - start).norm()), float((end - wanted).norm())
        assert moved > 1e-2 and apart <= 1e-3 * moved, (name, moved, apart)


def test_float16_with_a_loss_scale_trains_both(on: Build) -> None:
    run = on("cuda", amp=True, max_epochs=3)
    assert run.scaler is not None and run.scaler.is_enabled()
    begin = weights(run.teacher), weights(run.network)
    losses: list[float] = []

    @run.on(Events.ITERATION_COMPLETED)
    def note() -> None:
        # With decollation the output is a list, an item for each image.
        losses.extend([run.state.output[0]["loss"], run.state.output[0][GMCLKeys.SYNTHETIC_LOSS]])

    run.run()
    assert len(losses) == 2 * 15 and torch.isfinite(torch.tensor(losses)).all()
    # The loss scale begins high and may cost a few steps.
    assert run.student_step.taken >= 12
    assert run.teacher_step is not None and run.teacher_step.skipped <= 3
    for before, part in zip(begin, (run.teacher, run.network), strict=True):
        assert torch.isfinite(weights(part)).all() and not torch.equal(before, weights(part))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("estimator", [NotingHead, NotingExact])
def test_the_hypergradient_points_where_that_of_single_precision_does(
    estimator: type[Noting], dtype: torch.dtype, on: Build, gain_teacher: Any
) -> None:
    def signals(**options: Any) -> list[Tensor]:
        noting = estimator()
        torch.manual_seed(0)
        network = SmoothStudent().cuda()
        sgd = torch.optim.SGD(network.parameters(), lr=0.1)
        on("cuda", network, gain_teacher(), optimizer=sgd, hypergradient=noting, max_epochs=1, **options).run()
        return noting.found

    single, mixed = signals(), signals(amp=True, amp_kwargs={"dtype": dtype})
    assert len(single) == len(mixed) > 2 and all(found.is_cuda for found in mixed)
    found = cosines(single, mixed)
    assert min(found) >= 0.99, found


def parts(run: GMCLTrainer) -> dict[str, Any]:
    return {
        "model": run.network,
        "teacher": run.teacher,
        "optimizer": run.optimizer,
        "teacher_optimizer": run.teacher_optimizer,
        "trainer": run,
    }


def test_a_saved_run_goes_on_bit_for_bit(on: Build, student: Any, gain_teacher: Any) -> None:
    def build() -> GMCLTrainer:
        # Dropout is drawn on the GPU. Not PolicyTeacher: CUDA adds up the derivative of a resampling in any order.
        return on("cuda", student(), gain_teacher())

    whole = build()
    content: list[bytes] = []

    @whole.on(Events.ITERATION_COMPLETED(once=4))
    def save() -> None:
        file = io.BytesIO()
        torch.save({name: part.state_dict() for name, part in parts(whole).items()}, file)
        content.append(file.getvalue())

    whole.run()
    torch.manual_seed(99)
    resumed = build()
    states = torch.load(io.BytesIO(content[0]), weights_only=True)
    for name, part in parts(resumed).items():
        part.load_state_dict(states[name])
    torch.rand(7, device="cuda")
    resumed.run()
    assert resumed.state.iteration == whole.state.iteration == 10
    for name in ("network", "teacher"):
        assert torch.equal(weights(getattr(resumed, name)), weights(getattr(whole, name))), name


def test_a_saved_run_of_the_policy_goes_on_up_to_rounding(steady: Build, tmp_path: Path) -> None:
    whole = steady("cuda")
    begin = {name: weights(getattr(whole, name)) for name in ("network", "teacher")}
    whole.run()
    steady("cuda", train_handlers=[CheckpointKeeper(tmp_path)], max_epochs=1).run()
    resumed = steady("cuda", train_handlers=[CheckpointKeeper(tmp_path, resume=True)])
    begun: list[int] = []
    resumed.add_event_handler(Events.ITERATION_STARTED, lambda: begun.append(resumed.state.iteration))
    resumed.run()
    assert begun == [6, 7, 8, 9, 10]
    assert_near(resumed, whole, begin)


@pytest.mark.parametrize("amp", [False, True])
def test_a_checkpoint_of_the_gpu_goes_on_on_the_cpu(amp: bool, on: Build, tmp_path: Path) -> None:
    on("cuda", amp=amp, max_epochs=1, train_handlers=[CheckpointKeeper(tmp_path)]).run()
    # On the CPU mixed precision would be another one, without a loss scale.
    resumed = on("cpu", max_epochs=2, train_handlers=[CheckpointKeeper(tmp_path, resume=True)])
    begun: list[int] = []
    resumed.add_event_handler(Events.ITERATION_STARTED, lambda: begun.append(resumed.state.iteration))
    resumed.run()
    assert begun == [6, 7, 8, 9, 10]
    assert all(p.device.type == "cpu" for p in [*resumed.network.parameters(), *resumed.teacher.parameters()])
    assert torch.isfinite(weights(resumed.network)).all() and weights(resumed.teacher).abs().max() > 0


@pytest.mark.parametrize("amp", [False, True])
def test_unlabeled_images_are_weighed_by_the_look_ahead(amp: bool, on: Build, items: Any) -> None:
    unlabeled = torch.utils.data.DataLoader([item["image"] for item in items(n=9)], batch_size=3)
    run = on("cuda", unlabeled_data_loader=unlabeled, weighting=LookAheadWeighting(), amp=amp)
    lessons: list[Any] = []
    run.add_event_handler(GMCLEvents.LESSON_COMPLETED, lambda: lessons.append(run.state.lesson))
    run.run()
    # The look-ahead knows nothing of images before the first batch, so that this one has no lesson.
    assert len(lessons) == 9 and all(lesson.num_pseudo_labeled == 3 and lesson.weights.is_cuda for lesson in lessons)
    assert all(torch.isfinite(lesson.weights).all() for lesson in lessons)
    assert any((lesson.weights[lesson.num_labeled :] > 0).any() for lesson in lessons[1:])
    assert weights(run.teacher).abs().max() > 0


@pytest.fixture
def nccl_group(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    if not dist.is_nccl_available():
        pytest.skip("this torch is built without NCCL")
    torch.cuda.set_device(0)
    meeting = f"file://{tmp_path / 'meeting'}"
    dist.init_process_group("nccl", init_method=meeting, rank=0, world_size=1, timeout=timedelta(seconds=60))
    yield
    dist.destroy_process_group()


def test_batch_normalization_over_ranks_is_heard_through_the_head(nccl_group: None, on: Build) -> None:
    network = nn.SyncBatchNorm.convert_sync_batchnorm(SmoothStudent(nn.BatchNorm2d(8)))
    assert any(isinstance(module, nn.SyncBatchNorm) for module in network.modules())
    noting = NotingHead()
    run = on("cuda", network, hypergradient=noting, max_epochs=1)
    run.run()
    assert len(noting.found) == 4
    assert all(torch.isfinite(found).all() and found.abs().max() > 0 for found in noting.found)
    assert weights(run.teacher).abs().max() > 0


def test_two_ranks_on_one_gpu_share_batch_normalization_and_the_teacher(tmp_path: Path) -> None:
    # Gloo: NCCL refuses two ranks on one GPU, and alone SyncBatchNorm is plain batch normalization.
    path = os.pathsep.join([str(Path(monai_gmcl.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, str(tmp_path), str(rank), "2", str(tmp_path / "meeting")],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=90)
            assert process.returncode == 0, errors[-3000:]
    finally:
        for process in processes:
            process.kill()
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert first["heard"] == second["heard"] > 2
    for name in ("student", "teacher"):
        assert torch.equal(first[name], second[name]), name
    assert first["teacher"].abs().max() > 0 and not torch.equal(first["hypergradient"], second["hypergradient"])
    assert torch.isfinite(first["hypergradient"]).all() and first["hypergradient"].abs().max() > 0


def rank_of_two(folder: Path, index: int, ranks: int, meeting: str) -> None:
    torch.cuda.set_device(0)
    timeout = timedelta(seconds=60)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=index, world_size=ranks, timeout=timeout)
    helpers = importlib.util.spec_from_file_location("helpers", Path(__file__).with_name("conftest.py"))
    assert helpers is not None and helpers.loader is not None
    conftest = importlib.util.module_from_spec(helpers)
    helpers.loader.exec_module(conftest)
    torch.manual_seed(0)
    network = nn.SyncBatchNorm.convert_sync_batchnorm(SmoothStudent(nn.BatchNorm2d(8))).cuda()
    noting = NotingHead()
    run = conftest.build_trainer(
        network=network,
        teacher=PolicyTeacher(spatial_dims=2, in_channels=3, num_classes=2).cuda(),
        device="cuda",
        train_data_loader=conftest.random_loader(conftest.dictionaries(40)[20 * index :][:20]),
        hypergradient=noting,
    )
    run.run()
    found = {"student": weights(network), "teacher": weights(run.teacher)}
    torch.save({**found, "hypergradient": noting.found[0].cpu(), "heard": len(noting.found)}, folder / f"{index}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    rank_of_two(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
