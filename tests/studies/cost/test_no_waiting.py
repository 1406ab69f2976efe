# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from monai_gmcl.exceptions import ConfigurationError
from studies.cost.no_waiting import no_waiting


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here: studies/cost/gpu.sh runs it")
def test_without_a_gpu_one_error_says_what_counts_the_same() -> None:
    with pytest.raises(ConfigurationError, match="expected a GPU.*check CONFIG --cost true"):
        no_waiting()
