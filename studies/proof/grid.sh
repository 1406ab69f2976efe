#!/usr/bin/env bash
# The whole proof, in the order in which it matters; goes on where the runs in OUT (output/proof) end. From the repository's root, with
# `pip install ".[benchmark]"`: GMCL_DATA_DIR=../shared/data bash studies/proof/grid.sh
# An argument (patches, patches_by_others, xrays, drawn, unlabeled) runs that part alone; DEVICE=cuda WORKERS=16 trains on
# a GPU, about twice as fast where processes share it by NVIDIA's MPS.
set -euo pipefail
export OMP_NUM_THREADS=1
data=${GMCL_DATA_DIR:-../shared/data}

run() {
  python -m studies.proof.run --out "${OUT:-output/proof}" --workers "${WORKERS:-2}" --device "${DEVICE:-cpu}" "$@"
}
on_patches() { run --data_dir "$data/pcam" --crop 64 --size 32 --centered --splits test "$@"; }
on_xrays() {
  run --data_dir "$data/pneumonia" --channels 1 --size 28 --upright --splits '["test","test_shifted"]' "$@"
}
main='["gmcl","frozen","standard","strong","doubled_batch"]'
starts='["gmcl_weak_start","frozen_weak_start","gmcl_strong_start","frozen_strong_start"]'
side='["none","trivial_augment","mixup","cutmix","competence","hardness_only","hypergradient_only","latent"]'
within='["standard_tuned_within_budget","strong_tuned_within_budget"]'
second='["gmcl_first_student_head","gmcl_first_student_uniform"]'
pool='["gmcl_unlabeled_head","gmcl_unlabeled_uniform","gmcl_unlabeled_true","fixmatch","mean_teacher"]'
longer='["fixmatch_longer","mean_teacher_longer"]'

patches() {
  on_patches --n '[100,500,250,1000]' --seeds 5 --arms "$main" --robust true
  on_patches --n '[100,500,250,1000]' --seeds 10 --arms '["gmcl","frozen","standard","strong"]'
}

patches_by_others() {
  on_patches --n '[100,500]' --seeds 5 --arms '["two_stage_gan"]' --robust true
  on_patches --n '[100,500]' --seeds 5 --arms "$starts"
  on_patches --n '[200,2000]' --seeds 5 --arms '["standard"]'
  on_patches --n 50 --seeds 5 --arms '["gmcl"]'
  on_patches --n '[100,500]' --seeds 5 --arms "$side"
  on_patches --n '[100,500,250,1000]' --seeds 5 --arms '["doubled_batch_split_statistics"]'
  on_patches --n '[100,500]' --seeds 5 --arms "$within"
  on_patches --n '[250,1000]' --seeds 5 --arms '["two_stage_gan"]' --robust true
  on_patches --n '[100,500]' --seeds 5 --arms '["gmcl_without_validation"]'
  on_patches --n '[250,1000]' --seeds 5 --arms '["none"]'
}

xrays() {
  on_xrays --n '[100,200,400]' --seeds 5 --arms "$main" --robust true
  on_xrays --n 200 --seeds 5 --arms '["two_stage_gan"]' --robust true
  on_xrays --n 200 --seeds 5 --arms "$starts"
  on_xrays --n '[100,200,400]' --seeds 10 --arms '["gmcl","frozen","standard","strong"]'
  on_xrays --n '[100,200,400]' --seeds 5 --arms '["doubled_batch_split_statistics"]'
  on_xrays --n '[100,400]' --seeds 5 --arms '["two_stage_gan"]' --robust true
  on_xrays --n '[100,200,400]' --seeds 5 --arms '["none"]'
  on_xrays --n 100 --seeds 5 --arms "$side"
}

drawn() {
  local folder
  folder=$(mktemp -d)
  python - "$folder" <<'END'
import sys
from monai_gmcl.data import make_phantom, make_volume_phantom
make_phantom(f"{sys.argv[1]}/phantom", {"train": 200, "valid": 75, "test": 250})
make_volume_phantom(f"{sys.argv[1]}/volumes", {"train": 140, "valid": 75, "test": 100})
END
  run --data_dir "$folder/phantom" --size 32 --upright --splits test --n 100 --seeds 5 --arms '["standard","gmcl"]'
  run --data_dir "$folder/volumes" --channels 1 --size 16 --spatial_dims 3 --splits test --n 40 --seeds 5 \
    --arms '["standard","gmcl"]'
}

unlabeled() {
  on_patches --n '[100,500,250]' --seeds 5 --arms "$pool"
  on_xrays --n '[50,100]' --seeds 5 --arms '["gmcl","gmcl_unlabeled_head"]'
  on_patches --n '[100,500,250]' --seeds 5 --arms '["gmcl_unlabeled_confidence","self_training"]'
  on_patches --n '[100,500,250]' --seeds 5 --arms "$second"
  on_xrays --n '[50,100]' --seeds 5 --arms "$second"
  on_patches --n '[100,500,250]' --seeds 5 --arms '["gmcl_twice_the_steps"]'
  on_patches --n '[100,500,250]' --seeds 5 --arms '["gmcl_unlabeled"]'
  on_xrays --n '[50,100]' --seeds 5 --arms '["gmcl_unlabeled"]'
  on_patches --n '[100,500,250]' --seeds 5 --arms "$longer"
}

for part in "${@:-patches patches_by_others xrays drawn unlabeled}"; do
  for one in $part; do "$one"; done
done
