"""Processes that are spawned to work for this one: how they start, and how they end."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from types import ModuleType

_CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Return how many cores this process may use: by affinity, and by the quota of its cgroup.

    Source: cpu.max of cgroup v2, cpu.cfs_quota_us of v1 (Linux kernel documentation).
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = _quota(
        _words("cpu.max"), _words("cpu/cpu.cfs_quota_us"), _words("cpu/cpu.cfs_period_us")
    )
    return max(1, min(cores, cores if quota is None else int(quota)))


def _words(file: str) -> list[str]:
    try:
        return (_CGROUP / file).read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return []


def _quota(new: list[str], old: list[str], old_period: list[str]) -> float | None:
    """Return the cores that a cgroup grants, from the words of its files; None without a limit."""
    pair = new or [*old, *old_period]
    if len(pair) != 2 or not all(word.isdecimal() for word in pair) or int(pair[1]) == 0:
        return None  # "max" of v2 and -1 of v1 are no limit
    return int(pair[0]) / int(pair[1])


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Hold interruptions back, also in processes that are started meanwhile.

    Ctrl-C reaches every process of a terminal; it is for the first one to end the others.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Starting this helper, which multiprocessing does at need, would let them through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def main_module_hidden() -> Iterator[None]:
    """Keep spawned processes from importing the user's program, which they do not need.

    It might import torch, or be a script without a guard, which would encode once more.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def belong_to_parent() -> None:
    """Leave interruptions to the process that spawned this one, and end when that one does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
