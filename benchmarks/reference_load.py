"""ConfigILM's own data set, timed or written down; runs in the environment of `reference_venv.py`.

    PYTHON benchmarks/reference_load.py time STORE OUT.json --channels 12 --patches 2000 --passes 3
    PYTHON benchmarks/reference_load.py tensors STORE OUT.npz --channels 14

``time`` gives the seconds of each pass: images of the patches in shuffled order, with the
transforms that ConfigILM trains with (flips at random, normalisation). Nothing is made of the
images; collating them into batches would come on top. ``tensors`` writes images and labels.
"""

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
from configilm.extra._defaults import default_train_transform
from configilm.extra.BENv2_utils import STANDARD_BANDS, means, stds
from configilm.extra.DataSets.BENv2_DataSet import BENv2DataSet

CHANNELS = {2: "S1", 10: "10m_20m", 12: "S1_10m_20m", 14: "ALL"}


def open_dataset(store: Path, channels: int, transform: object = None) -> BENv2DataSet:
    """Return ConfigILM's data set of a store."""
    snow = store / "metadata_for_patches_with_snow_cloud_or_shadow.parquet"
    return BENv2DataSet(
        {
            "images_lmdb": store,
            "metadata_parquet": store / "metadata.parquet",
            "metadata_snow_cloud_parquet": snow if snow.exists() else None,
        },
        img_size=(channels, 120, 120),
        transform=transform,
        return_extras=True,
    )


def time_passes(store: Path, channels: int, num_patches: int, passes: int) -> dict[str, object]:
    """Return the seconds that each pass over so many patches takes."""
    bands = STANDARD_BANDS[CHANNELS[channels]]
    figures = [[table["120_nearest"][band] for band in bands] for table in (means, stds)]
    dataset = open_dataset(store, channels, default_train_transform((120, 120), *figures))
    draw = random.Random(0)
    positions = [draw.randrange(len(dataset)) for _ in range(num_patches)]
    for position in positions[:50]:
        dataset[position]
    seconds = []
    for _ in range(passes):
        started = time.perf_counter()
        for position in positions:
            dataset[position]
        seconds.append(time.perf_counter() - started)
    return {"num_patches": num_patches, "seconds": seconds}


def write_tensors(store: Path, channels: int, out: Path) -> None:
    """Write the images, labels and names that ConfigILM reads, without normalisation."""
    dataset = open_dataset(store, channels)
    items = [dataset[position] for position in range(len(dataset))]
    np.savez(
        out,
        images=torch.stack([image for image, _, _ in items]).numpy(),
        multi_hot=torch.stack([labels for _, labels, _ in items]).numpy(),
        names=np.array([name for _, _, name in items]),
        bands=np.array(STANDARD_BANDS[CHANNELS[channels]]),
    )


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", choices=("time", "tensors"))
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--channels", type=int, default=12, choices=CHANNELS)
    parser.add_argument("--patches", type=int, default=2000)
    parser.add_argument("--passes", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.job == "tensors":
        write_tensors(arguments.store, arguments.channels, arguments.out)
    else:
        figures = time_passes(
            arguments.store, arguments.channels, arguments.patches, arguments.passes
        )
        arguments.out.write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
