# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from monai_gmcl.teachers.operations.tone import Gamma


@pytest.mark.parametrize("draw", [0.0, 1.0])
def test_gamma_keeps_black_and_white_and_has_finite_gradients_there(draw):
    images = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).requires_grad_()
    strength = torch.tensor([1.0], requires_grad=True)
    changed = Gamma().apply(images, torch.tensor([[draw]]), strength)
    torch.testing.assert_close(changed, images)
    for gradient in torch.autograd.grad(changed.sum(), (images, strength)):
        assert gradient.isfinite().all()
