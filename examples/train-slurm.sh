#!/usr/bin/env bash
# Two machines with four GPUs each, eight processes on one batch of 512.
#   sbatch examples/train-slurm.sh STORE RUN [--backbone resnet50 --bands s2 ...]
# Other settings follow as for reben train, for example --epochs 50.
# A job that was requeued goes on from the last checkpoint. Two minutes before its time is up, SLURM
# sends SIGUSR1: reben writes one and ends with code 138, and the job is requeued. If one process
# ends with an error, srun ends all of them.
# For other machines, change nodes, tasks and GPUs here; reben reads them from SLURM.
#SBATCH --job-name=reben
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=USR1@120
set -euo pipefail
store=$1 run=$2

goal=(--out "$run")
if [ -f "$run/config.toml" ]; then
    goal=(--resume "$run")
fi
status=0
srun --kill-on-bad-exit=1 python -m reben train --data "$store" "${goal[@]}" \
    --devices "$SLURM_NTASKS_PER_NODE" --num-nodes "$SLURM_JOB_NUM_NODES" "${@:3}" || status=$?
if [ "$status" -eq 138 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
