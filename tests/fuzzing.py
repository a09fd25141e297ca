"""Thousands of damaged inputs for a reader, the same ones in every run.

`REBEN_FUZZ_CASES` sets how many each reader gets (`make fuzz` gives it many more), and
`REBEN_FUZZ_SEED` where they begin.
"""

import copy
import os
import resource
import sys
import time

import numpy as np

from reben.errors import RebenError

NUM_CASES = int(os.environ.get("REBEN_FUZZ_CASES", "2000"))
SEED = int(os.environ.get("REBEN_FUZZ_SEED", "0"))
MOST_SECONDS = 10
MOST_BYTES = 200 << 20

NUMBERS = (
    0, 1, 2, 3, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x1_0000, 0x7FFF_FFFF, 0xFFFF_FFFF,
    0x1_0000_0000, (1 << 63) - 1, (1 << 64) - 1, 10_980, 65_537, 120,
)  # fmt: skip
ODD = (
    None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**64, 10**400, -(10**400), 0.5, -0.0, 1e308,
    -1e308, 1e-320, float("nan"), float("inf"), -float("inf"), "", " ", "a", "0", "-1", "1e999",
    "nan", "true", "a\nb", "\0", "\ud800", "é" * 300, "../../etc/passwd", "/dev/zero", "x" * 10_000,
    [], {}, [[]], [None], ["a", 1], {"": None}, {"a": {"b": [1, {"c": []}]}}, [0] * 1000,
)  # fmt: skip


def randoms(count=None):
    """A generator of random numbers for each case."""
    for number in range(NUM_CASES if count is None else count):
        yield np.random.default_rng((SEED, number))


def damage(content, random):  # noqa: C901
    """Bytes that were changed in a few places, as bits rot and as people attack."""
    content = bytearray(content)
    for _ in range(random.integers(1, 6)):
        if not content:
            break
        place, end = sorted(random.integers(0, len(content) + 1, 2).tolist())
        short = slice(place, min(end, place + 64))
        match int(random.integers(0, 9)):
            case 0 | 1:
                content[place : place + 1] = random.bytes(1)
            case 2:
                del content[short]
            case 3:
                content[place:place] = content[short] * int(random.integers(1, 4))
            case 4 if random.random() < 0.3:
                del content[place:]
            case 5:
                content[place:place] = random.bytes(int(random.integers(1, 16)))
            case 6 | 7:
                size = int(random.choice([1, 2, 4, 8]))
                order = str(random.choice(["little", "big"]))
                number = NUMBERS[random.integers(len(NUMBERS))] % (1 << 8 * size)
                content[place : place + size] = number.to_bytes(size, order)
            case _:
                content[short] = bytes(len(content[short]))
    return bytes(content)


def distort(value, random):
    """JSON values of which a few were replaced, dropped, doubled or nested."""
    value = copy.deepcopy(value)
    for _ in range(random.integers(1, 4)):
        spots = list(_spots(value))
        if not spots:
            return copy.deepcopy(ODD[random.integers(len(ODD))])
        holder, key = spots[random.integers(len(spots))]
        match int(random.integers(0, 6)):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[f"{key}{random.choice(['', ' ', 'x'])}"] = holder.pop(key)
            case 2:
                holder[key] = [holder[key]] * int(random.integers(0, 3))
            case 3 if isinstance(holder[key], str) and holder[key]:
                text = damage(holder[key].encode("utf-8", "surrogatepass"), random).decode(
                    "utf-8", "surrogateescape"
                )
                holder[key] = text.encode("utf-8", "replace").decode()
            case _:
                holder[key] = copy.deepcopy(ODD[random.integers(len(ODD))])
    return value


def _spots(value):
    if not isinstance(value, dict | list):
        return
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        yield from _spots(value[key])


def try_cases(read, cases):
    """Read all cases: each gives a result or a RebenError with a reason, soon and in little memory.

    Returns how many were read without an error.
    """
    num_read, before = 0, 0
    for number, case in enumerate(cases):
        started, said = time.perf_counter(), None
        try:
            read(case)
            num_read += 1
        except RebenError as error:
            said = str(error)
        except BaseException as error:
            error.add_note(f"case {number} from seed {SEED}: {repr(case)[:2000]}")
            raise
        assert said is None or 10 < len(said) < 5000, f"case {number}: {said[:5000]!r}"
        seconds = time.perf_counter() - started
        assert seconds < MOST_SECONDS, f"case {number} took {seconds:.1f} s: {repr(case)[:2000]}"
        before = before or peak_bytes()
    grown = peak_bytes() - before
    assert grown < MOST_BYTES, f"{grown >> 20} MiB"
    return num_read


def peak_bytes():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
