"""A piece of work in a Python process of its own, within bounds of time and memory."""

import os
import subprocess
import sys

_KEPT = (
    "PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR",
)  # fmt: skip
"""Of the environment, the process sees only these: no tokens, no proxies."""


class OutOfBoundsError(Exception):
    """The work took more time or memory than it may, or its process died."""


def run_apart(module: str, task: bytes, *, seconds: float) -> bytes:
    """Return what ``python -m module`` writes for ``task`` as its input.

    The module bounds its own memory, with `limit_memory`; where it is not done after so many
    seconds, or fails, it is an `OutOfBoundsError`.
    """
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    try:
        done = subprocess.run(  # noqa: S603 - this Python, and a module of ours
            [sys.executable, "-P", "-m", module],
            input=task,
            capture_output=True,
            timeout=seconds,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OutOfBoundsError(f"it took longer than {seconds:g} s") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        said = lines[-1] if lines else f"exit code {done.returncode}"
        raise OutOfBoundsError(f"its process died: {said}")
    return done.stdout


def limit_memory(num_bytes: int) -> None:
    """Let this process have no more memory than this, where the system can bound it."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (num_bytes, num_bytes))
