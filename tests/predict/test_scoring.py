"""Threads of torch while scenes are scored."""

import torch

from reben.predict.scoring import threads_restored


def test_scenes_that_overlap_leave_torch_as_many_threads_as_before_the_first():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        first, second = threads_restored(), threads_restored()
        with first:
            torch.set_num_threads(1)
            second.__enter__()
        assert torch.get_num_threads() == 1
        second.__exit__(None, None, None)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
