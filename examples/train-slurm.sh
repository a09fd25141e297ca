#!/usr/bin/env bash
# Two machines with four GPUs each, eight processes on one batch of 512.
#   sbatch examples/train-slurm.sh STORE RUN
# A job that was requeued goes on from the last checkpoint.
#SBATCH --job-name=reben
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
set -euo pipefail
store=$1 run=$2

goal=(--out "$run" --backbone resnet50 --bands s2 --devices 4 --num-nodes 2)
if [ -f "$run/config.toml" ]; then
    goal=(--resume "$run")
fi
srun python -m reben train --data "$store" "${goal[@]}" "${@:3}"
