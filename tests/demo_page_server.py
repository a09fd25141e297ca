"""The demo page in a process of its own, as a user starts it."""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def serving(command, folder=None, end=signal.SIGINT, **environment):
    """Yield the address that ``command`` says first, and the folder that it may write to.

    In the end it gets the signal ``end``: by default an interruption, as with Ctrl-C.
    """
    with tempfile.TemporaryDirectory(prefix="page-") as temporary, tempfile.TemporaryFile() as talk:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "TMPDIR": temporary, "PYTHONUNBUFFERED": "", **environment},
            stdout=subprocess.PIPE,
            stderr=talk,
            text=True,
        )
        try:
            said = process.stdout.readline().split()
            if not said:
                talk.seek(0)
                raise AssertionError(f"The page did not start: {talk.read().decode()}")
            yield said[-1], Path(temporary)
        finally:
            process.send_signal(end)
            process.wait(60)
            process.stdout.close()
        left = [path for path in Path(temporary).rglob("*") if path.name.startswith("reben-demo")]
        assert left == []


def reben_demo(*words):
    """The command that starts the page."""
    return [sys.executable, "-m", "reben", "demo", *map(str, words)]
