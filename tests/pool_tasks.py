"""Functions for the pool of processes, in a module that processes can import."""

import os
import signal
import time
from pathlib import Path

from reben.support.processes import worker_number


def square(number):
    yield number * number


def steps(number):
    yield from range(number)
    if number == 2:
        raise ValueError(f"no {number}")


def die(task):
    yield os.getpid()
    if task == "abort":
        os.abort()
    if task == "exit":
        os._exit(3)


def die_the_first_time(mark):
    yield 1
    if not Path(mark).exists():
        Path(mark).touch()
        os._exit(1)
    yield 2


def nap(task):
    Path(task).write_text(str(os.getpid()))
    yield "begun"
    time.sleep(60)


_STATE = {}


def set_state(value):
    _STATE["value"] = value
    if value == "broken":
        raise OSError("no state")


def read_state(task):
    yield task, _STATE["value"], worker_number(), signal.getsignal(signal.SIGINT)


class PickyError(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


def raise_picky(task):
    raise PickyError("a", task)
    yield


class DeadlyPatches:
    """Three chunks of a patch each, black ones; reading the second kills the process."""

    def measure(self):
        return 3, "three"

    def chunks(self, size):
        yield from ((number,) for number in range(3))

    def read(self, chunk, how):
        import torch

        from reben.predict.patch_inputs import ReadPatches

        if chunk == (1,):
            os._exit(7)
        yield ReadPatches([f"p{chunk[0]}"], torch.zeros(1, 3, 120, 120), [None])
