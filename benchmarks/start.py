"""How soon the command line answers, compared with importing torch and timm alone.

    python benchmarks/start.py [--rounds 5] [--backbone resnet50]

makes a model and a store of random patches in a temporary folder, runs each command by turns, each
in a process of its own, and prints wall and CPU seconds. Modules are compiled before, as they are
after an installation. Peer: ``python -c "import torch, timm"``.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from load import make_store

from reben import Classifier

PEER = "import torch, timm"
REBEN = (sys.executable, "-m", "reben")


def jobs(folder: Path, backbone: str) -> dict[str, list[str]]:
    """Return what is run, by what the table calls it."""
    model, store = str(folder / backbone), str(make_store(folder / "store", 24))
    Classifier(backbone, "s2").save_pretrained(model)
    patch = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_00_05"
    words = {
        "predict --patch": ["predict", model, store, "--patch", patch],
        "predict --out": ["predict", model, store, "--out", "OUT", "--no-geometry"],
        "inspect": ["inspect", store],
        "--help": ["--help"],
        "mistake: two stores": ["predict", model, store, store],
        "mistake: unknown patch": ["predict", model, store, "--patch", "x"],
        "mistake: device": ["evaluate", model, "--data", store, "--device", "gpu"],
    }
    peer = {PEER: [sys.executable, "-c", PEER]}
    return peer | {name: [*REBEN, *given] for name, given in words.items()}


def run(command: list[str], out: Path) -> tuple[float, float]:
    """Return wall and CPU seconds of a process."""
    out.unlink(missing_ok=True)
    # As a user has it: with compiled modules.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    process = subprocess.Popen(
        [word if word != "OUT" else str(out) for word in command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    _, _, used = os.wait4(process.pid, 0)
    return time.perf_counter() - started, used.ru_utime + used.ru_stime


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbone", default="resnet50")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        commands = jobs(folder, arguments.backbone)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for turn in range(arguments.rounds + 1):
            for name, command in commands.items():
                measured = run(command, folder / "out.csv")
                if turn:  # the first one compiles modules and reads them from the disk
                    times[name].append(measured)
    versions = ", ".join(f"{name} {version(name)}" for name in ("reben", "torch", "timm"))
    print(f"{arguments.backbone}; Python {platform.python_version()}, {versions}")
    print(f"{platform.platform()}, {os.cpu_count()} cores; {arguments.rounds} rounds by turns\n")
    print("| | wall s, fastest | median | ratio | CPU s, fastest | median | ratio |")
    print("|---|---|---|---|---|---|---|")
    peer = [min(each) for each in zip(*times[PEER], strict=True)]
    for name, measured in times.items():
        cells = []
        for seconds, base in zip(zip(*measured, strict=True), peer, strict=True):
            best = min(seconds)
            cells += [f"{best:.2f}", f"{statistics.median(seconds):.2f}", f"{best / base:.2f} x"]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
