"""The verb that measures how fast models are: benchmark."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from reben.app.flags import AsJson, AtLeastOne
from reben.app.terminal import format_bytes, print_json, print_table, print_text, progress_bar, talk
from reben.errors import ConfigError
from reben.spec.bands import BandSet

if TYPE_CHECKING:
    from reben.learn.speed import Measurement, Speed
    from reben.model.classifier import Classifier


def benchmark(  # noqa: PLR0913 - all but the first are flags
    model: str | None = None,
    /,
    *,
    backbone: str | None = None,
    bands: str | None = None,
    batch_sizes: str = "1,8,32",
    precision: str = "32",
    compile: bool = False,
    engines: str | None = None,
    device: str = "auto",
    rounds: AtLeastOne = 10,
    out: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Measure images per second and latency of a model on this machine, plain and optimised.

    Args:
        model: A run folder, a model folder, or the name of a model on the Hub.
        backbone: Measure an untrained model of this timm architecture instead.
        bands: Bands of that one, for example s2; or of a published model that does not say.
        batch_sizes: Patches per call, separated by commas.
        precision: 32, bf16 or both, separated by a comma.
        compile: Compile the network as well, which can take minutes.
        engines: Measure these as well, separated by commas: onnx (ONNX Runtime), openvino.
        device: Where to compute: auto (an accelerator if there is one, else the CPU), cpu, cuda,
            cuda:1, mps.
        rounds: Calls to time for each row.
        out: File to write the measurements to; reben compare shows those in a speed.json beside
            a report.
        as_json: Write the measurements as JSON.
    """
    sizes = _numbers(batch_sizes)
    classifier, name = _open(model, backbone, bands, device)
    from reben.learn.speed import benchmark as measure

    with progress_bar("rounds") as progress:
        speed = measure(
            classifier,
            name=name,
            batch_sizes=sizes,
            precisions=cast("Any", [word.strip() for word in precision.split(",")]),
            compile=compile,
            engines=cast("Any", [] if engines is None else engines.split(",")),
            rounds=rounds,
            progress=progress,
        )
    if out is not None:
        speed.save(out)
        talk(f"The measurements are in {out}.")
    if as_json:
        print_json(speed.to_dict())
    else:
        _print_speed(speed)


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise ConfigError(
            f"--batch-sizes takes whole numbers separated by commas, such as 1,8,32, not {text}."
        ) from None


def _open(
    model: str | None, backbone: str | None, bands: str | None, device: str
) -> "tuple[Classifier, str]":
    """Return the classifier to measure and its name."""
    from reben.model.open import name_of, open_model, pick_device, require_device_name

    if (model is None) == (backbone is None):
        raise ConfigError("Say what to measure: a model, or an untrained one by --backbone.")
    if model is not None:
        return open_model(model, device, bands=bands), name_of(model)
    if bands is None:
        raise ConfigError(f"--backbone {backbone} also needs --bands, for example s2.")
    require_device_name(device)
    band_set = BandSet.parse(bands)
    from reben.model.classifier import Classifier

    classifier = Classifier(str(backbone), band_set).to(pick_device(device))
    return classifier, name_of(classifier)


def _print_speed(speed: "Speed") -> None:
    print_text(
        f"{speed.name}: {speed.parameters:,} parameters, {speed.gflops:.2f} GFLOPs per patch of "
        f"{speed.image_size} x {speed.image_size} pixels and {len(speed.bands)} bands"
    )
    print_text(f"{speed.device}, {speed.threads} threads, PyTorch {speed.torch_version}")
    print_text(f"Optimised: {', '.join(speed.optimisations) or 'nothing'}")
    if speed.seconds_to_compile is not None:
        print_text(f"Compiling took {speed.seconds_to_compile:.0f} s for the first batch size.")
    eager = {
        (row.precision, row.batch_size): row for row in speed.measurements if row.way == "eager"
    }
    columns = (
        "batch>", "precision", "way", "images/s>", "to eager>", "median ms>", "p95 ms>",
        "logits differ by>", "memory>",
    )  # fmt: skip
    print_table(columns, [_cells(row, eager) for row in speed.measurements])
    if speed.process_peak_bytes is not None:
        print_text(f"Peak memory of the process: {format_bytes(speed.process_peak_bytes)}")


def _cells(row: "Measurement", eager: "dict[tuple[str, int], Measurement]") -> tuple[object, ...]:
    base = eager[row.precision, row.batch_size]
    return (
        row.batch_size,
        row.precision,
        row.way,
        f"{row.images_per_second:.1f}",
        f"{row.images_per_second / base.images_per_second:.2f} x",
        f"{row.latency_ms:.1f}",
        f"{row.latency_p95_ms:.1f}",
        f"{row.max_difference:.1e}",
        "" if row.peak_bytes is None else format_bytes(row.peak_bytes),
    )
