#!/usr/bin/env bash
# One machine with four GPUs: torchrun starts one process for each.
#   bash examples/train-torchrun.sh STORE RUN
# After a crash or a reboot the same command goes on from the last checkpoint.
set -euo pipefail
store=$1 run=$2 devices=${DEVICES:-4}

goal=(--out "$run" --backbone resnet50 --bands s2 --devices "$devices")
if [ -f "$run/config.toml" ]; then
    goal=(--resume "$run")
fi
torchrun --standalone --nproc-per-node "$devices" -m reben train --data "$store" "${goal[@]}" "${@:3}"
