"""ONNX: a classifier as one file that runs without reben and without torch.

Raw bands go in by name, each at its native size; scores and logits come out. The file includes
upsampling and normalisation, and the names of bands and labels as metadata.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import torch

from reben.errors import ConfigError, ExportError, first_line
from reben.model.classifier import Classifier
from reben.model.inference import InferenceClassifier
from reben.model.onnx_graph import (
    LOGITS,
    OPSET,
    SCORES,
    RawBandsToScores,
    Sentinel2Dtype,
    describe,
    remove_traces,
    translate,
)
from reben.model.open import ModelLike, open_model
from reben.model.weights import require_finite
from reben.support.atomic import atomic_file
from reben.support.extras import optional

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto
    from torch import Tensor

TOLERANCE = 1e-4
"""How far a logit or a score of the file may be from that of the model."""
ORDINARY_LOGIT = 10.0
"""Beyond this size the tolerance of a logit grows with it, as the rounding of float32 does; its
score is 0 or 1 to four decimals anyway."""
_LARGEST_BYTES = 2**31 - 2**20
_PATCHES_OF_CHECK = (3, 1)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnnxFile:
    """The file that `export_onnx` wrote.

    Args:
        path: The file.
        opset: Version of its operators.
        inputs: Its inputs: the bands, in the order of the channels.
        outputs: Its outputs, in order.
        num_bytes: Its size.
        max_difference: Highest |difference| between its logits or scores and those of the model
            on random patches, logits beyond 10 scaled to 10 first; None without ONNX Runtime.
    """

    path: Path
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    num_bytes: int
    max_difference: float | None


def export_onnx(
    model: ModelLike,
    out: str | Path,
    *,
    opset: int = OPSET,
    sentinel2_dtype: Sentinel2Dtype = "float32",
) -> OnnxFile:
    """Write a classifier as an ONNX file, check it, and return its description.

    The file has one input for each band, named after it: raw values [batch, h, w] at native size,
    digital numbers without BOA offset (Sentinel-2), dB (Sentinel-1). Its outputs are ``scores``
    and ``logits``, float32 [batch, labels]. It does not check values as `Classifier.predict` does.
    If ONNX Runtime is installed, random patches go through file and model, and the file is kept
    only if logits and scores agree within 1e-4 (logits beyond 10: within 1e-5 of their size).
    ``model`` itself is not changed.

    Args:
        model: Whatever `reben.open_model` takes.
        out: The file to write; an existing one is replaced once the new one is checked.
        opset: Version of the ONNX operators, at least 18.
        sentinel2_dtype: What Sentinel-2 bands are given as.

    Raises:
        MissingExtraError: If onnx or onnxscript is not installed.
        ConfigError: If a setting is invalid, or the classifier was optimised for inference.
        ExportError: If ONNX cannot express the model, or the file gives other scores.
        OutputError: If the file cannot be written.
    """
    for package in ("onnx", "onnxscript"):
        optional(package, "onnx", "Export to ONNX")
    model = open_model(model)
    _check_settings(model, opset, sentinel2_dtype)
    require_finite(model.state_dict(), "Nothing was written: the weights", "Open the model again.")
    graph = RawBandsToScores(model)
    dtype: torch.dtype = getattr(torch, sentinel2_dtype)
    name = model.config.backbone
    proto = _translate(graph, opset, dtype, name)
    remove_traces(proto)
    describe(proto, model, sentinel2_dtype, opset)
    _check(proto, name)
    with atomic_file(out) as path:
        content = proto.SerializeToString()
        path.write_bytes(content)
        difference = _difference(graph, path, dtype)
        if difference is not None and not difference <= TOLERANCE:
            raise ExportError(
                f"{name} as ONNX (opset {opset}) gives logits or scores that differ by "
                f"{difference:.1e} from those of the model; {TOLERANCE:.0e} is allowed. Nothing "
                "was written. Try another --opset, or another version of torch or onnxruntime."
            )
    return OnnxFile(
        path=Path(out),
        opset=opset,
        inputs=model.bands.names,
        outputs=(SCORES, LOGITS),
        num_bytes=len(content),
        max_difference=difference,
    )


def _check_settings(model: Classifier, opset: int, sentinel2_dtype: str) -> None:
    import onnx

    if isinstance(model, InferenceClassifier):
        raise ConfigError(
            "A classifier that was optimised for inference cannot be exported. Export the one "
            "that it was made from: ONNX Runtime optimises by itself."
        )
    newest = onnx.defs.onnx_opset_version()
    if not OPSET <= opset <= newest:
        raise ConfigError(
            f"opset must be {OPSET} to {newest} (that of onnx {onnx.__version__}); got {opset}."
        )
    if sentinel2_dtype not in get_args(Sentinel2Dtype):
        raise ConfigError(
            f"Sentinel-2 bands can be {' or '.join(get_args(Sentinel2Dtype))}; got "
            f"{sentinel2_dtype!r}."
        )
    num_bytes = sum(tensor.nbytes for tensor in model.state_dict().values())
    if num_bytes > _LARGEST_BYTES:
        raise ConfigError(
            f"The weights take {num_bytes / 1e9:.1f} GB; an ONNX file with its weights inside "
            "cannot be larger than 2 GB."
        )


def _translate(
    graph: RawBandsToScores, opset: int, sentinel2_dtype: torch.dtype, name: str
) -> "ModelProto":
    """Return the graph in ONNX, in the opset that was asked for."""
    # Two patches: a batch of one would be taken for fixed.
    return translate(graph, graph.random_bands(2, sentinel2_dtype), (SCORES, LOGITS), opset, name)


def _check(proto: "ModelProto", name: str) -> None:
    """Check the file against the rules of ONNX, with all shapes inferred."""
    import onnx

    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{name} as ONNX is not valid: {error}. Nothing was written.") from error


def _difference(graph: RawBandsToScores, path: Path, sentinel2_dtype: torch.dtype) -> float | None:
    """Return how far the outputs of the file are from the model's; None without ONNX Runtime."""
    try:
        import onnxruntime
    except ImportError:
        logger.warning(
            "ONNX Runtime is not installed, so the file was not compared with the model. "
            'Install it with: pip install "reben[onnx]"'
        )
        return None
    batches = [graph.random_bands(n, sentinel2_dtype, seed=n) for n in _PATCHES_OF_CHECK]
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        found = [
            session.run([SCORES, LOGITS], {name: band.numpy() for name, band in bands.items()})
            for bands in batches
        ]
    except Exception as error:  # its own kinds of error, which derive from nothing else
        raise ExportError(
            f"ONNX Runtime {onnxruntime.__version__} cannot run the file: {first_line(error)}. "
            "Nothing was written. Try a lower --opset, or a newer onnxruntime."
        ) from error
    with torch.inference_mode():
        wanted = [graph(*bands.values()) for bands in batches]
    return max(
        _highest_difference(ours, theirs)
        for batch, run in zip(wanted, found, strict=True)
        for ours, theirs in zip(batch, run, strict=True)
    )


def _highest_difference(ours: "Tensor", theirs: "NDArray[np.float32]") -> float:
    """Return the highest |difference|, scaled down for huge logits; infinite for NaN."""
    size = (ours.abs() / ORDINARY_LOGIT).clamp(min=1)
    difference = ((ours - torch.from_numpy(theirs)).abs() / size).max().item()
    return difference if difference == difference else float("inf")  # noqa: PLR0124 - NaN
