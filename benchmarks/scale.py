"""How reben behaves on many patches: seconds, memory, and whether both grow in proportion.

    python benchmarks/scale.py [--pairs 2000] [--folder DIR] [--keep]

makes a tree of patch pairs with reference maps, and takes it through encode, inspect, an epoch of
both loaders, an epoch of training a tiny network, and evaluate with predictions and intervals; all
of that twice, with a quarter of the patches and with all of them. Prints a Markdown table with
estimates for the whole of BigEarthNet v2.0 and for 5 million pairs: straight lines through the two
measurements, labelled as estimates, and only from 10,000 pairs on.

The patches are 240 synthetic ones under as many names as asked for: the files of a copy are hard
links to those of the first, in folders of their own with another time of acquisition in their
names. So encode opens, decodes and writes each of them, but the disk holds their TIFFs once and
reads them from the page cache; figures that depend on the content, such as average precision, mean
nothing. A pair takes 0.34 MB: 0.27 in the store, and its folders.

Memory is the largest sum over all processes of a step of what each has for itself plus its share of
what they have together (PSS), without pages of files: those of the mapped store and of libraries
lie in the page cache, and the system takes them back when it needs them. Linux only.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NUM_BASE = 240
BYTES_OF_PAIR = 340_000
RESERVE = 2 << 30
FEWEST_FOR_ESTIMATES = 10_000
"""With fewer pairs, starting and filling buffers outweighs what grows with them."""
TARGETS = (549_488, 5_000_000)
REBEN = [sys.executable, "-m", "reben"]
LOAD = """
import sys, torch
from reben.data.loader import Loader, RawLoader, open_dataset
from reben.data.preprocess import Preprocess
from reben.spec.statistics import published_statistics
torch.set_num_threads(1)
data = open_dataset(sys.argv[2], "all", snow=None, cloud=None)
how = {"shuffle": True, "flips": True, "num_workers": 2}
if sys.argv[1] == "raw":
    loader = RawLoader(data, 64, **how)
else:
    loader = Loader(data, Preprocess(data.bands, published_statistics()), 64, **how)
assert sum(len(batch.names) for batch in loader) == len(data)
"""


def main() -> None:
    """Measure, print, delete."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=2000, help="patch pairs, 960 or more")
    parser.add_argument("--folder", type=Path, default=Path("scale-benchmark"))
    parser.add_argument("--keep", action="store_true", help="leave trees, stores and runs there")
    arguments = parser.parse_args()
    if arguments.pairs < 4 * NUM_BASE:
        sys.exit(f"--pairs {arguments.pairs} is too few: a quarter of them must be {NUM_BASE}.")
    folder = arguments.folder.absolute()
    if folder.exists() and any(folder.iterdir()):
        sys.exit(f"{folder} is not empty. Name another one with --folder.")
    folder.mkdir(parents=True, exist_ok=True)
    kept = 1.25 if arguments.keep else 1
    needed = int(arguments.pairs * BYTES_OF_PAIR * kept) + RESERVE
    free = shutil.disk_usage(folder).free
    if free < needed:
        fit = int((free - RESERVE) / BYTES_OF_PAIR / kept)
        sys.exit(
            f"{arguments.pairs} pairs need {needed / 1e9:.0f} GB, and {folder} has "
            f"{free / 1e9:.0f} GB free. Choose another --folder, or --pairs {max(fit, 0)}."
        )
    sizes = (arguments.pairs // 4, arguments.pairs)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # which deletes, too
    try:
        base = folder / "base"
        call(*REBEN, "synthesize", base, "--patches", NUM_BASE)
        found = {size: measure(base, folder / f"pairs-{size}", size) for size in sizes}
        print_table(found, *sizes)
    finally:
        if not arguments.keep:
            shutil.rmtree(folder)


def measure(base: Path, folder: Path, num_pairs: int) -> dict[str, tuple[float, float]]:
    """Return seconds and megabytes of each step."""
    tree, store, run = folder / "tree", folder / "store", folder / "run"
    make_tree(base, tree, num_pairs)
    options = ["--backbone", "test_resnet", "--bands", "all", "--epochs", 1, "--batch-size", 64]
    load = [sys.executable, "-c", LOAD]
    steps: dict[str, list[object]] = {
        "encode": [*REBEN, "encode", tree, "--out", store],
        "inspect": [*REBEN, "inspect", store],
        "epoch, raw": [*load, "raw", store],
        "epoch, float32": [*load, "images", store],
        "train, 1 epoch": [*REBEN, "train", "--data", store, "--out", run, *options],
        "evaluate": [*REBEN, "evaluate", run, "--out", folder / "report"],
    }
    found = {}
    for name, command in steps.items():
        print(f"{num_pairs} pairs: {name}", file=sys.stderr)
        found[name] = call(*command)
        if name == "encode":
            shutil.rmtree(tree)
    if not (folder / "report" / "predictions.parquet").is_file():
        sys.exit("evaluate wrote no predictions")
    shutil.rmtree(store)
    return found


def make_tree(base: Path, tree: Path, num_pairs: int) -> None:
    """Make a tree in the layout of the data set: the base patches under so many names."""
    rows = pq.read_table(base / "metadata.parquet").to_pylist()
    schema = pq.read_schema(base / "metadata.parquet")
    links = [links_of(base, row) for row in rows]
    copies = []
    for number in range(num_pairs):
        copy, at = divmod(number, len(rows))
        clock = f"T{copy // 3600:02d}{copy // 60 % 60:02d}{copy % 60:02d}"
        new = {key: with_clock(rows[at][key], clock) for key in ("patch_id", "s1_name")}
        copies.append(rows[at] | new)
        for source, key, room, old in links[at]:
            inside = tree / room / new[key].rsplit("_", 2 if key == "patch_id" else 3)[0] / new[key]
            inside.mkdir(parents=True, exist_ok=True)
            os.link(source, inside / source.name.replace(old, new[key]))
    pq.write_table(pa.Table.from_pylist(copies, schema), tree / "metadata.parquet")


def links_of(base: Path, row: dict) -> list[tuple[Path, str, str, str]]:
    """Return the files of a pair: path, column of its name, part of the data set, name."""
    parts = {
        "BigEarthNet-S2": "patch_id",
        "Reference_Maps": "patch_id",
        "BigEarthNet-S1": "s1_name",
    }
    return [
        (file, key, part, row[key])
        for part, key in parts.items()
        for file in sorted((base / part).glob(f"*/{row[key]}/*.tif"))
    ]


def with_clock(name: str, clock: str) -> str:
    """Return the name of a patch with another time of day."""
    words = name.split("_")
    at = 2 if words[1] == "MSIL2A" else 4
    words[at] = words[at][:8] + clock
    return "_".join(words)


def call(*command: object) -> tuple[float, float]:
    """Run a command to its end, and return its seconds and the most megabytes of its processes."""
    started, peak = time.perf_counter(), 0.0
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(process.stderr or ()))
        reader.start()
        try:
            while process.poll() is None:
                peak = max(peak, megabytes_of(process.pid))
                time.sleep(0.1)
        finally:
            if process.returncode is None:
                process.terminate()
            reader.join()
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{''.join(said[-20:])}")
    return time.perf_counter() - started, peak


def megabytes_of(pid: int) -> float:
    """Return the sum of PSS of a process and all that it started; 0 where Linux does not say."""
    try:
        threads = Path(f"/proc/{pid}/task").iterdir()
        children = [int(c) for t in threads for c in (t / "children").read_text().split()]
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (OSError, ProcessLookupError):
        return 0.0
    own = [line for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:"))]
    return sum(int(line.split()[1]) for line in own) / 1024 + sum(map(megabytes_of, children))


def print_table(found: dict[int, dict[str, tuple[float, float]]], few: int, many: int) -> None:
    """Print a Markdown table with estimates: lines through both measurements."""
    used = ", ".join(f"{name} {version(name)}" for name in ("reben", "torch", "numpy", "lmdb"))
    print(f"{platform.platform()}, {os.cpu_count()} cores, {used}\n")
    wide = [f"{size:,} pairs, {what}" for size in (few, many) for what in ("s", "MB")]
    wide += ["s per pair, of a quarter"]
    wide += [f"*{size:,}, estimate*, {what}" for size in TARGETS for what in ("s", "GB")]
    print(f"| step | {' | '.join(wide)} |", f"|---|{'---:|' * len(wide)}", sep="\n")
    for name in found[many]:
        one, other = np.array(found[few][name]), np.array(found[many][name])
        slope = (other - one) / (many - few)
        cells = [f"{one[0]:.1f}", f"{one[1]:.0f}", f"{other[0]:.1f}", f"{other[1]:.0f}"]
        cells.append(f"{other[0] / many / (one[0] / few):.2f} x")
        for size in TARGETS:
            seconds, megabytes = other + np.maximum(slope, 0) * (size - many)
            is_enough = many >= FEWEST_FOR_ESTIMATES
            cells += [f"*{seconds:,.0f}*", f"*{megabytes / 1000:.1f}*"] if is_enough else ["", ""]
        print(f"| {name} | {' | '.join(cells)} |")
    print("\nAs JSON:", json.dumps(found))


if __name__ == "__main__":
    main()
