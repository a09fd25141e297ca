"""How fast a data set is encoded, compared with rico-hdl and with a rasterio call for each file.

    python benchmarks/encode.py [--rico CLONE] [--pairs 6000 1500] [--rounds 3] [--folder CACHE]

CLONE is a clone of github.com/rsim-tu-berlin/rico-hdl, which runs in an environment of its own,
made at need. This makes trees of made-up pairs and their .tar.zst archives once, in a cache folder;
lets the encoders take turns, several rounds, with the page cache warm and nothing left to write;
compares the values that they wrote; prints tables, ratios first; keeps everything as JSON. The
fastest round of each job counts: what disturbs a round only makes it slower. Times are those of
whole processes, from their start until everything is on the disk. Memory is that of all processes,
shared pages counted once.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import lmdb
import zstandard
from reference_venv import NoReferenceError, rico_python
from safetensors.numpy import load

from reben.data.synthesize import synthesize

HERE = Path(__file__).parent
CACHE = Path.home() / ".cache" / "reben" / "benchmarks"
INPUTS = {
    "--s2": "BigEarthNet-S2",
    "--s1": "BigEarthNet-S1",
    "--reference-maps": "Reference_Maps",
}
_PAIR_BYTES = 320_000
"""About what a pair and its map take in a store."""
GOALS = {("folder", 6000): 20, ("folder", 1500): 10}
TITLES = {
    "folder": "reben encode, folders",
    ".tar.zst": "reben encode, .tar.zst",
    "rico": "rico-hdl, folders",
    "reference": "a rasterio call for each file, start of the processes not counted",
}


def make_inputs(cache: Path, num_pairs: int) -> Path:
    """Return a folder with tree and archives, made unless it is there."""
    folder = cache / f"encode-{num_pairs}"
    if not folder.is_dir():
        print(f"Making {num_pairs} pairs in {folder}, once.", file=sys.stderr)
        synthesize(folder, num_patches=num_pairs, seed=1)
    for name in INPUTS.values():
        archive = folder / f"{name}.tar.zst"
        if not archive.is_file():
            temporary = archive.with_suffix(".part")
            with (
                temporary.open("wb") as file,
                zstandard.ZstdCompressor(3).stream_writer(file) as compressed,
                tarfile.open(fileobj=compressed, mode="w|", format=tarfile.GNU_FORMAT) as tar,
            ):
                tar.add(folder / name, arcname=name)
            temporary.rename(archive)
    return folder


def warm(folder: Path, place: Path, num_bytes: int) -> None:
    """Read every file once, and get everything that waits to be written out of the way.

    A file of the size of a store is written and removed again: a virtual machine gives memory that
    it has not used for a while back to its host, and getting it again would be measured instead.
    """
    for file in folder.rglob("*"):
        if file.is_file():
            file.read_bytes()
    with tempfile.TemporaryFile(dir=place) as scratch:
        piece = bytes(1 << 24)
        for _ in range(0, num_bytes, len(piece)):
            scratch.write(piece)
    os.sync()


class MemoryWatch:
    """Samples the memory of a process and all that it started: the sum of their PSS, in MB."""

    def __init__(self, pid: int) -> None:
        self.peak = 0.0
        self._pid = pid
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def stop(self) -> float:
        """Return the largest sum that was seen."""
        self._stopped.set()
        self._thread.join()
        return self.peak

    def _work(self) -> None:
        while not self._stopped.wait(0.05):
            self.peak = max(self.peak, sum(map(self._pss, self._family())))

    def _family(self) -> list[int]:
        found, waiting = [], [self._pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    waiting.extend(map(int, task.read_text().split()))
                except OSError:
                    continue
        return found

    @staticmethod
    def _pss(pid: int) -> float:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            return 0.0
        return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000


class Round(NamedTuple):
    """One run of a job: seconds, seconds of processors, memory in MB, and what it printed."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    out: str


def run(command: list[str], *, watch_memory: bool) -> Round:
    """Run a command to its end, with its modules compiled as those of an installed package are.

    Memory is watched in a round of its own, since that costs time.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before, started = os.times(), time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        watch = MemoryWatch(process.pid) if watch_memory else None
        out, errors = process.communicate()
        seconds, after = time.perf_counter() - started, os.times()
        peak = watch.stop() if watch else 0.0
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{errors}")
    used = sum(after[2:4]) - sum(before[2:4])
    return Round(seconds, used, peak, out)


def command_of(
    job: str, inputs: Path, store: Path, options: argparse.Namespace, pairs: int
) -> list[str]:
    """Return what a job is started with."""
    workers = str(options.workers)
    if job == "rico":
        script = str(HERE / "reference_rico.py")
        return [options.rico_python, script, str(options.rico), str(inputs), str(store), workers]
    if job == "reference":
        script = str(HERE / "reference_encode.py")
        return [sys.executable, script, str(inputs), str(store), str(pairs), workers]
    ending = "" if job == "folder" else job
    flags = [
        word for flag, name in INPUTS.items() for word in (flag, str(inputs / (name + ending)))
    ]
    command = [sys.executable, "-m", "reben", "encode", "--out", str(store), "--json"]
    return [*command, *flags, "--processes", workers]


def take_turns(
    inputs: Path, pairs: int, options: argparse.Namespace
) -> tuple[dict[str, dict[str, float]], list[dict[str, object]]]:
    """Return the fastest round of each job, and all rounds; the first one watches memory."""
    jobs = [job for job in TITLES if job != "rico" or options.rico]
    rounds: list[dict[str, object]] = []
    best: dict[str, dict[str, float]] = {}
    for number in range(options.rounds + 1):
        for job in jobs:
            if number == 0 and job in ("rico", "reference"):
                continue
            with tempfile.TemporaryDirectory(dir=options.out or options.folder) as place:
                warm(inputs, Path(place), pairs * _PAIR_BYTES)
                store = Path(place) / "store"
                store.mkdir()
                some = min(pairs, options.reference_pairs) if job == "reference" else pairs
                command = command_of(job, inputs, store, options, some)
                done = run(command, watch_memory=number == 0)
                if number == 0:
                    best[job] = {"pairs_a_second": 0, "peak_mb": round(done.peak_mb)}
                    _keep_or_compare(job, store, inputs)
                    continue
                if job == "rico" and number == 1:
                    _keep_or_compare(job, store, inputs)
            seconds = float(done.out) if job == "reference" else done.seconds
            found = {
                "pairs_a_second": some / seconds,
                "seconds": seconds,
                "cpu_seconds": done.cpu_seconds,
            }
            rounds.append({"round": number, "job": job, "pairs": some, **found})
            if found["pairs_a_second"] > best.get(job, {}).get("pairs_a_second", 0):
                best[job] = best.get(job, {}) | found
            print(f"{job}: {seconds:.2f} s, {done.cpu_seconds:.2f} CPU-s", file=sys.stderr)
    return best, rounds


def _keep_or_compare(job: str, store: Path, inputs: Path) -> None:
    """Compare the values of a store with those of the first one: the same names and pixels."""
    sums = {}
    with lmdb.open(str(store), readonly=True, lock=False) as opened, opened.begin() as values:
        for name, value in values.cursor():
            tensors = load(value)
            sums[name] = {key: (one.dtype.str, crc32(one)) for key, one in tensors.items()}
    first = _values.setdefault(inputs, sums)
    if first != sums:
        sys.exit(f"{job} does not write the same names and pixels as reben.")


_values: dict[Path, dict[bytes, dict[str, tuple[str, int]]]] = {}


def print_table(pairs: int, best: dict[str, dict[str, float]]) -> None:
    """Print the figures with their goals, ratios first."""
    peer = best.get("rico", best["reference"])["pairs_a_second"]
    print(
        f"\n{pairs} pairs with maps; ratio to {'rico-hdl' if 'rico' in best else 'the reference'}"
    )
    print(
        f"{'ratio':>6} {'goal':>5} {'job':62} {'seconds':>8} {'CPU-s':>6} {'pairs/s':>8} "
        f"{'peak MB':>8}"
    )
    for job in (job for job in TITLES if job in best):
        one = best[job]
        goal = GOALS.get((job, pairs), "") if "rico" in best else ""
        print(
            f"{one['pairs_a_second'] / peer:6.1f} {goal:>5} {TITLES[job]:62} {one['seconds']:8.2f} "
            f"{one['cpu_seconds']:6.2f} {one['pairs_a_second']:8.0f} {one.get('peak_mb', ''):>8}"
        )


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rico", type=Path, help="clone of rico-hdl")
    parser.add_argument("--rico-python", help="has its packages; made at need")
    parser.add_argument("--pairs", type=int, nargs="+", default=[6000, 1500])
    parser.add_argument(
        "--reference-pairs", type=int, default=600, help="of them, for the rasterio calls"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=CACHE, help="where inputs and results lie")
    parser.add_argument("--out", type=Path, help="where to write stores; the same place by default")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.rico and not options.rico_python:
        try:
            options.rico_python = str(rico_python(options.folder / "rico-venv"))
        except NoReferenceError as error:
            sys.exit(str(error))
    results = {}
    for pairs in options.pairs:
        best, rounds = take_turns(make_inputs(options.folder, pairs), pairs, options)
        results[pairs] = {"best": best, "all": rounds}
        print_table(pairs, best)
    result = options.folder / "encode.json"
    machine = {"cpus": os.cpu_count(), "machine": platform.platform(), "python": sys.version}
    print(f"{machine['cpus']} cores, {machine['machine']}, Python {platform.python_version()}")
    asked = {name: str(value) for name, value in vars(options).items() if name != "folder"}
    result.write_text(
        json.dumps(
            {
                "time": time.strftime("%Y-%m-%d %H:%M"),
                **machine,
                **asked,
                "results": results,
            },
            indent=2,
        )
    )
    print(f"Kept in {result}.", file=sys.stderr)


if __name__ == "__main__":
    main()
