"""Train test_resnet for six epochs on the real sample; print what a refactoring must not change.

python scripts/training_checksum.py SAMPLE [--epochs 6]

Prints the SHA-256 of the best epoch's weights and of the losses and figures of every epoch. The
same machine and the same versions give the same two lines; so run it before and after a change
that should leave the numbers as they are.
"""

import argparse
import csv
import hashlib
import tempfile
from pathlib import Path

from safetensors.numpy import load_file

import reben

TIMES = ("seconds", "images_per_second", "time")


def checksum_weights(file: Path) -> str:
    """Return a digest of names and values of all tensors in ``file``."""
    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(file).items()):
        digest.update(name.encode() + tensor.tobytes())
    return digest.hexdigest()


def checksum_metrics(file: Path) -> str:
    """Return a digest of ``metrics.csv`` without the columns that hold times."""
    digest = hashlib.sha256()
    with file.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            kept = {name: value for name, value in row.items() if not name.endswith(TIMES)}
            digest.update(repr(sorted(kept.items())).encode())
    return digest.hexdigest()


def main() -> None:
    """Train into a temporary folder and print both digests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sample", type=Path)
    parser.add_argument("--epochs", type=int, default=6)
    given = parser.parse_args()
    config = reben.TrainConfig(
        backbone="test_resnet", bands="all", epochs=given.epochs, batch_size=4,
        learning_rate=3e-3, warmup_steps=2, accelerator="cpu", turns=True, band_dropout=0.1,
        ema_decay=0.9, gradient_clip=1.0, patience=given.epochs,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        data = reben.open_dataset(given.sample, bands="all")
        run = reben.train(config, data, out=Path(folder) / "run")
        print("weights", checksum_weights(run.best / "model.safetensors"))
        print("metrics", checksum_metrics(run.path / "metrics.csv"))


if __name__ == "__main__":
    main()
