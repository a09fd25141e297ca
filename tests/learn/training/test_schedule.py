import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reben.errors import ConfigError
from reben.learn.training.optimiser import default_warmup, learning_rate_at


def rates(total, warmup, peak=1.0, beyond=0):
    return [
        learning_rate_at(step, total_steps=total, warmup_steps=warmup, peak=peak)
        for step in range(total + beyond)
    ]


def test_every_step_has_the_published_rate(golden):
    reference = json.loads((golden / "lr_schedule.json").read_text())
    total = reference["max_intervals"]

    own = rates(total, reference["warmup_used"], reference["lr"])

    assert own == pytest.approx(reference["used"][:total], abs=1e-12, rel=0)


def test_after_its_end_the_rate_stays_at_a_tenth():
    assert rates(10, 3, beyond=15)[10:] == pytest.approx([0.1] * 15, rel=1e-15)


def test_without_a_warm_up_the_first_rate_is_the_highest():
    assert rates(10, 0)[0] == 1.0


def test_a_warm_up_of_one_step_is_a_tenth_once():
    assert rates(10, 1)[:2] == pytest.approx([0.1, 1.0])


def test_the_peak_is_the_last_step_of_the_warm_up_and_the_one_after():
    found = rates(20, 5)

    assert [step for step, rate in enumerate(found) if rate == 1.0] == [4, 5]


@pytest.mark.parametrize("warmup", [10, 11, 1000, -1])
def test_a_warm_up_that_does_not_end_before_the_run_is_an_error(warmup):
    with pytest.raises(ConfigError, match=rf"{warmup} steps.*run of 10\..*0\.\.9"):
        learning_rate_at(0, total_steps=10, warmup_steps=warmup, peak=1.0)


def test_a_run_without_steps_is_an_error():
    with pytest.raises(ConfigError, match="0 steps"):
        learning_rate_at(0, total_steps=0, warmup_steps=0, peak=1.0)


def test_a_step_before_the_first_is_an_error():
    with pytest.raises(ConfigError, match="-1"):
        learning_rate_at(-1, total_steps=10, warmup_steps=0, peak=1.0)


@given(st.integers(2, 400), st.data())
def test_rates_rise_then_fall_and_stay_between_a_tenth_and_the_peak(total, data):
    warmup = data.draw(st.integers(0, total - 1))

    found = rates(total, warmup, peak=0.02, beyond=3)

    assert found[:warmup] == sorted(found[:warmup])
    assert found[warmup:] == sorted(found[warmup:], reverse=True)
    assert min(found) >= 0.002 - 1e-15
    assert max(found) <= 0.02 + 1e-15


@pytest.mark.parametrize(
    ("total", "warmup"), [(46_500, 1000), (10_000, 1000), (9_999, 999), (10, 1), (9, 0), (1, 0)]
)
def test_the_usual_warm_up_is_a_thousand_steps_or_a_tenth_of_the_run(total, warmup):
    assert default_warmup(total) == warmup


@given(st.integers(1, 10**6))
def test_the_usual_warm_up_always_fits(total):
    assert 0 <= default_warmup(total) < total
