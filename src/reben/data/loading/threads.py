"""Threads that fill batches ahead of whoever uses them, in order.

Threads and not processes: the work is done in compiled loops and in LMDB, which let go of the
interpreter lock, and what threads fill needs no copy to get here.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_Job = TypeVar("_Job")


def run_ahead(
    jobs: Iterable[_Job],
    parts: Callable[[_Job], Iterable[Callable[[], None]]],
    *,
    num_workers: int,
    ahead: int,
) -> Iterator[_Job]:
    """Yield jobs in order, each once all its parts are done.

    Args:
        jobs: What is to be done; the next one is asked for only when there is room for it.
        parts: Returns what there is to do for a job, in parts that threads share.
        num_workers: Number of threads; with zero all is done here, when it is asked for.
        ahead: How many jobs may be under way or done while another one is used.

    Raises:
        Exception: Whatever a part raised, when its job's turn comes. Threads are gone afterwards,
            as they are when the iterator is closed or dropped.
    """
    if not num_workers:
        for job in jobs:
            for part in parts(job):
                part()
            yield job
        return
    waiting: deque[tuple[_Job, list[Future[None]]]] = deque()
    coming = iter(jobs)
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="reben-loader")
    try:
        while True:
            for new in islice(coming, ahead + 1 - len(waiting)):
                waiting.append((new, [pool.submit(part) for part in parts(new)]))
            if not waiting:
                return
            job, futures = waiting.popleft()
            for future in futures:
                future.result()
            yield job
            del job, futures
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
