"""rico-hdl itself, the peer of `encode.py`; runs in the environment of `reference_venv.py`.

    PYTHON benchmarks/reference_rico.py REPOSITORY TREE STORE WORKERS

runs the command `rico-hdl bigearthnet` of a clone as it stands, with two aids that leave its speed
alone: its map of 100 TiB, which has no room beside an interpreter in the middle of the addresses,
is one of 1 TiB; and where the program fd is missing, find looks for the patches.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

FLAGS = {
    "--bigearthnet-s2-dir": "BigEarthNet-S2",
    "--bigearthnet-s1-dir": "BigEarthNet-S1",
    "--bigearthnet-reference-maps-dir": "Reference_Maps",
}
_MAP_BYTES = 1 << 40


def _find(regex: str, folder: Path, only_dir: bool = True, **_: object) -> list[str]:
    """Return what ``fd --regex`` finds below a folder, as paths."""
    import subprocess

    kind = ["-type", "d"] if only_dir else []
    pattern = ".*/[^/]*" + regex.replace(r"\d", "[0-9]")
    command = ["find", str(folder), "-regextype", "posix-extended", *kind, "-regex", pattern]
    return subprocess.check_output(command, text=True).splitlines()


def main() -> None:
    """Run it."""
    import shutil
    from functools import partial

    import lmdb

    repository, tree, store, num_workers = sys.argv[1:]
    sys.path.insert(0, repository)  # its workers get this path too
    from rico_hdl import rico_hdl

    rico_hdl.lmdb.open = partial(_open, lmdb.open)
    if shutil.which("fd") is None:
        rico_hdl.fast_find = _find
    flags = [word for flag, name in FLAGS.items() for word in (flag, f"{tree}/{name}")]
    sys.argv[1:] = ["bigearthnet", "--target-dir", store, *flags, "--num-workers", num_workers]
    rico_hdl.main()


def _open(original: Callable[..., Any], path: str, *, map_size: int, **settings: Any) -> Any:  # noqa: ANN401
    return original(path, map_size=min(map_size, _MAP_BYTES), **settings)


if __name__ == "__main__":
    main()
