"""What cannot be is said before torch is imported, whichever verb is asked."""

import json
import os
import subprocess
import sys

import pytest

import made_up
from reben import Classifier
from reben.app import cli

USAGE = """
predict
predict nowhere store --patch x
predict empty store --patch x
predict model
predict model nowhere
predict model store
predict model store store
predict model store --patch x
predict model store --patch x --device gpu
predict model store --patch x --device cuda:x
predict model store --patch x --bands s1
predict model store --patch x --split test
predict model store --patch x --top 0
predict model store --patch x --threshold 2
predict model empty
predict pickled store --patch x
predict model store store --out new.csv
predict model store --out there.csv
predict model store --out new.xls
predict model store --out new.csv --patch x
predict model store --out new.csv --split no
predict model store --out new.csv --device gpu
predict model empty --out new.csv --split test
embed model store --out new.csv
embed model store --out there.parquet
embed nowhere store --out new.parquet
embed model store store --out new.parquet
evaluate
evaluate model
evaluate nowhere --data store
evaluate model --data nowhere
evaluate model --data store --split no
evaluate model --data store --device gpu
evaluate model --data store --bands s1
evaluate model --data store --country Nowhere
evaluate model --predictions there.csv
evaluate --predictions nowhere
calibrate model --data nowhere
calibrate model --data store --split test
calibrate owner/name --data store
calibrate model --data store --device gpu
train --data store
train --data store --out there
train --data store --out new --bands B99
train --resume nowhere
train --data store --out new --set epochs
statistics nowhere
statistics store --bands B99
statistics store --split no
compare
compare nowhere
benchmark
benchmark nowhere
benchmark model --batch-sizes x
benchmark model --device gpu
benchmark --backbone resnet18
benchmark --backbone resnet18 --bands B99
card
card model
card model --out new
card nowhere --check
card model --out new --report nowhere
card model --out new --metadata-file nowhere
card model --out new --affiliations nowhere
push empty name
export nowhere --out new.onnx
export model --out new.onnx --sentinel2-dtype int
import nowhere --out new
import model --out there
import model --out new --bands s1
predict-scene
predict-scene model
predict-scene model nowhere --out new.tif
predict-scene model nowhere --out new.png
predict-scene nowhere product --out new.tif
predict-scene model product --out there.tif
predict-scene model product --out new.tif --aoi nowhere
predict-scene model product --out new.tif --stride 7
predict-scene model product --out new.tif --device gpu
predict-scene model --list nowhere
predict-scene model --list nowhere --out-dir new
predict-map model nowhere --out new.png
predict-map model nowhere --out new.tif
predict-map model nowhere --out there.tif
predict-map nowhere nowhere --out new.tif
cut nowhere --at there.csv --out new
cut product --at nowhere --out new
inspect nowhere
inspect store --metadata nowhere
demo nowhere
demo model --device gpu
demo model --product nowhere
demo model --scene there.tif --product there.tif
""".strip().splitlines()
HEAVY = ("torch", "timm", "lightning", "torchmetrics", "numba", "sklearn", "matplotlib", "gradio")
RUN = """
import json, sys
from reben.app import cli
usage, heavy = json.load(sys.stdin)
found = {}
for words in usage:
    code = cli.run(words.split())
    found[words] = code, [name for name in heavy if name in sys.modules]
    if found[words][1]:
        break  # what comes after it tells nothing
print(json.dumps(found))
"""
ELSEWHERE = {"sample", "download", "synthesize", "encode", "hub"}
"""Verbs whose mistakes are in test_cli.py, or that take nothing that can be looked at."""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Words -> exit code and the heavy packages that were imported by then, in one process."""
    place = tmp_path_factory.mktemp("usage")
    Classifier("test_resnet", "s2").save_pretrained(place / "model")
    made_up.write_store(place / "store")
    for name in ("empty", "pickled", "there", "product"):
        (place / name).mkdir()
    (place / "pickled" / "config.json").write_bytes((place / "model/config.json").read_bytes())
    (place / "pickled" / "pytorch_model.bin").write_bytes(b"")
    for name in ("there/x", "there.csv", "there.parquet", "there.tif"):
        (place / name).write_text("")
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps((USAGE, HEAVY)),
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert not done.returncode, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("words", USAGE)
def test_a_mistake_is_told_before_anything_heavy_is_imported(words, found):
    code, heavy = found[words]
    assert code in (1, 2)
    assert heavy == []


def test_the_table_has_mistakes_of_every_verb():
    verbs = {name for name in cli.app if not name.startswith("-")}
    assert {words.split()[0] for words in USAGE} == verbs - ELSEWHERE
