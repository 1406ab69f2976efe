# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest

from studies.cost.transforms import STOCK, throughput


@pytest.mark.parametrize(("spatial_dims", "channels", "teachers"), [(2, 3, 3), (3, 1, 2)])
def test_each_teacher_is_timed_beside_monai_s_two_transforms(spatial_dims, channels, teachers, capsys):
    throughput(8, channels, spatial_dims, images=4, batch_size=2, workers=0, runs=2)
    head, _, unchanged, stock, *rows = capsys.readouterr().out.splitlines()
    shape = " x ".join(map(str, [channels, *[8] * spatial_dims]))
    assert head.startswith(f"4 images {shape}, batches of 2, 0 workers")
    assert unchanged.startswith("no transform") and stock.startswith(STOCK) and "(single runs 1.00-1.00)" in stock
    assert len(rows) == 2 * teachers
    # Beside a busy machine's transforms, none at all take 0.00 of their time.
    assert float(unchanged[36:46]) > 0
    assert all(float(row[36:46]) > 0 and float(row[46:54]) > 0 for row in rows)
