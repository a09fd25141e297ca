"""A classifier as an ONNX file that computes in 8-bit integers, and what that costs in precision.

Axes: B patches of a batch, N patches, K labels.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from reben.data.loader import Dataset, RawLoader
from reben.errors import ExportError, RebenError, first_line
from reben.learn.metrics.classification import compute_metrics
from reben.model.export import export_onnx
from reben.model.onnx_graph import OPSET, SCORES, remove_traces
from reben.model.open import ModelLike, open_model
from reben.support.atomic import atomic_file, write_text
from reben.support.extras import optional
from reben.support.numbers import require_whole
from reben.support.plain_json import to_plain

NUM_CALIBRATION = 256
"""Patches of the training split that the ranges of the layers are taken from."""
_OPERATORS = ["Conv", "MatMul", "Gemm"]
_BATCH = 16


@dataclass(frozen=True)
class Int8Cost:
    """What a file in 8-bit integers was made of, and its average precision beside the float file's.

    Args:
        num_calibration: Patches of the training split that gave the ranges of the layers.
        num_validation: Patches of the validation split that both files were measured on.
        macro: Mean over the labels of the average precision, of float and int8.
        micro: Average precision over all decisions at once, of float and int8.
        max_difference: Highest |difference| of a score on these patches.
    """

    num_calibration: int
    num_validation: int
    macro: tuple[float, float]
    micro: tuple[float, float]
    max_difference: float


@dataclass(frozen=True)
class Int8File:
    """The file that `export_int8` wrote, with `Int8Cost` in a JSON file beside it."""

    path: Path
    beside: Path
    num_bytes: int
    cost: Int8Cost


def export_int8(
    model: ModelLike,
    dataset: Dataset,
    out: str | Path,
    *,
    num_calibration: int = NUM_CALIBRATION,
    opset: int = OPSET,
) -> Int8File:
    """Write a classifier as an ONNX file whose convolutions and products are of 8-bit integers.

    Inputs, outputs and metadata are those of `reben.export_onnx`, Sentinel-2 bands float32. The
    ranges of the layers come from patches of the training split, evenly spaced; the change of
    average precision is measured on all patches of the validation split, and written into the
    metadata (``int8``) and beside the file (``.json``). No limit is set to it.

    Args:
        model: Whatever `reben.open_model` takes.
        dataset: Patches of both splits.
        out: The file to write, for example ``model.int8.onnx``.
        num_calibration: How many patches of the training split, at most.
        opset: Version of the ONNX operators.

    Raises:
        MissingExtraError: If onnx, onnxscript or onnxruntime is not installed.
        EmptySplitError: If there is no patch of a split.
        BandsMismatchError: If the store lacks a band.
        ExportError: If ONNX Runtime cannot make or run the file.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        optional(package, "onnx", "Export to int8")
    require_whole("num_calibration", num_calibration)
    classifier = open_model(model, "cpu")
    dataset = dataset.with_bands(classifier.bands)
    train, validation = dataset["train"], dataset["validation"]
    for part in (train, validation):
        part.require_stored()
    rows = np.linspace(0, len(train) - 1, min(num_calibration, len(train))).round().astype(int)
    some = replace(train, table=train.table.take(rows))
    with TemporaryDirectory(prefix="reben-int8-") as folder, atomic_file(out) as path:
        plain, small = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        export_onnx(classifier, plain, opset=opset)
        _quantise(plain, small, some)
        labels = validation.table.multi_hot(classifier.labels)
        scores = [_scores(file, validation) for file in (plain, small)]
        found = [compute_metrics(one, labels, classifier.labels) for one in scores]
        cost = Int8Cost(
            len(some),
            len(validation),
            (found[0].macro.average_precision, found[1].macro.average_precision),
            (found[0].micro.average_precision, found[1].micro.average_precision),
            float(np.abs(scores[0] - scores[1]).max()),
        )
        num_bytes = _write(path, small, plain, cost)
    beside = Path(out).with_suffix(".json")
    write_text(beside, json.dumps(to_plain(cost), indent=2) + "\n")
    return Int8File(Path(out), beside, num_bytes, cost)


def _quantise(plain: Path, small: Path, patches: Dataset) -> None:
    """Write the int8 file of a float file."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    batches = _batches(patches)

    class Patches(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(batches, None)

    ready = plain.with_name("ready.onnx")
    try:
        quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
        quantize_static(
            str(ready),
            str(small),
            Patches(),
            op_types_to_quantize=_OPERATORS,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
    except RebenError:
        raise
    except Exception as error:  # its own kinds of error, which derive from nothing else
        raise ExportError(
            f"ONNX Runtime cannot make the network 8 bit: {first_line(error)}. Nothing was "
            "written. Export it without int8."
        ) from error


def _batches(patches: Dataset) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yield bands by name, float32 [B, h, w]."""
    for batch in RawLoader(patches, _BATCH):
        yield {name: band.numpy().astype(np.float32) for name, band in batch.bands.items()}


def _scores(file: Path, patches: Dataset) -> NDArray[np.float32]:
    """Return the scores that a file gives, float32 [N, K]."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        found = [session.run([SCORES], bands)[0] for bands in _batches(patches)]
    except RebenError:
        raise
    except Exception as error:  # as above
        raise ExportError(
            f"ONNX Runtime cannot run the file: {first_line(error)}. Nothing was written."
        ) from error
    return np.concatenate(found)


def _write(path: Path, small: Path, plain: Path, cost: Int8Cost) -> int:
    """Write the int8 file with the metadata of the float file, and its cost; return its size."""
    import onnx
    from onnx.helper import set_model_props

    proto, known = onnx.load(small), onnx.load(plain)
    remove_traces(proto)
    proto.producer_name, proto.producer_version = known.producer_name, known.producer_version
    about = {entry.key: entry.value for entry in known.metadata_props}
    set_model_props(proto, about | {"int8": json.dumps(to_plain(cost))})
    words = {value.name: value.doc_string for value in (*known.graph.input, *known.graph.output)}
    for value in (*proto.graph.input, *proto.graph.output):
        value.doc_string = words[value.name]
    content = proto.SerializeToString()
    path.write_bytes(content)
    return len(content)
