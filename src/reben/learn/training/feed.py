"""Batches on the device that trains: the next one crosses while the device works on this one.

To a GPU go raw bands, which take a third of the bytes of images; the images are made there. For a
CPU, or a device that lacks their dtype, the loader makes them, in the same numbers.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from reben.data.loader import Batch, Loader, RawBatch, RawLoader
from reben.data.preprocess import Preprocess
from reben.learn.training.hardware import to_device

AnyLoader = Loader | RawLoader


def batches_on(device: torch.device, loader: AnyLoader, preprocess: Preprocess) -> Iterator[Batch]:
    """Yield the batches of a loader with images and labels on a device.

    Args:
        device: Where they go.
        loader: Makes images, or leaves them to the device.
        preprocess: Makes images of raw bands, on ``device``.
    """
    if device.type == "cpu":  # nothing to cross, and no memory for a second batch
        for batch in loader:
            yield _finished(batch, preprocess)
        return
    crossing = _Crossing(device)
    waiting: Batch | RawBatch | None = None
    for batch in loader:
        coming = crossing.begin(batch)
        if waiting is not None:
            yield _finished(crossing.end(waiting), preprocess)
        waiting = coming
    if waiting is not None:
        yield _finished(crossing.end(waiting), preprocess)


def _finished(batch: Batch | RawBatch, preprocess: Preprocess) -> Batch:
    return batch.finish(preprocess) if isinstance(batch, RawBatch) else batch


class _Crossing:
    """Copies batches to a device; on CUDA in a stream of its own, beside the work there."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def begin(self, batch: Batch | RawBatch) -> Batch | RawBatch:
        """Return a batch whose tensors are on their way."""
        with torch.cuda.stream(self._stream):  # does nothing for None
            return _moved(batch, self._device)

    def end(self, batch: Batch | RawBatch) -> Batch | RawBatch:
        """Return a batch that the work of the device may use from here on."""
        if self._stream is not None:
            work = torch.cuda.current_stream(self._device)
            work.wait_stream(self._stream)
            for tensor in _tensors(batch):
                tensor.record_stream(work)  # its memory is not reused before the work is done
        return batch


def _moved(batch: Batch | RawBatch, device: torch.device) -> Batch | RawBatch:
    labels = to_device(batch.multi_hot, device)
    if isinstance(batch, Batch):
        return batch._replace(images=to_device(batch.images, device), multi_hot=labels)
    bands = {name: to_device(values, device) for name, values in batch.bands.items()}
    return batch._replace(bands=bands, flips=to_device(batch.flips, device), multi_hot=labels)


def _tensors(batch: Batch | RawBatch) -> list[Tensor]:
    if isinstance(batch, Batch):
        return [batch.images, batch.multi_hot]
    return [*batch.bands.values(), batch.flips, batch.multi_hot]
