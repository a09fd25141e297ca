"""What the commands of reben need for the whole data set: estimates, from parts measured here.

    python benchmarks/paper_scale.py [--models resnet18:all resnet50:s2] [--json FILE]

Each part is measured in a process of its own, for some seconds, on the CPU: bytes and seconds of a
pair in encoding, images a second of the loader, of a training step and of prediction, what a
forward pass keeps in memory, seconds and memory of the bootstrap at full size. Then they are
multiplied with the numbers of patches of the official splits. Nothing is run at full size but the
bootstrap, so what is printed are estimates. The validation of an epoch is counted at the rate of
prediction. The quickest step of each part counts, since other work on the machine only makes steps
slower; run it while nothing else does all the same.
"""

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

TRAIN, VALIDATION, TEST = 237_871, 122_342, 119_825
"""Patches of the splits. Source: arXiv:2407.03653, section 2."""
BATCH, EPOCHS, ROUNDS = 512, 100, 1000
"""The published recipe, and the resamples of a report."""
PARTS = 4
"""Parts of a batch in the column with accumulate."""


def measure_store(folder: str, num_pairs: int) -> dict[str, float]:
    """Return pairs a second and bytes a pair of encoding, from files that were just written."""
    from reben.data.encode import encode
    from reben.data.synthesize import synthesize

    tree = synthesize(Path(folder) / "tree", num_patches=num_pairs)
    started = time.perf_counter()
    report = encode(
        Path(folder) / "store",
        s1=tree / "BigEarthNet-S1",
        s2=tree / "BigEarthNet-S2",
        metadata=[tree / "metadata.parquet"],
    )
    seconds = time.perf_counter() - started
    return {"rate": num_pairs / seconds, "bytes": report.num_bytes / num_pairs}


def measure_loader(folder: str, bands: str) -> dict[str, float]:
    """Return images a second of the loader on one core, store in the page cache."""
    import torch

    from reben.data.loader import Loader, open_dataset
    from reben.model.classifier import Classifier

    torch.set_num_threads(1)
    dataset = open_dataset(Path(folder) / "store", snow=None, cloud=None)
    preprocess = Classifier("test_resnet", bands).preprocess
    loader = Loader(dataset, preprocess, 64, shuffle=True, flips=True)
    seconds = []
    for epoch in range(4):
        loader.set_epoch(epoch)
        started = time.perf_counter()
        for _ in loader:
            pass
        seconds.append(time.perf_counter() - started)
    return {"rate": len(dataset) / min(seconds[1:])}


def measure_training(backbone: str, bands: str, batch_size: int, steps: int) -> dict[str, float]:
    """Return images a second of a training step, and how it grows in memory."""
    import torch
    from train import own_loop

    from reben.data.loader import Batch
    from reben.learn.config import TrainConfig

    config = TrainConfig(backbone=backbone, bands=bands, accelerator="cpu")
    torch.manual_seed(0)
    images = torch.randn(batch_size, len(config.band_set), 120, 120)
    labels = torch.randint(2, (batch_size, 19)).float()
    seconds = own_loop(config, Batch(images, labels, ["a"] * batch_size), steps)
    return {"rate": batch_size / min(seconds), **measure_memory(backbone, bands)}


def measure_memory(backbone: str, bands: str) -> dict[str, float]:
    """Return the number of weights, and the bytes that a forward pass keeps of each image."""
    import torch

    from reben.model.classifier import Classifier

    model = Classifier(backbone, bands).train()
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    images = torch.randn(2, len(model.bands), 120, 120)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(images)
    del logits
    return {
        "weights": sum(weight.numel() for weight in model.parameters()),
        "kept": sum(kept.values()) / len(images),
    }


def measure_prediction(backbone: str, bands: str, batch_size: int, steps: int) -> dict[str, float]:
    """Return images a second of prediction, as reben evaluate does it."""
    import torch

    from reben.model.classifier import Classifier
    from reben.model.inference import optimise_for_inference

    model = optimise_for_inference(Classifier(backbone, bands).eval())
    images = torch.randn(batch_size, len(model.bands), 120, 120)
    seconds = []
    for _ in range(steps + 1):
        started = time.perf_counter()
        model(images)
        seconds.append(time.perf_counter() - started)
    return {"rate": batch_size / min(seconds[1:])}


def measure_bootstrap() -> dict[str, float]:
    """Return the seconds of all resamples of a report at full size."""
    from bootstrap import make_predictions

    from reben.learn.metrics.bootstrap import bootstrap

    predictions = make_predictions(TEST)
    bootstrap(predictions, rounds=1)  # compiles
    started = time.perf_counter()
    for by in ("tile", "patch"):
        bootstrap(predictions, by=by, rounds=ROUNDS)
    return {"seconds": time.perf_counter() - started}


def alone(work: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:  # noqa: ANN401
    """Return what ``work`` measures in a process of its own, and the most memory that took."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_with_memory, work, *arguments).result()


def _with_memory(work: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:  # noqa: ANN401
    found = work(*arguments)
    return {**found, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def hours(seconds: float) -> str:
    """Return a duration for people, with two digits that mean something."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 36_000 else f"{seconds / 3600:,.0f} h"


def gigabytes(num_bytes: float) -> str:
    """Return a number of bytes in GB."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes < 1e11 else f"{num_bytes / 1e9:.0f} GB"


def tables(found: dict[str, Any]) -> list[str]:
    """Return the tables of estimates, in Markdown."""
    store, boot = found["store"], found["bootstrap"]
    pairs = TRAIN + VALIDATION + TEST
    lines = [
        "| Command | Measured here | Estimate at full size |",
        "|---|---|---|",
        f"| `reben encode` of folders, {pairs:,} pairs | {store['rate']:,.0f} pairs/s, "
        f"{store['bytes'] / 1e3:.0f} kB a pair | {hours(pairs / store['rate'])}, a store of "
        f"{gigabytes(pairs * store['bytes'])} |",
    ]
    for name, model in found["models"].items():
        train, predict = model["training"], model["prediction"]
        step = 1 / train["rate"] + 1 / model["loader"]["rate"]
        check = 1 / predict["rate"] + 1 / model["loader"]["rate"]
        epoch = TRAIN * step + VALIDATION * check
        lines += [
            f"| `reben train`, {name}, an epoch | {train['rate']:.1f} images/s training, "
            f"{predict['rate']:.0f} predicting, {model['loader']['rate']:,.0f} loading | "
            f"{hours(epoch)}; {EPOCHS} epochs {hours(EPOCHS * epoch)} |",
            f"| `reben evaluate`, {name}, {TEST:,} patches | {predict['rate']:.0f} images/s | "
            f"{hours(TEST * check)}, then the report |",
        ]
    lines += [
        f"| a report: {ROUNDS:,} resamples by tile and by patch, {TEST:,} x 19 | "
        f"{boot['seconds']:.0f} s, {gigabytes(boot['memory'])} | the same: measured at full size |",
        "",
        f"| Training in memory | Weights | Kept per image | {BATCH} at once | "
        f"with `accumulate` {PARTS} |",
        "|---|---|---|---|---|",
    ]
    for name, part in found["memory"].items():
        fixed = 16 * part["weights"]
        lines.append(
            f"| {name} | {part['weights'] / 1e6:.1f} M | {part['kept'] / 1e6:.1f} MB | "
            f"{gigabytes(fixed + BATCH * part['kept'])} | "
            f"{gigabytes(fixed + BATCH / PARTS * part['kept'])} |"
        )
    return lines


def main() -> None:
    """Measure the parts, and print what they come to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["resnet18:all", "resnet50:s2"])
    parser.add_argument(
        "--memory", nargs="*", default=["convnextv2_base:s2", "vit_base_patch8_224:s2"],
        help="further models whose memory alone is estimated",
    )  # fmt: skip
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--json", type=Path)
    words = parser.parse_args()
    load = os.getloadavg()[0]
    found: dict[str, Any] = {"models": {}, "memory": {}}
    with tempfile.TemporaryDirectory() as folder:
        found["store"] = alone(measure_store, folder, words.pairs)
        for name in words.models:
            backbone, bands = name.split(":")
            size = (backbone, bands, words.batch_size, words.steps)
            found["models"][f"{backbone} {bands}"] = {
                "training": alone(measure_training, *size),
                "prediction": alone(measure_prediction, *size),
                "loader": alone(measure_loader, folder, bands),
            }
    for name in [*words.models, *words.memory]:
        backbone, bands = name.split(":")
        found["memory"][f"{backbone} {bands}"] = alone(measure_memory, backbone, bands)
    found["bootstrap"] = alone(measure_bootstrap)
    found["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, load before {load:.1f}"
    print(*tables(found), "", f"Measured on: {found['machine']}", sep="\n")
    if words.json is not None:
        words.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
