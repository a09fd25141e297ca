"""Threads that load batches ahead, in order.

Threads and not processes: compiled loops and LMDB release the interpreter lock, and what a thread
has filled needs no copy.
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
        jobs: The jobs; the next one is taken only when there is room for it.
        parts: Returns the parts of a job, which threads share.
        num_workers: Number of threads; with zero, each job is done when it is asked for.
        ahead: How many jobs may be under way or done while another one is in use.
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
