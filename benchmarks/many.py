"""Many scenes: one process on one core, two processes, and a Dask cluster of two workers, by turns.

    python benchmarks/many.py [--scenes 8] [--side 2400] [--backbone resnet18] [--rounds 1]

The scenes are made up once, as web catalogues have them: ten bands and a scene classification as
tiled, deflated GeoTIFFs, a fifth under clouds. Each way works in a process of its own, and its
clock runs from the call to the last file; starting a cluster does not count, importing torch in
its workers does. Efficiency is the rate of a core against that of the one process, pinned to one
core. Wanted: at least 85 %.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import psutil

WAYS = {"one process": 1, "two processes": 2, "Dask, two workers": 2}
WANTED = 0.85


def work(way: str, folder: Path) -> None:
    """Predict all scenes in one way; print seconds and the memory of all processes as JSON."""
    if WAYS[way] == 1:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from reben.predict.many import predict_scenes
    from reben.predict.scene_settings import SceneOptions

    scenes = sorted((folder / "scenes").iterdir())
    with tempfile.TemporaryDirectory(dir=folder) as out, cluster(way, out) as address:
        peak = Peak()
        started = time.perf_counter()
        outcomes = predict_scenes(
            folder / "model",
            scenes,
            Path(out) / "maps",
            options=SceneOptions(boa_offset=0, device="cpu"),
            num_workers=2 if way == "two processes" else 1,
            dask=address,
        )
        seconds = time.perf_counter() - started
        gigabytes = peak.stop()
    assert all(outcome.status == "done" for outcome in outcomes), outcomes
    print(json.dumps({"seconds": seconds, "gigabytes": gigabytes}))


@contextmanager
def cluster(way: str, folder: str) -> Iterator[str | None]:
    """Yield the address of a cluster if the way needs one."""
    if "Dask" not in way:
        with nullcontext():
            yield None
        return
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=folder
    ) as found:
        yield found.scheduler_address


class Peak:
    """The most memory that this process and those below it held at one time, looked at often."""

    def __init__(self) -> None:
        self._most = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """Return the peak in GB; pages that processes share count once for each."""
        self._ended.set()
        self._thread.join()
        return self._most / 1e9

    def _look(self) -> None:
        own = psutil.Process()
        while not self._ended.wait(0.5):
            held = 0
            for process in (own, *own.children(recursive=True)):
                try:
                    held += process.memory_info().rss
                except psutil.Error:  # it ended meanwhile
                    continue
            self._most = max(self._most, held)


def make(folder: Path, num_scenes: int, side: int, backbone: str) -> int:
    """Write scenes and a model; return how many windows the scenes have."""
    import map as one_map

    from reben.model.classifier import Classifier

    (folder / "scenes").mkdir()
    for day in range(1, num_scenes + 1):
        one_map.write_product(folder / "scenes", side, day)
    Classifier(backbone, "s2").save_pretrained(folder / "model")
    return num_scenes * (side // 120) ** 2


def main() -> None:
    """Make scenes, measure all ways by turns, and print a table of the best of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--side", type=int, default=2400, help="pixels along a scene")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--work", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.work:
        work(words.work[0], Path(words.work[1]))
        return
    best: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as text:
        windows = make(Path(text), words.scenes, words.side, words.backbone)
        for _ in range(words.rounds):
            for way in WAYS:
                told = subprocess.run(
                    [sys.executable, __file__, "--work", way, text],
                    check=True,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                found = json.loads(told.stdout.splitlines()[-1])
                print(f"{way}: {found['seconds']:.1f} s", file=sys.stderr)
                if way not in best or found["seconds"] < best[way]["seconds"]:
                    best[way] = found
    cores = len(os.sched_getaffinity(0))
    print(f"{words.scenes} scenes of {words.side} px, {windows} windows, {words.backbone}, "
          f"{cores} cores")  # fmt: skip
    alone = best["one process"]["seconds"]
    for way, found in best.items():
        share = alone / (found["seconds"] * WAYS[way])
        print(
            f"  {way:18} {found['seconds']:6.1f} s {windows / found['seconds']:7.1f} windows/s  "
            f"{share:5.0%} of a core's rate  {found['gigabytes']:.2f} GB"
        )
    print(f"  wanted: at least {WANTED:.0%}")


if __name__ == "__main__":
    main()
