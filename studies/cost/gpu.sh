#!/usr/bin/env bash
# SPDX-FileCopyrightText: monai_gmcl contributors
# SPDX-License-Identifier: Apache-2.0
# What is measured and tested on one GPU, in at most 8 minutes: studies/cost/gpu.sh [FOLDER FOR THE OUTPUT]
set -uo pipefail
cd "$(dirname "$0")/../.."
out=${1:-.}
python - <<'PYTHON' || exit 2
import torch
if not torch.cuda.is_available():
    raise SystemExit("studies/cost/gpu.sh: expected a GPU, torch.cuda.is_available() is False; nothing was measured.")
PYTHON
mkdir -p "$out"
failed=0
step() { # step SECONDS NAME COMMAND...
    local seconds=$1 name=$2
    shift 2
    timeout "$seconds" "$@" 2>&1 | tee "$out/$name.txt" || { failed=1; echo "$name failed (124: more than $seconds s)"; }
}
step 90 no_waiting python -m studies.cost.no_waiting
step 240 throughput python -m studies.cost.throughput --device cuda --rounds 3 --iterations 40
step 140 test_cuda python -m pytest -q tests/engines/test_cuda.py
exit $failed
