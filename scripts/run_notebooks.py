"""Execute notebooks from start to end; `make notebooks` calls it.

    python scripts/run_notebooks.py NOTEBOOK ... [--keep FOLDER]

Each runs in a temporary folder of its own, with the kernel of this interpreter. What is executed is
a copy: the notebooks stay without outputs. --keep writes the executed copies into a folder.
REBEN_SAMPLE names the real sample, without which the notebooks fetch it.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

TIMEOUT = 300
"""Seconds that a cell may take."""


def dirty_cells(notebook: nbformat.NotebookNode) -> list[str]:
    """Return the ids of the cells that hold outputs or counts, which are not to be committed."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [cell.id for cell in code if cell.outputs or cell.execution_count is not None]


def run(path: Path) -> nbformat.NotebookNode:
    """Return the executed copy of a notebook.

    Raises:
        CellExecutionError: If a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(
            notebook, timeout=TIMEOUT, kernel_name="python3", resources=resources
        ).execute()
    return notebook


def main() -> int:
    """Run all notebooks, say how long each took, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", type=Path, nargs="+")
    parser.add_argument("--keep", type=Path, help="where to write the executed copies")
    arguments = parser.parse_args()
    if "REBEN_SAMPLE" in os.environ:  # the notebooks run elsewhere
        os.environ["REBEN_SAMPLE"] = str(Path(os.environ["REBEN_SAMPLE"]).absolute())
    failed = 0
    for path in arguments.notebooks:
        if dirty := dirty_cells(nbformat.read(path, as_version=4)):
            sys.stderr.write(f"{path}: clear the outputs of {', '.join(dirty)}\n")
            failed += 1
            continue
        started = time.monotonic()
        try:
            executed = run(path)
        except CellExecutionError as error:
            sys.stderr.write(f"{path}: {error}\n")
            failed += 1
            continue
        sys.stdout.write(f"{path}: {time.monotonic() - started:.0f} s\n")
        if arguments.keep is not None:
            arguments.keep.mkdir(parents=True, exist_ok=True)
            nbformat.write(executed, arguments.keep / path.name)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
