"""How fast a data set is encoded, compared with one rasterio call for each file.

    python benchmarks/encode.py [--pairs 5000] [--rounds 3] [--folder CACHE]

makes a tree of made-up pairs and its .tar.zst archives once, in a cache folder; lets the reference
and the encoder take turns, several rounds, each in a process of its own, with the page cache warm
and nothing left to write; prints a table; keeps everything as JSON. The fastest round of each job
counts: what disturbs a round only makes it slower. The time is that of the whole call of
`reben.encode`, from starting its workers until everything is on the disk; the last column leaves
out the waiting for the disk at the end, as the page cache would. Memory is that of all processes,
shared pages counted once.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path

import zstandard

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
GOALS = {"folder": (15, 20), ".tar.zst": (8, 12)}
TITLES = {
    "reference": "reference: a rasterio call for each file, process pool",
    "folder": "reben encode, folders",
    ".tar.zst": "reben encode, .tar.zst",
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


def run(command: list[str]) -> tuple[str, float]:
    """Return what a command writes to stdout, and the memory that it took in MB."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        watch = MemoryWatch(process.pid)
        out, errors = process.communicate()
        peak = watch.stop()
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{errors}")
    return out, peak


def measure(job: str, inputs: Path, store: Path, pairs: int, workers: int) -> dict[str, float]:
    """Return pairs a second and memory of one round of a job."""
    flush_seconds = 0.0
    if job == "reference":
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out.json"
            command = [sys.executable, str(HERE / "reference_encode.py")]
            _, peak = run([*command, str(inputs), str(store), str(pairs), str(workers), str(out)])
            seconds = json.loads(out.read_text())["seconds"]
    else:
        ending = "" if job == "folder" else job
        flags = [
            word for flag, name in INPUTS.items() for word in (flag, str(inputs / (name + ending)))
        ]
        command = [sys.executable, "-m", "reben", "encode", "--out", str(store), "--json"]
        out, peak = run([*command, *flags, "--processes", str(workers)])
        report = json.loads(out)
        seconds, pairs = report["seconds"], report["new"]["Sentinel-2"]
        flush_seconds = report["flush_seconds"]
    return {
        "pairs_a_second": pairs / seconds,
        "written_a_second": pairs / (seconds - flush_seconds),
        "peak_mb": peak,
    }


def take_turns(
    inputs: Path, options: argparse.Namespace
) -> tuple[dict[str, dict[str, float]], list[dict[str, object]]]:
    """Return the fastest round of each job, and all rounds."""
    rounds: list[dict[str, object]] = []
    best: dict[str, dict[str, float]] = {}
    for number in range(options.rounds):
        for job in TITLES:
            with tempfile.TemporaryDirectory(dir=options.out or options.folder) as place:
                warm(inputs, Path(place), options.pairs * _PAIR_BYTES)
                store = Path(place) / "store"
                store.mkdir()
                pairs = min(options.pairs, options.reference_pairs)
                found = measure(job, inputs, store, pairs, options.workers)
                shutil.rmtree(store)
            rounds.append({"round": number, "job": job, **found})
            if job not in best or best[job]["pairs_a_second"] < found["pairs_a_second"]:
                best[job] = found | {
                    "peak_mb": max(found["peak_mb"], best.get(job, {}).get("peak_mb", 0))
                }
            print(f"{job}: {found['pairs_a_second']:.0f} pairs/s", file=sys.stderr)
    return best, rounds


def print_table(best: dict[str, dict[str, float]]) -> None:
    """Print the figures with their goals."""
    reference = best["reference"]["pairs_a_second"]
    print(
        f"{'job':58} {'pairs/s':>8} {'ratio':>6} {'least':>6} {'aim':>4} {'peak MB':>8} "
        f"{'before the last flush':>22}"
    )
    for job, found in best.items():
        rate = found["pairs_a_second"]
        least, aim = GOALS.get(job, ("", ""))
        print(
            f"{TITLES[job]:58} {rate:8.0f} {rate / reference:6.1f} {least:>6} {aim:>4} "
            f"{found['peak_mb']:8.0f} {found['written_a_second']:22.0f}"
        )


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5000)
    parser.add_argument(
        "--reference-pairs", type=int, default=600, help="of them, for the reference"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=CACHE, help="where inputs and results lie")
    parser.add_argument("--out", type=Path, help="where to write stores; the same place by default")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    inputs = make_inputs(options.folder, options.pairs)
    best, rounds = take_turns(inputs, options)
    print_table(best)
    result = options.folder / "encode.json"
    machine = {"cpus": os.cpu_count(), "machine": platform.platform(), "python": sys.version}
    asked = {name: str(value) for name, value in vars(options).items() if name != "folder"}
    result.write_text(
        json.dumps(
            {
                "time": time.strftime("%Y-%m-%d %H:%M"),
                **machine,
                **asked,
                "best": best,
                "all": rounds,
            },
            indent=2,
        )
    )
    print(f"Kept in {result}.", file=sys.stderr)


if __name__ == "__main__":
    main()
