# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from monai_gmcl.benchmark.host_traffic import DEVICE, HostTraffic


def of(work: Callable[[], object]) -> tuple[int, int, int, int]:
    """Numbers drawn, bytes to the device, bytes to the host, waits."""
    traffic = HostTraffic()
    with traffic.watch():
        work()
    counters = (traffic.numbers, traffic.bytes_to_device, traffic.bytes_to_host, traffic.waits)
    return tuple(sum(counter.values()) for counter in counters)  # type: ignore[return-value]


def test_a_function_made_by_hand_is_counted_exactly() -> None:
    def work() -> None:
        drawn = torch.rand(3, 4)  # 12 numbers
        permuted = torch.randperm(5)  # 5 numbers
        there = drawn.to(DEVICE)  # 48 bytes to the device, and a wait
        index = torch.tensor([0, 2], device=DEVICE)  # 16 bytes to the device, and a wait
        torch.ones(2).to(DEVICE, non_blocking=True)  # 8 bytes to the device
        torch.rand(7, device=DEVICE)  # the device's own
        some = there[index] + 1
        some[some > 0].sum().item()  # waits for the number of values, and for the sum
        some.cpu()  # 32 bytes to the host, and a wait
        permuted.tolist()  # the host's own
        float(permuted[0])

    assert of(work) == (17, 72, 32, 5)


ON_DEVICE: dict[str, tuple[Callable[[Tensor], object], int]] = {
    "item": (lambda x: x.sum().item(), 1),
    "float": (lambda x: float(x.sum()), 1),
    "int": (lambda x: int(x.sum()), 1),
    "bool": (lambda x: bool((x > 0).all()), 1),
    "if": (lambda x: 1 if x.sum() > 0 else 2, 1),
    "tolist": (lambda x: x.tolist(), 1),
    "numpy": (lambda x: x.cpu().numpy(), 1),
    "nonzero": (lambda x: x.nonzero(), 1),
    "where of one argument": (lambda x: torch.where(x > 0), 1),
    "boolean index": (lambda x: x[x > 0.5], 1),
    "unique": (lambda x: torch.unique(x), 1),
    "equal": (lambda x: torch.equal(x, x + 1), 1),
    "masked_select": (lambda x: x.masked_select(x > 0.5), 1),
    "asynchronous copy": (lambda x: x.to("cpu", non_blocking=True), 0),
    "where of three": (lambda x: torch.where(x > 0.5, x, 0), 0),
    "integer index": (lambda x: x[1:, 0] + x.sum(), 0),
    "multiplication by a mask": (lambda x: (x * (x > 0.5)).mean(), 0),
}


@pytest.mark.parametrize("name", list(ON_DEVICE))
def test_what_lets_the_host_wait_for_the_device_is_counted_there_and_not_on_the_host(name: str) -> None:
    work, waits = ON_DEVICE[name]
    on_device = torch.zeros(0)

    def there() -> None:
        nonlocal on_device
        on_device = torch.linspace(0, 1, 6, device=DEVICE).view(3, 2)

    of(there)
    assert of(lambda: work(on_device))[3] == waits
    assert of(lambda: work(torch.linspace(0, 1, 6).view(3, 2)))[1:] == (0, 0, 0)


def test_dropout_draws_where_its_input_is() -> None:
    assert of(lambda: nn.functional.dropout(torch.ones(10)))[0] == 10
    assert of(lambda: nn.functional.dropout(torch.ones(10, device=DEVICE)))[0] == 0


def test_training_on_the_device_has_the_same_numbers_as_on_the_cpu() -> None:
    def trained(device: torch.device) -> list[Tensor]:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 2))
        network.to(device)
        optimizer = torch.optim.Adam(network.parameters())
        for _ in range(3):
            loss = nn.functional.cross_entropy(
                network(torch.rand(4, 1, 8, 8).to(device)), torch.arange(4).to(device) % 2
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return [value.detach().cpu() for value in network.state_dict().values()]

    with HostTraffic().watch():
        found = trained(DEVICE)
    for one, other in zip(found, trained(torch.device("cpu")), strict=True):
        assert torch.equal(one, other)


def test_counts_name_the_line_and_can_be_begun_anew() -> None:
    from monai_gmcl.curriculum import ClassSampler

    traffic = HostTraffic()
    with traffic.watch():
        ClassSampler().draw(5, [0, 1], torch.Generator().manual_seed(0))
        torch.rand(2)
    (own,) = [line for line in traffic.numbers if line.startswith("curriculum.py:")]
    (other,) = [line for line in traffic.numbers if line.startswith("test_host_traffic.py:")]
    assert own.endswith(" draw") and traffic.numbers == Counter({own: 5, other: 2})
    traffic.clear()
    assert not traffic.numbers
