"""What a GPU gets done, and how long it waits: loading, training, evaluation, a whole scene.

    python benchmarks/gpu.py [--backbone resnet50] [--bands s2] [--batch-size 512] [--pairs 5000]

runs on the accelerator of the machine, or on its CPU (--device cpu, to try it); makes a store of
random pairs once, in a cache folder; prints one table. A job's first pass warms up and does not
count. The share of time that the device waits is what a pass over the store takes longer than one
over batches that lie on the device already. Where ConfigILM is installed, a plain loop over its
data set, with torch's DataLoader and the same network, precision and optimiser, runs beside.
"""

import argparse
import itertools
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from load import CACHE, make_store
from torch.nn import functional

from reben.data.loader import Batch, Dataset, open_dataset
from reben.data.metadata import METADATA_FILE
from reben.learn.config import TrainConfig
from reben.learn.predict import predict_dataset
from reben.learn.training.data_module import training_loaders
from reben.learn.training.feed import batches_on
from reben.learn.training.hardware import build_fabric, choose_channels_last, takes_raw_bands
from reben.learn.training.loop import Loop
from reben.learn.training.pauses import Pauses
from reben.learn.training.record import RunRecorder
from reben.learn.training.state import Training
from reben.model.classifier import Classifier
from reben.predict.scene import predict_scene
from reben.predict.windows import Plan
from scene import MadeUpScene


@dataclass(frozen=True)
class Row:
    """What one job took."""

    name: str
    per_second: float
    unit: str = "images/s"
    waits: float | None = None
    gigabytes: float = 0.0


class OnDevice:
    """Batches that lie on the device, in place of a loader."""

    def __init__(self, loader: Any, batches: list[Batch]) -> None:  # noqa: ANN401 - either loader
        self.dataset, self.batch_size, self._batches = loader.dataset, loader.batch_size, batches

    def __len__(self) -> int:
        """Count the batches."""
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches."""
        return iter(self._batches)

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: all epochs are alike."""

    def state_dict(self) -> dict[str, int]:
        """Return nothing, since there is nothing to go on from."""
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Do nothing."""


def measured(device: torch.device, work: Callable[[], int]) -> tuple[float, float]:
    """Return how many a second a job gets done, and the most memory of the device in GB."""
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    started = time.perf_counter()
    count = work()
    if device.type != "cuda":
        return count / (time.perf_counter() - started), 0.0
    torch.cuda.synchronize(device)
    seconds = time.perf_counter() - started
    return count / seconds, torch.cuda.max_memory_allocated(device) / 1e9


def loading_and_training(dataset: Dataset, config: TrainConfig) -> Iterator[Row]:
    """Measure the loader alone, and training on it."""
    fabric = build_fabric(config)
    device = fabric.device
    classifier = Classifier(config.backbone, config.bands)
    loaders = training_loaders(
        dataset, classifier, config, device=device, raw=takes_raw_bands(device)
    )
    steps = len(loaders[0]) * 8
    training = Training(
        classifier,
        config,
        total_steps=steps,
        warmup_steps=0,
        channels_last=choose_channels_last(config, classifier),
    )
    training.place(fabric)
    pauses = Pauses(config.checkpoint_minutes, device, print)
    loop = Loop(training, loaders, RunRecorder(Path(), config, {}), pauses, {})

    def load() -> int:
        done = [len(batch.names) for batch in batches_on(device, loaders[0], loop.preprocess)]
        return sum(done)

    def train() -> int:
        loop.train_epoch()
        training.epoch, training.batch = training.epoch + 1, 0
        return len(loop.train_loader.dataset)

    loaders[0].set_epoch(config.epochs)  # none of those that are trained
    yield Row("loader to device", *_placed(measured(device, load)))
    rate, gigabytes = measured(device, train)
    kept = list(itertools.islice(batches_on(device, loaders[0], loop.preprocess), 4))
    repeated = [kept[number % len(kept)] for number in range(len(loaders[0]))]
    loop.train_loader = OnDevice(loaders[0], repeated)
    ideal, _ = measured(device, train)
    yield Row("training", rate, waits=max(0.0, 1 - rate / ideal), gigabytes=gigabytes)
    yield Row("training, batches on the device", ideal)


def evaluation(dataset: Dataset, config: TrainConfig, device: torch.device) -> Row:
    """Measure the scores of a split."""
    classifier = Classifier(config.backbone, config.bands).to(device).eval()
    patches = dataset["train"]

    def predict() -> int:
        return len(predict_dataset(classifier, patches, batch_size=config.batch_size))

    return Row("evaluation", *_placed(measured(device, predict)))


def whole_scene(config: TrainConfig, device: torch.device, side: int) -> Row:
    """Measure a scene, made up as it is read."""
    classifier = Classifier(config.backbone, config.bands).to(device).eval()
    scene = MadeUpScene(side)

    def predict() -> int:
        with tempfile.TemporaryDirectory() as folder:
            predict_scene(classifier, scene, Path(folder) / "out.tif", device=device)
        return Plan.of(scene.grid).num_windows

    return Row(f"scene of {side} px", *_placed(measured(device, predict), "windows/s"))


def plain_loop(store: Path, config: TrainConfig, device: torch.device) -> Row:
    """Measure a training by hand on ConfigILM's data set; an ImportError without ConfigILM."""
    from reference_load import open_dataset as open_reference

    classifier = Classifier(config.backbone, config.bands)
    mean, std = classifier.preprocess.mean.to(device), classifier.preprocess.std.to(device)
    patches = open_reference(store, len(config.band_set))
    loader = torch.utils.data.DataLoader(
        patches, config.batch_size, shuffle=True, num_workers=8, pin_memory=device.type == "cuda"
    )
    model = classifier.to(device).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)

    def train() -> int:
        done = 0
        for images, labels, *_ in loader:
            inputs = (images.to(device, non_blocking=True).float() - mean) / std
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                logits = model(inputs)
            loss = functional.binary_cross_entropy_with_logits(
                logits.float(), labels.to(device, non_blocking=True).float()
            )
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            done += len(images)
        return done

    return Row("plain loop on ConfigILM's data set", *_placed(measured(device, train)))


def open_split(store: Path, bands: str) -> Dataset:
    """Return the patches of a store, the last twentieth of them for validation."""
    table = pq.read_table(store / METADATA_FILE)
    splits = ["train"] * (len(table) - len(table) // 20) + ["validation"] * (len(table) // 20)
    column = table.column_names.index("split")
    table = table.set_column(column, "split", pa.array(splits))
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(table, Path(folder) / METADATA_FILE)
        return open_dataset(store, bands, metadata=[Path(folder) / METADATA_FILE])


def _placed(found: tuple[float, float], unit: str = "images/s") -> tuple[float, str, None, float]:
    return found[0], unit, None, found[1]


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--bands", default="s2")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--pairs", type=int, default=5000)
    parser.add_argument("--side", type=int, default=10_980, help="pixels of the scene")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    words = parser.parse_args()
    if words.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device here; --device cpu tries it on the processor")
    device = torch.device(words.device)
    store = make_store(CACHE / f"pairs-{words.pairs}", words.pairs)
    config = TrainConfig(
        backbone=words.backbone,
        bands=words.bands,
        batch_size=words.batch_size,
        accelerator=words.device,
    )
    dataset = open_split(store, config.bands)
    rows = [*loading_and_training(dataset, config), evaluation(dataset, config, device)]
    rows.append(whole_scene(config, device, words.side))
    with suppress(ImportError):
        rows.append(plain_loop(store, config, device))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    print(f"{name}, torch {torch.__version__}, {words.backbone} {words.bands}, {words.batch_size}")
    for row in rows:
        waits = "" if row.waits is None else f"  waits {row.waits:4.0%}"
        print(f"  {row.name:34} {row.per_second:9.1f} {row.unit:9}  {row.gigabytes:5.1f} GB{waits}")


if __name__ == "__main__":
    main()
