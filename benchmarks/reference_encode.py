"""The reference of `encode.py`: one rasterio call for each file, in a pool of processes.

    python benchmarks/reference_encode.py TREE STORE PAIRS WORKERS

It prints the seconds that it takes, without the start of the processes.
"""

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import lmdb
import rasterio
from safetensors.numpy import save

FOLDERS = ("BigEarthNet-S2", "BigEarthNet-S1", "Reference_Maps")


def encode_patch(folder: Path) -> tuple[str, bytes]:
    """Return name and value of one patch."""
    tensors = {}
    for file in sorted(folder.iterdir()):
        with rasterio.open(file) as image:
            pixels = image.read(1)
        ending = file.stem.removeprefix(f"{folder.name}_")
        tensors["Data" if ending == "reference_map" else ending] = pixels
    suffix = "_reference_map" if "Data" in tensors else ""
    return folder.name + suffix, save(tensors)


def main() -> None:
    """Encode part of a tree and print how long it took."""
    tree, store, num_pairs, num_workers = sys.argv[1:]
    folders = [
        folder
        for name in FOLDERS
        for folder in islice(sorted(Path(tree, name).glob("*/*")), int(num_pairs))
    ]
    with ProcessPoolExecutor(int(num_workers), get_context("spawn")) as pool:
        list(pool.map(encode_patch, folders[: 2 * int(num_workers)]))
        started = time.perf_counter()
        with lmdb.open(store, map_size=1 << 40) as environment:
            values = pool.map(encode_patch, folders, chunksize=16)
            while some := list(islice(values, 500)):
                with environment.begin(write=True) as transaction:
                    for name, value in some:
                        transaction.put(name.encode(), value)
        print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
