import gc

import numpy as np
import pytest
import torch

from reben.data.loading.fill import Buffers


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint16, torch.uint8])
def test_a_tensor_has_the_shape_and_dtype_asked_for_and_starts_a_cache_line(dtype):
    tensor = Buffers().take((3, 5, 7), dtype)
    assert tensor.shape == (3, 5, 7)
    assert tensor.dtype == dtype
    assert tensor.is_contiguous()
    assert tensor.data_ptr() % 64 == 0


def test_memory_is_used_again_when_its_tensor_is_gone():
    buffers = Buffers()
    first = buffers.take((1000,), torch.float32)
    address = first.data_ptr()
    del first
    assert buffers.take((500,), torch.float32).data_ptr() != address
    assert buffers.take((250, 4), torch.int32).data_ptr() == address


@pytest.mark.parametrize(
    "view",
    [
        lambda tensor: tensor[3:4],
        lambda tensor: tensor.view(torch.int32),
        lambda tensor: tensor.numpy(),
        lambda tensor: np.asarray(tensor)[::2],
        lambda tensor: tensor.detach(),
        lambda tensor: {"a": [tensor[0]]},
    ],
)
def test_memory_stays_with_whoever_holds_a_view(view):
    buffers = Buffers()
    tensor = buffers.take((10, 2), torch.float32)
    tensor[:] = 7
    address = tensor.data_ptr()
    kept = view(tensor)
    del tensor
    gc.collect()
    other = buffers.take((10, 2), torch.float32)
    other[:] = 0
    assert other.data_ptr() != address
    del kept
    assert buffers.take((10, 2), torch.float32).data_ptr() == address


def test_tensors_outlive_the_buffers():
    tensor = Buffers().take((1000, 1000), torch.float32)
    tensor[:] = 3
    gc.collect()
    assert float(tensor.sum()) == 3e6
