"""The network as ONNX sees it: raw bands by name in, scores and logits out.

Axes: B patches, h rows, w columns of a band at native size, K labels.

What an ONNX file says of itself: bands, units, statistics, labels, thresholds.
"""

import copy
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from reben.model.classifier import Classifier, scores_of
from reben.spec.bands import PIXEL_METRES, native_size, sensor

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

SCORES = "scores"
LOGITS = "logits"


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
        """Return made-up raw values, within about two standard deviations of the means.

        Args:
            num_patches: How many patches.
            sentinel2_dtype: What Sentinel-2 bands are of; their values are whole numbers.
            seed: What they follow from.
        """
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


Sentinel2Dtype = Literal["float32", "uint16"]
"""What the Sentinel-2 inputs of a file are of; Sentinel-1 inputs are float32 always."""
FORMAT = "1"
"""Version of the properties of a file; it grows when a key changes its meaning."""


def remove_traces(proto: "ModelProto") -> None:
    """Take out what the exporter notes of the machine: paths of source files, stack traces."""
    proto.doc_string = ""
    for function in proto.functions:
        function.doc_string = ""
        del function.metadata_props[:]
        _remove_of_nodes(function.node)
    _remove_of_graph(proto.graph)


def _remove_of_graph(graph: "GraphProto") -> None:
    parts = (graph, *graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for part in parts:
        part.doc_string = ""
        del part.metadata_props[:]
    _remove_of_nodes(graph.node)


def _remove_of_nodes(nodes: Iterable["NodeProto"]) -> None:
    for node in nodes:
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            attribute.doc_string = ""
            inside = [attribute.g] if attribute.HasField("g") else attribute.graphs
            for graph in inside:  # branches and bodies of loops
                _remove_of_graph(graph)


def describe(
    proto: "ModelProto", model: Classifier, sentinel2_dtype: Sentinel2Dtype, opset: int
) -> None:
    """Put what the model is into the file: as properties, and as words at inputs and outputs."""
    from onnx.helper import set_model_props

    proto.producer_name = "reben"
    proto.producer_version = model.config.reben_version
    proto.graph.name = model.config.backbone
    set_model_props(proto, metadata(model, sentinel2_dtype, opset))
    for value in proto.graph.input:
        metres = PIXEL_METRES[value.name]
        value.doc_string = f"{sensor(value.name)} {value.name}, {metres} m, {_unit(value.name)}"


def metadata(model: Classifier, sentinel2_dtype: Sentinel2Dtype, opset: int) -> dict[str, str]:
    """Return the properties of an ONNX file: name -> text, lists and mappings as JSON.

    Args:
        model: The classifier.
        sentinel2_dtype: What Sentinel-2 bands are given as.
        opset: Version of the ONNX operators.
    """
    config, statistics = model.config, model.config.statistics
    values: Mapping[str, Any] = {
        "bands": list(model.bands),
        "units": {name: _unit(name) for name in model.bands},
        "native_sizes": {name: native_size(name) for name in model.bands},
        "pixel_metres": {name: PIXEL_METRES[name] for name in model.bands},
        "band_mean": [statistics.mean[name] for name in model.bands],
        "band_std": [statistics.std[name] for name in model.bands],
        "labels": list(model.labels),
        "thresholds": list(config.thresholds),
    }
    plain = {
        "format": FORMAT,
        "backbone": config.backbone,
        "statistics_source": statistics.source,
        "upsampling": config.upsampling,
        "image_size": str(config.image_size),
        "temperature": repr(config.temperature),
        "sentinel2_dtype": sentinel2_dtype,
        "opset": str(opset),
        "reben_version": config.reben_version,
    }
    return {
        **{key: json.dumps(value, ensure_ascii=False) for key, value in values.items()},
        **plain,
    }


def _unit(name: str) -> str:
    if sensor(name) == "Sentinel-1":
        return "dB"
    return "digital number (reflectance x 10000, without BOA offset)"
