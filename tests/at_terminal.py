"""A command at a terminal of the test's own."""

import os
import subprocess
import sys


def run_at_a_terminal(*words, columns=80):
    """Return what Python wrote to a terminal as stderr, and what to a pipe as stdout."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": str(columns)},
        text=True,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # Linux says so at the end of a terminal
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    out = process.communicate(timeout=60)[0]
    assert process.returncode == 0, shown.decode()
    return shown.decode(), out
