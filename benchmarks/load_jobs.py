"""reben's loaders, timed in a process of their own; `load.py` starts it.

python benchmarks/load_jobs.py images STORE OUT.json --workers 0 --passes 6
"""

import argparse
import json
import threading
import time
from pathlib import Path

import torch

from reben.data.loader import Loader, RawLoader, open_dataset
from reben.data.preprocess import Preprocess
from reben.data.torch_dataset import TorchDataset
from reben.spec.statistics import published_statistics

BATCH_SIZE = 64


class MemoryWatch:
    """The most memory of its own (not the mapped store) that this process has at any moment."""

    def __init__(self) -> None:
        self.peak = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(0.05):
            self.peak = max(self.peak, own_megabytes())


def own_megabytes(field: str = "RssAnon") -> int:
    """Return what Linux says of this process's memory, in MB; 0 on other systems."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith(field)), 0)


def make_loader(job: str, store: Path, bands: str, workers: int):  # noqa: ANN201 - of three kinds
    """Return what yields batches."""
    dataset = open_dataset(store, bands, snow=None, cloud=None)
    settings = {"shuffle": True, "flips": True, "num_workers": workers}
    if job == "raw":
        return dataset, RawLoader(dataset, BATCH_SIZE, **settings)
    preprocess = Preprocess(dataset.bands, published_statistics())
    if job == "torch":
        patches = TorchDataset(dataset, preprocess)
        return dataset, torch.utils.data.DataLoader(
            patches, BATCH_SIZE, shuffle=True, num_workers=workers, persistent_workers=workers > 0
        )
    dtype = {"images": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[job]
    return dataset, Loader(dataset, preprocess, BATCH_SIZE, dtype=dtype, **settings)


def time_passes(arguments: argparse.Namespace) -> dict[str, object]:
    """Return the seconds that each pass over the store takes, and the memory it takes."""
    before = own_megabytes()
    with MemoryWatch() as memory:
        dataset, loader = make_loader(
            arguments.job, arguments.store, arguments.bands, arguments.workers
        )
        # A small store is passed over several times, so that starting does not count.
        rounds = max(1, arguments.patches // len(dataset))
        seconds = []
        for _ in range(arguments.passes + 1):
            started = time.perf_counter()
            for _ in range(rounds):
                for _ in loader:
                    pass
            seconds.append(time.perf_counter() - started)
    return {
        "num_patches": rounds * len(dataset),
        "seconds": seconds[1:],
        "megabytes_imports": before,
        "megabytes_own": memory.peak,
        "megabytes_with_mapped_store": own_megabytes("VmHWM"),
    }


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", choices=("images", "raw", "bfloat16", "float16", "torch"))
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--bands", default="all")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--patches", type=int, default=1)
    parser.add_argument("--passes", type=int, default=6)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.write_text(json.dumps(time_passes(arguments)), encoding="utf-8")


if __name__ == "__main__":
    main()
