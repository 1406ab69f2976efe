#!/usr/bin/env bash
# The whole proof, in the order in which it matters; goes on where it stopped. From the repository's root, with
# `pip install ".[benchmark]"`: GMCL_DATA_DIR=../shared/data bash tutorials/results/proof/grid.sh
set -euo pipefail
export OMP_NUM_THREADS=1
data=${GMCL_DATA_DIR:-../shared/data}

run() { python -m monai_gmcl compare --out tutorials/results/proof --workers "${WORKERS:-2}" "$@"; }
patches=(--data_dir "$data/pcam" --crop 64 --size 32 --centered --splits test)
xrays=(--data_dir "$data/pneumonia" --channels 1 --size 28 --upright --splits '["test","test_shifted"]')
main='["gmcl","frozen","standard","strong","doubled_batch"]'
pool='["gmcl_unlabeled","gmcl_unlabeled_uniform","gmcl_unlabeled_true","fixmatch","mean_teacher"]'
starts='["gmcl_weak_start","frozen_weak_start","gmcl_strong_start","frozen_strong_start"]'
side='["none","trivial_augment","mixup","cutmix","competence","hardness_only","hypergradient_only","latent"]'
within='["standard_tuned_within_budget","strong_tuned_within_budget"]'

for seeds in 2 3; do
  run "${patches[@]}" --n '[100,500,250,1000]' --seeds $seeds --arms "$main" --robust true
  run "${xrays[@]}" --n '[100,200,400]' --seeds $seeds --arms "$main" --robust true
  run "${patches[@]}" --n '[100,500,250]' --seeds $seeds --arms "$pool"
  run "${xrays[@]}" --n '[50,100]' --seeds $seeds --arms '["gmcl","gmcl_unlabeled"]'
done
run "${patches[@]}" --n '[100,500,250,1000]' --seeds 5 --arms "$main"
run "${xrays[@]}" --n '[100,200,400]' --seeds 5 --arms "$main"
run "${patches[@]}" --n '[100,500,250]' --seeds 5 --arms "$pool"
run "${xrays[@]}" --n '[50,100]' --seeds 5 --arms '["gmcl","gmcl_unlabeled"]'
run "${patches[@]}" --n '[100,500]' --seeds 5 --arms "$starts"
run "${xrays[@]}" --n 200 --seeds 5 --arms "$starts"
run "${patches[@]}" --n '[100,500]' --seeds 5 --arms '["two_stage_gan"]' --robust true
run "${xrays[@]}" --n 200 --seeds 5 --arms '["two_stage_gan"]' --robust true
run "${patches[@]}" --n '[200,2000]' --seeds 5 --arms '["standard"]'
run "${patches[@]}" --n 50 --seeds 5 --arms '["gmcl"]'
run "${patches[@]}" --n '[100,500]' --seeds 5 --arms "$side"
run "${patches[@]}" --n '[100,500]' --seeds 5 --arms "$within"
run "${patches[@]}" --n '[100,500,250,1000]' --seeds 5 --arms '["doubled_batch_split_statistics"]'
run "${xrays[@]}" --n '[100,200,400]' --seeds 5 --arms '["doubled_batch_split_statistics"]'
run "${patches[@]}" --n '[100,500,250]' --seeds 5 --arms '["gmcl_unlabeled_confidence","self_training"]'

drawn=$(mktemp -d)
python - "$drawn" <<'END'
import sys
from monai_gmcl.data import make_phantom, make_volume_phantom
make_phantom(f"{sys.argv[1]}/phantom", {"train": 200, "valid": 75, "test": 250})
make_volume_phantom(f"{sys.argv[1]}/volumes", {"train": 140, "valid": 75, "test": 100})
END
run --data_dir "$drawn/phantom" --size 32 --upright --splits test --n 100 --seeds 5 --arms '["standard","gmcl"]'
run --data_dir "$drawn/volumes" --channels 1 --size 16 --spatial_dims 3 --splits test --n 40 --seeds 5 --arms '["standard","gmcl"]'

run "${patches[@]}" --n '[100,500,250,1000]' --seeds 10 --arms '["gmcl","frozen","standard","strong"]'
run "${xrays[@]}" --n '[100,200,400]' --seeds 10 --arms '["gmcl","frozen","standard","strong"]'
