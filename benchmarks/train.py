"""Images a second in training on a CPU: reben's loop beside a plain eager loop, in one run.

    python benchmarks/train.py --backbone resnet18 --bands all --batch-size 32 --steps 6

The plain loop is what a training script does by hand: forward, loss, backward, AdamW. Both see the
same images, and take turns, so that other load on the machine meets both alike.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.nn import functional

from reben.data.loader import Batch
from reben.learn.config import TrainConfig
from reben.learn.training.hardware import build_fabric, choose_channels_last
from reben.learn.training.loop import Loop
from reben.learn.training.pauses import Pauses
from reben.learn.training.record import RunRecorder
from reben.learn.training.state import Training
from reben.model.classifier import Classifier


def plain_loop(config: TrainConfig, batch: Batch, steps: int) -> list[float]:
    """Return seconds of each step of a plain eager loop."""
    model = Classifier(config.backbone, config.bands).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    seconds = []
    for _ in range(steps + 1):
        started = time.perf_counter()
        loss = functional.binary_cross_entropy_with_logits(model(batch.images), batch.multi_hot)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        loss.item()
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


class Repeated:
    """The same batch again and again, so that no loading is measured; keeps when each was taken."""

    def __init__(self, batch: Batch, times: int) -> None:
        self.dataset = range(len(batch.names) * times)
        self.batch_size = len(batch.names)
        self.batch = batch
        self.times = times
        self.taken_at: list[float] = []

    def __len__(self) -> int:
        """Count the batches."""
        return self.times

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: all epochs are alike."""

    def state_dict(self) -> dict[str, int]:
        """Return nothing, since there is nothing to go on from."""
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Do nothing."""

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batch."""
        for _ in range(self.times):
            self.taken_at.append(time.perf_counter())
            yield self.batch
        self.taken_at.append(time.perf_counter())


def own_loop(config: TrainConfig, batch: Batch, steps: int) -> list[float]:
    """Return seconds of each step of reben's loop."""
    model = Classifier(config.backbone, config.bands)
    channels_last = choose_channels_last(config, model)
    training = Training(
        model, config, total_steps=steps + 1, warmup_steps=0, channels_last=channels_last
    )
    training.place(build_fabric(config))
    recorder = RunRecorder(Path(), config, {})
    pauses = Pauses(config.checkpoint_minutes, training.fabric.device, print)
    batches = Repeated(batch, steps + 1)
    Loop(training, (batches, batches), recorder, pauses, {}).train_epoch()
    return [end - start for start, end in itertools.pairwise(batches.taken_at)][1:]


def main() -> None:
    """Measure both, and print the rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--bands", default="all")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    words = parser.parse_args()
    config = TrainConfig(backbone=words.backbone, bands=words.bands, accelerator="cpu")
    torch.manual_seed(0)
    images = torch.randn(words.batch_size, len(config.band_set), 120, 120)
    batch = Batch(
        images, torch.randint(2, (words.batch_size, 19)).float(), ["a"] * words.batch_size
    )
    kinds = {
        "plain eager loop": lambda: plain_loop(config, batch, words.steps),
        "reben": lambda: own_loop(config, batch, words.steps),
    }
    seconds = {name: [] for name in kinds}
    for _ in range(words.rounds):
        for name, run in kinds.items():
            seconds[name] += run()
    for name, found in seconds.items():
        rate = words.batch_size / statistics.median(found)
        print(f"{name:20} {rate:7.1f} images/s  ({words.backbone}, {words.bands})")


if __name__ == "__main__":
    main()
