"""One pool: values as they come, a death named, an early end."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice

import pytest

from pool_tasks import (
    die,
    die_the_first_time,
    nap,
    raise_picky,
    read_state,
    set_state,
    square,
    steps,
)
from reben.support.processes import WorkerDiedError, run_tasks, worker_number


def values_of(answers):
    return sorted((answer.task, answer.value) for answer in answers)


@pytest.fixture(scope="module")
def threads():
    with ThreadPoolExecutor(2) as executor:
        yield executor


def test_every_task_is_done_once():
    answers = list(run_tasks(square, range(20), num_processes=2, in_flight=4))

    assert values_of(answers) == [(number, number**2) for number in range(20)]


@pytest.mark.parametrize("where", ["here", "threads"])
def test_an_error_comes_after_the_values_before_it_and_leaves_the_others_alone(where, threads):
    executor = threads if where == "threads" else None
    answers = list(run_tasks(steps, [3, 2, 1], num_processes=2, executor=executor))

    assert [a.value for a in answers if a.task == 3] == [0, 1, 2]
    assert [a.value for a in answers if a.task == 1] == [0]
    *two, last = [answer for answer in answers if answer.task == 2]
    assert [answer.value for answer in two] == [0, 1]
    assert isinstance(last.error, ValueError)
    assert str(last.error) == "no 2"
    assert "in steps" in "".join(last.error.__notes__)


def test_an_error_that_cannot_be_pickled_is_told_all_the_same():
    (answer,) = run_tasks(raise_picky, ["b"], num_processes=1)

    assert str(answer.error) == "PickyError: a b"


def test_a_task_that_cannot_be_pickled_fails_alone():
    answers = {str(a.task): a for a in run_tasks(square, [1, lambda: 0, 2], num_processes=1)}

    assert answers.pop("1").value == 1
    assert answers.pop("2").value == 4
    (answer,) = answers.values()
    assert "pickle" in str(answer.error)


@pytest.mark.parametrize(("how", "code"), [("abort", -signal.SIGABRT), ("exit", 3)])
def test_a_task_that_kills_its_process_twice_is_named_and_the_rest_goes_on(how, code):
    answers = list(run_tasks(die, ["a", how, "b", "c"], num_processes=2))

    (failed,) = [answer for answer in answers if answer.error is not None]
    assert failed.task == how
    assert isinstance(failed.error, WorkerDiedError)
    assert failed.error.exit_code == code
    assert str(failed.error) == f"its process died (exit code {code})"
    assert {answer.task for answer in answers} == {"a", "b", "c", how}


def test_a_task_whose_process_dies_once_gets_a_second_chance(tmp_path):
    answers = list(run_tasks(die_the_first_time, [tmp_path / "mark"], num_processes=2))

    assert [(answer.value, answer.error) for answer in answers] == [(1, None), (1, None), (2, None)]


def test_without_a_second_chance_a_death_is_told_at_once(tmp_path):
    answers = list(run_tasks(die_the_first_time, [tmp_path / "m"], num_processes=2, retry=False))

    assert [answer.value for answer in answers] == [1, None]
    assert isinstance(answers[-1].error, WorkerDiedError)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("how", ["close", "interrupt"])
def test_leaving_early_ends_the_processes_at_once(tmp_path, how):
    files = [tmp_path / "a", tmp_path / "b"]
    answers = run_tasks(nap, files, num_processes=2)
    assert [answer.value for answer in islice(answers, 2)] == ["begun", "begun"]
    begun = time.monotonic()
    if how == "close":
        answers.close()
    else:
        threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt):
            next(answers)

    assert time.monotonic() - begun < 10
    assert not any(is_alive(int(file.read_text())) for file in files)


@pytest.mark.parametrize("where", ["here", "threads"])
def test_tasks_are_taken_only_when_there_is_room(where, threads):
    taken = []
    tasks = (taken.append(number) or number for number in count())
    executor = threads if where == "threads" else None
    answers = run_tasks(square, tasks, num_processes=1, executor=executor, in_flight=3)
    for _ in islice(answers, 5):
        pass
    answers.close()

    assert len(taken) <= 8


def test_each_process_has_a_state_and_a_number_and_ignores_interruptions():
    answers = run_tasks(
        read_state, range(8), num_processes=2, in_flight=8, initializer=set_state, initargs=("s",)
    )
    values = [answer.value for answer in answers]

    assert {value[1] for value in values} == {"s"}
    assert {value[2] for value in values} <= {0, 1}
    assert {value[3] for value in values} == {signal.SIG_IGN}
    assert worker_number() == 0


def test_a_state_that_cannot_be_made_is_the_error_of_the_tasks():
    answers = run_tasks(
        read_state, range(2), num_processes=1, initializer=set_state, initargs=("broken",)
    )

    assert [str(answer.error) for answer in answers] == ["no state", "no state"]


def test_leaving_early_leaves_a_foreign_executor_open_with_nothing_running(threads):
    begun, ended = [], []

    def wait_a_little(task):
        begun.append(task)
        time.sleep(0.2)
        ended.append(task)
        return [task]

    answers = run_tasks(wait_a_little, range(100), num_processes=1, executor=threads)
    next(answers)
    answers.close()

    assert sorted(begun) == sorted(ended)
    assert len(begun) < 10
    assert threads.submit(len, "abc").result() == 3
