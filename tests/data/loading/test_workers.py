import threading
import time
from functools import partial
from itertools import islice

import pytest

from reben.data.loading.threads import run_ahead


def threads_of_ours():
    return [one for one in threading.enumerate() if one.name.startswith("reben-loader")]


class Job:
    def __init__(self, number, num_parts=3):
        self.number = number
        self.done = [False] * num_parts

    def parts(self):
        return [partial(self.work, part) for part in range(len(self.done))]

    def work(self, part):
        # The first jobs take longest, so that the order is not that of finishing.
        time.sleep(0.002 if self.number < 3 else 0)
        self.done[part] = True


@pytest.mark.parametrize("num_workers", [0, 1, 2, 5])
@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_jobs_come_in_order_with_all_their_parts_done(num_workers, ahead):
    jobs = run_ahead(map(Job, range(9)), Job.parts, num_workers=num_workers, ahead=ahead)
    numbers = []
    for job in jobs:
        assert all(job.done)
        numbers.append(job.number)
    assert numbers == list(range(9))
    assert not threads_of_ours()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_no_more_jobs_are_begun_than_asked_for(num_workers):
    begun = []

    def jobs():
        for number in range(20):
            begun.append(number)
            yield Job(number)

    running = run_ahead(jobs(), Job.parts, num_workers=num_workers, ahead=2)
    next(running)
    assert len(begun) == (3 if num_workers else 1)
    next(running)
    assert len(begun) == (4 if num_workers else 2)
    running.close()


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_what_a_part_raises_comes_when_it_is_the_turn_of_its_job(num_workers):
    def parts(number):
        def fail():
            if number >= 3:
                raise ValueError(f"job {number}")

        return [fail]

    running = run_ahead(iter(range(9)), parts, num_workers=num_workers, ahead=3)
    assert list(islice(running, 3)) == [0, 1, 2]
    with pytest.raises(ValueError, match="job 3"):
        next(running)
    assert not threads_of_ours()


def test_no_thread_is_left_when_the_loop_is_left_early():
    for job in run_ahead(map(Job, range(99)), Job.parts, num_workers=3, ahead=5):
        if job.number == 2:
            break
    assert not threads_of_ours()


def test_no_thread_is_left_after_an_interrupt():
    def interrupted():
        for job in run_ahead(map(Job, range(99)), Job.parts, num_workers=3, ahead=5):
            if job.number == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not threads_of_ours()


def test_an_iterator_that_was_never_begun_starts_no_thread():
    run_ahead(map(Job, range(9)), Job.parts, num_workers=3, ahead=5)
    assert not threads_of_ours()
