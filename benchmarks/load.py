"""How fast batches are loaded, compared with ConfigILM's data set in the same run.

    python benchmarks/load.py [--pairs 5000] [--sample STORE]

makes a store of random pairs in the real layout and an environment with ConfigILM, both once, in
a cache folder; times all jobs in turn, several rounds, each in a process of its own; prints a
table; keeps everything as JSON. The fastest pass of each job counts: what disturbs a pass only
makes it slower. Jobs on one core are pinned to one, where the system can (Linux).
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from reference_venv import NoReferenceError, reference_python

from reben.data.metadata import METADATA_FILE
from reben.data.store import StoreWriter
from reben.spec.bands import S1, S2_FULL, native_size
from reben.spec.labels import LABELS

HERE = Path(__file__).parent
CACHE = Path.home() / ".cache" / "reben" / "benchmarks"


@dataclass(frozen=True)
class Job:
    """Something to time, and what it has to reach."""

    name: str
    title: str
    arguments: tuple[str, ...]
    cores: int = 1
    against: str = "reference"
    least: float | None = None
    aim: float | None = None


JOBS = (
    Job("images", "12 bands, float32, normalised, flips", ("images",), 1, "reference", 8, 10),
    Job("raw", "12 bands, raw for the device", ("raw",), 1, "reference", 15, 18),
    Job("bfloat16", "12 bands, bfloat16, normalised, flips", ("bfloat16",)),
    Job("one", "float32, one worker", ("images", "--workers", "1"), 2),
    Job("two", "float32, two workers", ("images", "--workers", "2"), 2, "one", 1.7, 1.9),
    Job("torch", "float32, torch DataLoader, two processes", ("torch", "--workers", "2"), 2, "one"),
)


def make_store(folder: Path, num_pairs: int) -> Path:
    """Return a store of random pairs in the real layout, made unless it is there."""
    if (folder / METADATA_FILE).is_file():
        return folder
    draw = np.random.default_rng(0)
    rows = []
    with StoreWriter(folder) as writer:
        for number in range(num_pairs):
            place = f"{number // 100:02d}_{number % 100:02d}"
            patch_id = f"S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_{place}"
            s1_name = f"S1B_IW_GRDH_1SDV_20170612T165809_33UUP_{place}"
            writer.put(patch_id, {
                name: draw.integers(0, 5000, (native_size(name),) * 2, np.uint16)
                for name in S2_FULL
            })  # fmt: skip
            writer.put(s1_name, {
                name: draw.random((120, 120), np.float32) * 20 - 25 for name in S1
            })  # fmt: skip
            rows.append({
                "patch_id": patch_id,
                "labels": [LABELS[number % 19], LABELS[(number + 5) % 19]],
                "split": "train",
                "country": "Austria",
                "s1_name": s1_name,
                "s2v1_name": patch_id,
                "contains_seasonal_snow": False,
                "contains_cloud_or_shadow": False,
            })  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), folder / METADATA_FILE)
    return folder


def run(command: list[str], cores: int) -> dict[str, object]:
    """Return what a process of its own measured, on so many cores."""
    pinned = getattr(os, "sched_setaffinity", None)
    chosen = sorted(os.sched_getaffinity(0))[-cores:] if pinned else []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        done = subprocess.run(
            [word.replace("OUT", str(out)) for word in command],
            env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            preexec_fn=(lambda: os.sched_setaffinity(0, chosen)) if pinned else None,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
        return dict(json.loads(out.read_text()))


def measure(store: Path, reference: Path | None, rounds: int, patches: int) -> dict[str, dict]:
    """Return the best rate and the memory of each job, jobs taking turns."""
    ours = [sys.executable, str(HERE / "load_jobs.py")]
    found: dict[str, list[dict]] = {}
    for number in range(rounds):
        if reference:
            theirs = [str(reference), str(HERE / "reference_load.py"), "time", str(store), "OUT"]
            theirs += ["--patches", "1500"]
            found.setdefault("reference", []).append(run(theirs, 1))
        for job in JOBS:
            if os.cpu_count() == 1 and job.cores > 1:
                continue
            command = [*ours, job.arguments[0], str(store), "OUT", *job.arguments[1:]]
            found.setdefault(job.name, []).append(
                run([*command, "--patches", str(patches)], job.cores)
            )
        print(f"round {number + 1} of {rounds} done", file=sys.stderr)
    return {name: summarise(results) for name, results in found.items()}


def summarise(results: list[dict]) -> dict[str, object]:
    """Return the best rate of several processes, all rates, and the most memory."""
    rates = [one["num_patches"] / seconds for one in results for seconds in one["seconds"]]
    memory = {
        key: max(one[key] for one in results) for key in results[0] if key.startswith("megabytes")
    }
    return {
        "patches_per_second": max(rates),
        "all_rates": [round(rate) for rate in rates],
        **memory,
    }


def table(found: dict[str, dict]) -> list[str]:
    """Return the lines of a table, ratios included."""
    lines = [f"{'job':<44}{'patches/s':>10}{'ratio':>8}{'least':>7}{'aim':>6}"]
    if "reference" in found:
        rate = found["reference"]["patches_per_second"]
        lines.append(f"{'ConfigILM 0.7.1 BENv2DataSet, one core':<44}{rate:>10.0f}{1:>8.1f}")
    for job in JOBS:
        if job.name not in found:
            continue
        rate = found[job.name]["patches_per_second"]
        ratio = rate / found[job.against]["patches_per_second"] if job.against in found else None
        found[job.name] |= {"against": job.against, "ratio": ratio}
        lines.append(
            f"{job.title:<44}{rate:>10.0f}"
            f"{'' if ratio is None else format(ratio, '.2f'):>8}"
            f"{job.least or '':>7}{job.aim or '':>6}"
        )
    memory = found.get("two", found["images"])
    lines.append(
        f"memory with two workers, batches of 64: {memory['megabytes_own']} MB of its own at most, "
        f"of which {memory['megabytes_imports']} MB are there once torch and the rest are imported"
    )
    return lines


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5000, help="patch pairs in the made-up store")
    parser.add_argument("--sample", type=Path, help="a store of real patches to time as well")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--json", type=Path, default=HERE / "results" / "load.json")
    parser.add_argument("--reference-python", default=sys.executable)
    parser.add_argument("--no-reference", action="store_true", help="time reben alone")
    arguments = parser.parse_args()
    reference = None
    if not arguments.no_reference:
        try:
            place = arguments.cache / "configilm-0.7.1"
            reference = reference_python(place, arguments.reference_python)
        except NoReferenceError as error:
            sys.exit(f"{error} Or leave the comparison out: --no-reference.")
    stores = {"made-up": make_store(arguments.cache / f"pairs-{arguments.pairs}", arguments.pairs)}
    if arguments.sample:
        stores["real sample"] = arguments.sample
    results: dict[str, object] = {"machine": platform.platform(), "cores": os.cpu_count()}
    for title, store in stores.items():
        found = measure(store, reference, arguments.rounds, 1 if title == "made-up" else 3000)
        print(f"\n{title} store", *table(found), sep="\n")
        results[title] = found
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(f"\nkept in {arguments.json}")


if __name__ == "__main__":
    main()
