#!/usr/bin/env bash
# One machine with four GPUs: torchrun starts one process for each.
#   bash examples/train-torchrun.sh STORE RUN [--backbone resnet50 --bands s2 ...]
# Other settings follow as for reben train, for example --epochs 50.
# After a crash or a reboot the same command goes on from the last checkpoint.
# On a machine without GPUs: DEVICES=2 bash examples/train-torchrun.sh STORE RUN --accelerator cpu
set -euo pipefail
store=$1 run=$2 devices=${DEVICES:-4}

goal=(--out "$run")
if [ -f "$run/config.toml" ]; then
    goal=(--resume "$run")
fi
torchrun --standalone --nproc-per-node "$devices" -m reben train \
    --data "$store" "${goal[@]}" --devices "$devices" "${@:3}"
