"""Environments of their own for those that are compared with: ConfigILM 0.7.1 and rico-hdl.

    python benchmarks/reference_venv.py FOLDER [--python PYTHON] [--models]

makes that of ConfigILM in FOLDER unless it is there, and prints its interpreter. With --models it
can build networks too, not only read patches. That of rico-hdl is made by `encode.py`.
"""

import argparse
import subprocess
import sys
from pathlib import Path

VERSION = "0.7.1"
# What its data set imports, within the pins of its metadata; later pyarrow and pandas want numpy 2.
NEEDS = (
    "torch", "torchvision", "numpy<2", "lmdb<2", "pyarrow<20", "pandas<3", "safetensors",
    "transformers<5", "appdirs<2",
)  # fmt: skip
MODELS_NEED = ("timm>=1,<2",)  # its own needs are among those above
# The packages of its pyproject.toml, within the pins there; numpy as its lock file has it.
RICO_NEEDS = (
    "safetensors>=0.4.3,<0.5", "lmdb>=1.4.1,<2", "rasterio>=1.3.10,<2", "more-itertools>=10.3,<11",
    "typer<1", "rich>=13.7.1,<14", "shellingham<2", "numpy<2", "structlog>=24.2,<25",
    "tqdm>=4.66.4,<5",
)  # fmt: skip
_MODULE = "configilm.extra.DataSets.BENv2_DataSet"
_MODELS_MODULE = "configilm.ConfigILM"


class NoReferenceError(RuntimeError):
    """The environment cannot be made here."""


def reference_python(folder: Path, python: str = sys.executable) -> Path:
    """Return the interpreter of an environment with ConfigILM, made at need.

    Args:
        folder: Where it is or will be.
        python: What to make it with: Python 3.12 at most, since numpy 1 has nothing for later ones.

    Raises:
        NoReferenceError: If it cannot be made, with what pip said last.
    """
    steps = (
        ["--no-deps", "--ignore-requires-python", f"configilm=={VERSION}"],
        ["--only-binary=:all:", *NEEDS],
    )
    return _make(folder, python, steps, f"pyarrow.parquet, {_MODULE}", f"ConfigILM {VERSION}")


def rico_python(folder: Path, python: str = sys.executable) -> Path:
    """Return the interpreter of an environment for rico-hdl, made at need; see above."""
    steps = (["--only-binary=:all:", *RICO_NEEDS],)
    return _make(folder, python, steps, "lmdb, rasterio, structlog, tqdm, typer", "rico-hdl")


def _make(folder: Path, python: str, steps: tuple[list[str], ...], modules: str, what: str) -> Path:
    interpreter = folder / "bin" / "python"
    if _works(interpreter, modules):
        return interpreter
    installs = ([*_pip(interpreter), *step] for step in steps)
    for step in ([python, "-m", "venv", "--clear", str(folder)], *installs):
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise NoReferenceError(
                f"No environment for {what} in {folder}: {' '.join(said)}. "
                "Name a Python of 3.9 to 3.12 with --python, or see to the network."
            )
    if not _works(interpreter, modules):
        raise NoReferenceError(f"{what} in {folder} cannot be imported.")
    return interpreter


def add_models(interpreter: Path) -> None:
    """Install at need what ConfigILM builds networks with.

    Raises:
        NoReferenceError: If that fails, with what pip said last.
    """
    if _works(interpreter, _MODELS_MODULE):
        return
    step = [*_pip(interpreter), "--no-deps", *MODELS_NEED]
    done = subprocess.run(step, capture_output=True, text=True, check=False)
    if done.returncode or not _works(interpreter, _MODELS_MODULE):
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise NoReferenceError(f"No timm beside ConfigILM {VERSION}: {' '.join(said)}.")


def _pip(interpreter: Path) -> list[str]:
    return [str(interpreter), "-m", "pip", "install", "--quiet"]


def _works(interpreter: Path, modules: str) -> bool:
    if not interpreter.is_file():
        return False
    command = [str(interpreter), "-c", f"import {modules}"]
    return not subprocess.run(command, capture_output=True, check=False).returncode


def main() -> None:
    """Make the environment and print its interpreter."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--models", action="store_true")
    arguments = parser.parse_args()
    try:
        interpreter = reference_python(arguments.folder, arguments.python)
        if arguments.models:
            add_models(interpreter)
        print(interpreter)
    except NoReferenceError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
