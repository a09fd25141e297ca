import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reben.errors import ConfigError, ProductError
from reben.predict.windows import Axis, Plan
from reben.scene.grid import Grid

STRIDES = (60, 120, 240, 300, 600, 1200)
strides = st.sampled_from(STRIDES)
sides = st.integers(20, 75).map(lambda units: 6 * units)


def plan_of(height, width, stride):
    return Plan.of(Grid("EPSG:32633", 300_000, 5_000_040, width, height), stride)


def pixels(axis, cells):
    return slice(axis.cell(cells[0])[0], axis.cell(cells[-1])[1])


def inside(side, stride):
    """Pixels of a side that cells cover: all but a rim of less than half a cell."""
    rim = side * 10 % stride
    return side - rim // 10 if 2 * rim < stride else side


@given(sides, sides, strides)
def test_cells_partition_all_but_a_rim_of_less_than_half_a_cell(height, width, stride):
    plan = plan_of(height, width, stride)
    times = np.zeros((height, width), int)
    for row in range(plan.rows.num_cells):
        for column in range(plan.columns.num_cells):
            times[slice(*plan.rows.cell(row)), slice(*plan.columns.cell(column))] += 1

    assert (times[: inside(height, stride), : inside(width, stride)] == 1).all()
    assert times.sum() == inside(height, stride) * inside(width, stride)


@given(sides, sides)
def test_without_overlap_each_pixel_is_answered_for_by_exactly_one_window(height, width):
    plan = plan_of(height, width, 1200)
    times = np.zeros((height, width), int)
    for window in plan.windows():
        rows, columns = window.cell_rows, window.cell_columns
        times[pixels(plan.rows, rows), pixels(plan.columns, columns)] += 1

    assert (times[: inside(height, 1200), : inside(width, 1200)] == 1).all()
    assert times.sum() == inside(height, 1200) * inside(width, 1200)


@given(sides, sides, strides)
def test_every_window_reads_a_square_inside_the_scene_between_pixels_of_60_m(height, width, stride):
    windows = list(plan_of(height, width, stride).windows())

    assert all(0 <= window.top <= height - 120 for window in windows)
    assert all(0 <= window.left <= width - 120 for window in windows)
    assert all(window.top % 6 == window.left % 6 == 0 for window in windows)
    assert len({(window.top, window.left) for window in windows}) == len(windows)


@given(sides, strides)
def test_a_window_answers_for_the_cells_that_lie_in_it_as_a_whole_and_for_no_other(length, stride):
    axis = Axis(length, stride // 10)
    for window in range(axis.num_windows):
        start = axis.start(window)
        inside = [
            number
            for number in range(axis.num_cells)
            if start <= axis.cell(number)[0] and axis.cell(number)[1] <= start + 120
        ]
        assert list(axis.cells_of(window)) == inside != []


@given(sides, strides)
def test_every_cell_has_a_window_and_inner_ones_have_all_they_can(length, stride):
    axis = Axis(length, stride // 10)
    times = [0] * axis.num_cells
    for window in range(axis.num_windows):
        for number in axis.cells_of(window):
            times[number] += 1

    assert min(times) >= 1
    most = axis.cells_per_window
    inner = times[most - 1 : axis.num_regular]
    assert all(most <= count <= most + 1 for count in inner)  # one more: the window at the edge


@given(sides, strides)
def test_windows_begin_a_stride_apart_and_the_last_one_ends_with_the_scene(length, stride):
    axis = Axis(length, stride // 10)
    starts = [axis.start(window) for window in range(axis.num_windows)]

    assert starts[0] == 0
    assert starts[-1] + 120 == length
    assert set(np.diff(starts)[:-1].tolist()) <= {stride // 10}


def test_a_whole_tile_has_92_by_92_windows():
    plan = plan_of(10_980, 10_980, 1200)

    assert plan.num_windows == len(list(plan.windows())) == 8464
    assert plan.rows.start(91) == 10_860


@pytest.mark.parametrize(("side", "windows"), [(252, 2), (294, 2), (300, 3), (354, 3), (120, 1)])
def test_half_a_cell_or_more_at_the_edge_has_a_window_of_its_own(side, windows):
    assert plan_of(side, 480, 1200).rows.num_windows == windows


def test_rows_and_columns_are_not_mixed_up():
    windows = list(plan_of(height=240, width=480, stride=1200).windows())

    assert [(window.top, window.left) for window in windows[:5]] == [
        (0, 0),
        (0, 120),
        (0, 240),
        (0, 360),
        (120, 0),
    ]


@pytest.mark.parametrize(("height", "width"), [(114, 480), (480, 114)])
def test_a_scene_smaller_than_a_window_is_refused_and_the_reason_is_said(height, width):
    reason = rf"{width} x {height} pixels of 10 m, too few .*120 x 120 \(1200 m\)"
    with pytest.raises(ProductError, match=reason):
        plan_of(height, width, 1200)


@pytest.mark.parametrize("stride", [0, -1200, 100, 480, 2400])
def test_a_stride_that_does_not_fit_is_refused_and_the_fitting_ones_are_listed(stride):
    with pytest.raises(ConfigError, match=r"60, 120, 240, 300, 600, 1200"):
        plan_of(1200, 1200, stride)
