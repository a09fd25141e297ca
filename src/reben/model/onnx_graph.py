"""The network as ONNX has it: raw bands by name in, scores and logits out; and its metadata.

Axes: B patches, h rows, w columns of a band at native size, K labels.
"""

import copy
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from reben.errors import ExportError, first_line
from reben.model.classifier import Classifier
from reben.model.network import scores_of
from reben.spec.bands import PIXEL_METRES, native_size, sensor

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 18
"""The default version of the ONNX operators, for ONNX Runtime 1.14 and later."""
SCORES = "scores"
LOGITS = "logits"
_LOGITS = "what the network returns, before temperature and sigmoid"
Sentinel2Dtype = Literal["float32", "uint16"]
"""The type of the Sentinel-2 inputs of a file; Sentinel-1 inputs are always float32."""
FORMAT = "1"
"""Version of the properties of a file; it grows when a key changes its meaning."""


class RawBandsToScores(nn.Module):
    """A classifier that takes raw bands one by one, in the order of its channels.

    Preprocessing is inside, and scores are those at the temperature of the model, as in
    `Classifier.predict`. The classifier itself is copied, to the CPU and into eval mode.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.bands = classifier.bands
        self.temperature = classifier.config.temperature
        self.network = copy.deepcopy(classifier.model).cpu().eval()
        self.preprocess = copy.deepcopy(classifier.preprocess).cpu()
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, *bands_Bhw: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores and logits, [B, K] each, of one tensor [B, h, w] a band."""
        named = dict(zip(self.bands, bands_Bhw, strict=True))
        logits_BK = self.network(self.preprocess(named))
        return scores_of(logits_BK, self.temperature), logits_BK

    def random_bands(
        self, num_patches: int, sentinel2_dtype: torch.dtype, seed: int = 0
    ) -> dict[str, Tensor]:
        """Return made-up raw values, within about two standard deviations of the means."""
        generator = torch.Generator().manual_seed(seed)
        statistics, bands = self.preprocess.statistics, {}
        for name in self.bands:
            side = native_size(name)
            noise = 4 * torch.rand((num_patches, side, side), generator=generator) - 2
            values = statistics.mean[name] + statistics.std[name] * noise
            if sensor(name) == "Sentinel-2":
                values = values.clamp(0, 65535).round().to(sentinel2_dtype)
            bands[name] = values
        return bands


def translate(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], opset: int, name: str
) -> "ModelProto":
    """Return a module in ONNX, for batches of any size.

    Args:
        module: In eval mode, on the CPU; ``forward(*inputs)``.
        inputs: Input -> an example, [B, ...] with the same B of 2 or more.
        outputs: Names of what it returns.
        opset: Version of the operators.
        name: What errors call it.

    Raises:
        ExportError: If ONNX cannot express it in that opset.
    """
    batch = torch.export.Dim("batch")
    try:
        with warnings.catch_warnings():
            # Every input has as many patches; torch would rather name each axis by itself.
            warnings.filterwarnings("ignore", "# The axis name: batch will not be", UserWarning)
            program = torch.onnx.export(
                module,
                tuple(inputs.values()),
                dynamo=True,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=(tuple({0: batch} for _ in inputs),),
                opset_version=opset,
                external_data=False,
                verbose=False,
            )
    except (torch.onnx.OnnxExporterError, RuntimeError) as error:
        raise ExportError(
            f"torch {torch.__version__} cannot write {name} as ONNX: {first_line(error)}. "
            "Nothing was written. Try a newer torch and onnxscript, or another backbone."
        ) from error
    proto: ModelProto = program.model_proto  # type: ignore[union-attr]
    found = {entry.domain: entry.version for entry in proto.opset_import}.get("")
    if found != opset:
        raise ExportError(
            f"{name} came out in opset {found} instead of {opset}: torch {torch.__version__} and "
            "onnxscript cannot convert it. Ask for that opset instead."
        )
    return proto


def remove_traces(part: Any) -> None:  # noqa: ANN401 - any message of ONNX
    """Remove what the exporter notes of this machine: paths of source files, stack traces."""
    for name in ("doc_string", "metadata_props"):
        if name in part.DESCRIPTOR.fields_by_name:
            part.ClearField(name)
    for field, value in part.ListFields():
        if field.message_type is not None:
            for inner in [value] if hasattr(value, "ListFields") else value:
                remove_traces(inner)


def describe(
    proto: "ModelProto", model: Classifier, sentinel2_dtype: Sentinel2Dtype, opset: int
) -> None:
    """Describe the model in the file: as properties, and in words at its inputs."""
    from onnx.helper import set_model_props

    proto.producer_name = "reben"
    proto.producer_version = model.config.reben_version
    proto.graph.name = model.config.backbone
    set_model_props(proto, metadata(model, sentinel2_dtype, opset))
    for value in proto.graph.output:
        value.doc_string = scores_in_words(model) if value.name == SCORES else _LOGITS
    for value in proto.graph.input:
        metres = PIXEL_METRES[value.name]
        value.doc_string = f"{sensor(value.name)} {value.name}, {metres} m, {_unit(value.name)}"


def metadata(model: Classifier, sentinel2_dtype: Sentinel2Dtype, opset: int) -> dict[str, str]:
    """Return the properties of an ONNX file: name -> text, lists and mappings as JSON."""
    config, statistics = model.config, model.config.statistics
    lists: Mapping[str, Any] = {
        "bands": list(model.bands),
        "units": {name: _unit(name) for name in model.bands},
        "native_sizes": {name: native_size(name) for name in model.bands},
        "pixel_metres": {name: PIXEL_METRES[name] for name in model.bands},
        "band_mean": [statistics.mean[name] for name in model.bands],
        "band_std": [statistics.std[name] for name in model.bands],
        "labels": list(model.labels),
        "thresholds": list(config.thresholds),
        "tuned_on": config.to_dict()["tuned_on"],
    }
    return {
        **{key: json.dumps(value, ensure_ascii=False) for key, value in lists.items()},
        "format": FORMAT,
        "backbone": config.backbone,
        "statistics_source": statistics.source,
        "upsampling": config.upsampling,
        "image_size": str(config.image_size),
        "temperature": repr(config.temperature),
        "scores": scores_in_words(model),
        "fingerprint": model.fingerprint(),
        "sentinel2_dtype": sentinel2_dtype,
        "opset": str(opset),
        "reben_version": config.reben_version,
    }


def scores_in_words(model: Classifier) -> str:
    """Return what the scores of a model are."""
    temperature = model.config.temperature
    if temperature == 1:
        return "sigmoid of the logits, 0 to 1; not calibrated"
    return f"sigmoid of the logits divided by the temperature {temperature!r}, 0 to 1"


def _unit(name: str) -> str:
    if sensor(name) == "Sentinel-1":
        return "dB"
    return "digital number (reflectance x 10000, without BOA offset)"
