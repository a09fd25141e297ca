#!/usr/bin/env bash
# Two machines with four GPUs each, eight processes on one batch of 512.
#   sbatch examples/train-slurm.sh STORE RUN [--backbone resnet50 --bands s2 ...]
# Other settings follow as for reben train, for example --epochs 50.
# A job that was requeued goes on from the last checkpoint.
# For other machines, change nodes, tasks and GPUs here; reben reads them from SLURM.
#SBATCH --job-name=reben
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
set -euo pipefail
store=$1 run=$2

goal=(--out "$run")
if [ -f "$run/config.toml" ]; then
    goal=(--resume "$run")
fi
srun python -m reben train --data "$store" "${goal[@]}" \
    --devices "$SLURM_NTASKS_PER_NODE" --num-nodes "$SLURM_JOB_NUM_NODES" "${@:3}"
