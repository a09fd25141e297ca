import os
import signal
import threading

import pytest

from reben.support.signals import ENDING, SignalInterrupt, exit_code, handled_by, signals_interrupt


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 138), (signal.SIGHUP, 129)]
)
def test_a_signal_interrupts_like_ctrl_c_and_has_its_own_exit_code(number, code):
    before = signal.getsignal(number)

    with pytest.raises(KeyboardInterrupt) as caught, signals_interrupt():
        os.kill(os.getpid(), number)

    assert exit_code(caught.value) == code
    assert signal.getsignal(number) is before


def test_a_signal_that_is_sent_twice_does_not_end_what_the_first_one_began():
    done = []

    def work():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("kept")

    with pytest.raises(SignalInterrupt), signals_interrupt():
        work()

    assert done == ["kept"]


def test_what_is_ignored_outside_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_interrupt():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_than_the_main_one_handles_no_signal():
    failed = []

    def work():
        try:
            with signals_interrupt(), handled_by(print, ENDING):
                pass
        except ValueError as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failed == []
