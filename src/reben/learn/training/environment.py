"""The environment of a run: versions, git commit, device."""

import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PACKAGES = (
    *("reben", "torch", "torchvision", "timm", "lightning", "torchmetrics"),
    *("safetensors", "lmdb", "pyarrow", "numpy"),
)
"""The packages that a result can depend on."""


def describe_environment(device: "torch.device") -> dict[str, Any]:
    """Return versions, git state and device as plain values, without host, user or paths."""
    import torch

    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {package: _version(package) for package in PACKAGES},
        "git": git_state(Path(__file__).parent),
        "device": {
            "type": device.type,
            "name": name_of_device(device),
            "threads": torch.get_num_threads(),
        },
    }


def name_of_device(device: "torch.device") -> str | None:
    """Return the name of the hardware, if the system tells it."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or None


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit of the files in ``folder``, and whether they were changed since.

    Returns:
        ``{"commit": ..., "changed": ...}``, or None if git does not track the folder, for example
        of an installed package.
    """
    commit = _ask_git(folder, "rev-parse", "HEAD")
    if not commit or not _ask_git(folder, "ls-files"):
        return None
    return {"commit": commit, "changed": bool(_ask_git(folder, "status", "--porcelain", "."))}


def _ask_git(folder: Path, *words: str) -> str:
    """Return the output of a git command, or nothing if it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed words, no shell
            [shutil.which("git") or "", "-C", str(folder), *words],
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
