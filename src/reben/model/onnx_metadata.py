"""What an ONNX file says of itself: bands, units, statistics, labels, thresholds."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from reben.model.classifier import Classifier
from reben.spec.bands import PIXEL_METRES, native_size, sensor

if TYPE_CHECKING:
    from onnx import ModelProto

Sentinel2Dtype = Literal["float32", "uint16"]
"""What the Sentinel-2 inputs of a file are of; Sentinel-1 inputs are float32 always."""
FORMAT = "1"
"""Version of the properties of a file; it grows when a key changes its meaning."""


def remove_traces(proto: "ModelProto") -> None:
    """Take out what the exporter notes of the machine: paths of source files, stack traces."""
    proto.doc_string = ""
    graphs = [proto.graph, *proto.functions]
    del proto.graph.metadata_props[:]
    for graph in graphs:
        graph.doc_string = ""
        for node in graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        value.doc_string = ""
        del value.metadata_props[:]
    for tensor in proto.graph.initializer:
        tensor.doc_string = ""
        del tensor.metadata_props[:]


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
