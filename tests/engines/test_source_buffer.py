# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
import torch

from monai_gmcl.benchmark.host_traffic import DEVICE, HostTraffic
from monai_gmcl.engines import source_buffer
from monai_gmcl.engines.source_buffer import SourceBuffer

CPU = torch.device("cpu")


def filled(sizes: list[int], extra: bool = False) -> SourceBuffer:
    buffer = SourceBuffer(4)
    for size in sizes:
        images = torch.full((2, 1, size, size), float(size))
        also: list[Any] = [torch.tensor([size, -size]), [f"a{size}", f"b{size}"]] if extra else []
        buffer.add(images, torch.tensor([0, 1]), extra=also)
    return buffer


def test_a_draw_is_of_one_size_and_every_size_is_drawn() -> None:
    buffer, seen = filled([4, 8, 6]), set()
    for seed in range(40):
        images, labels, _ = buffer.draw(torch.tensor([0, 1, 1, 0]), torch.Generator().manual_seed(seed), CPU)
        assert labels.tolist() == [0, 1, 1, 0] and (images == images.shape[-1]).all()
        seen.add(images.shape[-1])
    assert seen == {4, 8, 6}


def test_a_class_without_that_size_gives_way() -> None:
    buffer = filled([4])
    buffer.add(torch.full((4, 1, 6, 6), 6.0), torch.zeros(4, dtype=torch.int64))
    labels = buffer.draw(torch.tensor([0, 1]), torch.Generator().manual_seed(0), CPU)[1]
    assert labels.tolist() == [0, 0]


@pytest.mark.parametrize("sizes", [[4, 4], [4, 8, 6]])
def test_what_belongs_to_an_image_comes_with_it_also_from_a_checkpoint(sizes: list[int], tmp_path: Any) -> None:
    buffer = filled(sizes, extra=True)
    torch.save(buffer.state_dict(), tmp_path / "buffer.pt")
    loaded = SourceBuffer(4)
    loaded.load_state_dict(torch.load(tmp_path / "buffer.pt", weights_only=True))
    for one in (buffer, loaded):
        images, labels, (numbers, names) = one.draw(torch.tensor([0, 1, 0]), torch.Generator().manual_seed(3), CPU)
        size = images.shape[-1]
        assert numbers.tolist() == [size, -size, size] and names == [f"a{size}", f"b{size}", f"a{size}"]


def test_images_stay_on_their_device_within_a_bound_and_a_state_holds_them_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = torch.rand(4, 1, 4, 4)
    traffic = HostTraffic()
    with traffic.watch():
        there = images.to(DEVICE)
        for most, bytes_copied in ((2 * 4 * 64, 0), (2 * 4 * 64 - 1, 4 * 64)):
            monkeypatch.setattr(source_buffer, "MOST_BYTES", most)
            buffer, loaded = SourceBuffer(4), SourceBuffer(4)
            traffic.clear()
            buffer.add(there, torch.tensor([0, 1, 1, 0]))
            assert sum(traffic.bytes_to_host.values()) == bytes_copied
            loaded.load_state_dict(buffer.state_dict())
            assert type(loaded.state_dict()["drawers"][0]["images"]) is torch.Tensor
            for one in (buffer, loaded):
                drawn, labels, _ = one.draw(torch.tensor([1, 0]), torch.Generator().manual_seed(0), DEVICE)
                assert labels.tolist() == [1, 0] and any(torch.equal(drawn[0].cpu(), image) for image in images[1:3])


def test_images_without_a_class_are_not_kept() -> None:
    buffer = SourceBuffer(4)
    buffer.add(torch.rand(3, 1, 4, 4), torch.tensor([-100, 2, -100]), classes=[-1, 2, -1])
    buffer.add(torch.rand(1, 1, 4, 4), torch.tensor([-100]), classes=[-1])
    assert buffer.classes == [2] and len(buffer.state_dict()["drawers"][2]["images"]) == 1
