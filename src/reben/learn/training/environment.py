"""Where and with what a run was made: versions, git, device."""

import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PACKAGES = (
    "reben",
    "torch",
    "torchvision",
    "timm",
    "lightning",
    "torchmetrics",
    "safetensors",
    "lmdb",
    "pyarrow",
    "numpy",
)
"""The packages that a result can depend on."""


def describe_environment(device: "torch.device") -> dict[str, Any]:
    """Return versions, git state and device, as plain values.

    Neither names of machines and users nor paths are among them.
    """
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "git": git_state(Path(__file__).parent),
        "device": _describe_device(device),
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit that the files in ``folder`` are of, and whether they were changed since.

    Returns:
        ``{"commit": ..., "changed": ...}``, or None if git does not track the folder, as for an
        installed package.
    """
    git = shutil.which("git")
    if git is None or not _ask(git, folder, "ls-files"):
        return None
    commit = _ask(git, folder, "rev-parse", "HEAD")
    if not commit:
        return None
    return {"commit": commit, "changed": bool(_ask(git, folder, "status", "--porcelain", "."))}


def _ask(git: str, folder: Path, *words: str) -> str:
    """Return what a git command says, and nothing if it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed words, no shell
            [git, "-C", str(folder), *words],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _describe_device(device: "torch.device") -> dict[str, Any]:
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return {"type": device.type, "name": name or None, "threads": torch.get_num_threads()}
