"""What the terminal shows while work is under way, on a terminal of the test's own."""

import re
import subprocess
import sys

import pytest

from at_terminal import run_at_a_terminal

pytest.importorskip("pty")

WORK = """
import logging, sys, time, warnings
from reben.app.terminal import one_line_warnings, progress_bar, talk

with one_line_warnings(), progress_bar("patches") as bar:
    for done in range(1, 7):
        bar(done, 6, note="812 images/s")
        time.sleep(0.15)  # the bar is drawn ten times a second
        logging.getLogger("reben.learn").info("Epoch %d/6: loss 0.5", done)
        warnings.warn(f"odd {done}", UserWarning, stacklevel=1)
        talk(f"message {done}")
print("the result")
"""


class Screen:
    """As much of a terminal as a progress bar needs: lines, and a cursor that moves."""

    def __init__(self):
        self.lines, self.row, self.column = [""], 0, 0

    def write(self, text):
        for piece in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", text):
            self.draw(piece)
            yield self.lines

    def draw(self, piece):
        if piece == "\r":
            self.column = 0
        elif piece == "\n":
            self.row += 1
            self.lines += [""] * (self.row + 1 - len(self.lines))
        elif piece.startswith("\x1b"):
            if piece.endswith("A"):
                self.row -= int(piece[2:-1] or 1)
            elif piece.endswith("2K"):
                self.lines[self.row] = ""
        else:
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + piece + line[self.column + len(piece) :]
            self.column += len(piece)


def test_log_lines_warnings_and_messages_stand_above_the_bar_and_never_on_its_line():
    shown, out = run_at_a_terminal("-c", WORK)
    screen = Screen()
    for lines in screen.write(shown):
        with_bar = [line for line in lines if "patches" in line]
        assert not [line for line in with_bar if re.search("Epoch|odd|message", line)]

    assert "6/6" in shown
    assert "812 images/s" in shown
    assert [line for line in screen.lines if line] == [
        line
        for done in range(1, 7)
        for line in (f"Epoch {done}/6: loss 0.5", f"UserWarning: odd {done}", f"message {done}")
    ]
    assert out == "the result\n"


def test_where_stderr_is_no_terminal_there_is_no_bar():
    done = subprocess.run(
        [sys.executable, "-c", WORK.replace("bar(done", "bar and bar(done")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr.startswith("Epoch 1/6: loss 0.5\nUserWarning: odd 1\nmessage 1\nEpoch 2/6")
    assert "patches" not in done.stderr


def test_a_terminal_that_is_closed_ends_nothing():
    code = (
        "import os; ours, theirs = os.openpty(); os.dup2(theirs, 2); os.close(theirs);"
        "os.close(ours); from reben.app.terminal import talk; talk('a'); talk('b'); print('done')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "done\n")
