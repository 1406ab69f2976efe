# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
"""SHA-256 of a description and tensors, to detect damaged files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["content_hash"]


def content_hash(told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a description and of tensors on the CPU (name, type, shape and bytes of each).

    The description has numbers, strings and containers of them; its key ``sha256`` is ignored.
    """
    described = {key: value for key, value in told.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        # a clone, because a view, or a tensor of one element with stride 0, has no contiguous bytes
        plain = tensor.detach().clone(memory_format=torch.contiguous_format)
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
