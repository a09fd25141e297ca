#!/usr/bin/env bash
# The main job on real BigEarthNet v2.0 patches, end to end; `make demo` calls it.
# REBEN_SAMPLE: where the real sample lies or is put. REBEN_DEMO: where all the rest goes.
set -euo pipefail

sample="${REBEN_SAMPLE:-.sample}"
demo="${REBEN_DEMO:-demo}"
card="$demo/test_resnet-all-toy"
marker="$demo/.written-by-the-reben-demo"
patch="S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57"  # of the test split, never trained on

heading() { printf '\n== %s\n' "$*"; }

if [ -e "$demo" ] && [ ! -e "$marker" ] && [ -n "$(ls -A "$demo")" ]; then
    echo "$demo is there and this demo did not write it. Move it away, or set REBEN_DEMO." >&2
    exit 2
fi
rm -rf "$demo"
mkdir -p "$demo"
touch "$marker"

heading "1/6 Sample: real Sentinel-1 and Sentinel-2 patches"
reben sample "$sample"
reben inspect "$sample"

heading "2/6 Train: a small network from scratch on the real train split"
reben train --data "$sample" --out "$demo/run" \
    --backbone test_resnet --bands all --epochs 40 --patience 40 \
    --batch-size 6 --learning-rate 0.003 --warmup-steps 4 --accelerator cpu

heading "3/6 Evaluate: its best epoch on the real test split"
reben evaluate "$demo/run" --data "$sample"

heading "4/6 Card: a folder that is ready for the Hub"
reben card "$demo/run" --data "$sample" --out "$card"
ls "$card"

heading "5/6 Load the folder again and predict a real patch"
echo "$patch"
reben predict "$card" "$sample" --patch "$patch"

heading "6/6 The same in Python"
python - "$card" "$sample" "$patch" <<'PYTHON'
import sys

import reben

folder, store, patch = sys.argv[1:]
model = reben.Classifier.from_pretrained(folder)
data = reben.open_dataset(store, model.bands)
scores = model.predict(data.patch(patch))
for label, score in scores.top(3):
    print(f"{score:.4f}  {label}")
PYTHON

heading "Done. Where everything lies"
printf '%-44s %s\n' \
    "$sample" "the store: 24 real patch pairs, their metadata, NOTICE" \
    "$demo/run" "the run: settings, log, checkpoints, report-test/" \
    "$demo/run/best" "the model of the best epoch" \
    "$card" "the model with its card, for the Hub" \
    "$card/README.md" "the card" \
    "$card/example.png" "its picture"
echo "Six patches teach a network next to nothing; the card says so in its first lines."
