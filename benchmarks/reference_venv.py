"""An environment of its own for the loader that is compared with: ConfigILM 0.7.1 and its pins.

    python benchmarks/reference_venv.py FOLDER [--python PYTHON] [--models]

makes it in FOLDER unless it is there, and prints its interpreter. With --models it can build
networks too, not only read patches.
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
    interpreter = folder / "bin" / "python"
    if _works(interpreter):
        return interpreter
    steps = (
        [python, "-m", "venv", "--clear", str(folder)],
        [*_pip(interpreter), "--no-deps", "--ignore-requires-python", f"configilm=={VERSION}"],
        [*_pip(interpreter), "--only-binary=:all:", *NEEDS],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise NoReferenceError(
                f"No environment for ConfigILM {VERSION} in {folder}: {' '.join(said)}. "
                "Name a Python of 3.9 to 3.12 with --python, or see to the network."
            )
    if not _works(interpreter):
        raise NoReferenceError(f"ConfigILM {VERSION} in {folder} cannot be imported.")
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


def _works(interpreter: Path, module: str = _MODULE) -> bool:
    if not interpreter.is_file():
        return False
    command = [str(interpreter), "-c", f"import pyarrow.parquet, {module}"]
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
