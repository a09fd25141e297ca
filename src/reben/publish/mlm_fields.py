"""The fields of a STAC item that follow from a model's config: bands, input, output, settings.

They are those of the STAC Machine Learning Model extension 1.6.0, as stac-model 0.7.0 writes them.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from reben.model.config import ModelConfig
from reben.spec.bands import (
    PIXEL_METRES,
    POLARISATION,
    RADAR_BAND,
    RADAR_GIGAHERTZ,
    SPECTRUM,
    sensor,
)
from reben.spec.labels import COLOURS
from reben.spec.statistics import Upsampling

_RESIZE: Mapping[Upsampling, str] = MappingProxyType(
    {
        "nearest": "interpolation-nearest",
        "bilinear": "interpolation-linear",
        "bicubic": "interpolation-cubic",
    }
)
_TASKS = ("classification",)
"""The extension has no word for several labels at once; ``scene-classification`` is one label."""


def band_fields(name: str) -> dict[str, Any]:
    """Return what a catalogue says of band ``name``: metres, unit, wavelength or polarisation."""
    fields: dict[str, Any] = {"name": name, "gsd": PIXEL_METRES[name]}
    if sensor(name) == "Sentinel-1":
        return {
            **fields,
            "description": f"Sentinel-1 backscatter in dB, {POLARISATION[name]}",
            "data_type": "float32",
            "unit": "dB",
            "sar:polarizations": [POLARISATION[name]],
            "sar:frequency_band": RADAR_BAND,
            "sar:center_frequency": RADAR_GIGAHERTZ,
        }
    spectrum = SPECTRUM[name]
    return {
        **fields,
        "description": (
            "Sentinel-2 digital numbers: surface reflectance x 10000, without the BOA offset of "
            "processing baseline 04.00 and later"
        ),
        "data_type": "uint16",
        "eo:common_name": spectrum.common_name,
        "eo:center_wavelength": spectrum.centre_micrometres,
        "eo:full_width_half_max": spectrum.width_micrometres,
    }


def input_fields(config: ModelConfig) -> dict[str, Any]:
    """Return what goes into the network: bands in order, shape, and how values are normalised."""
    size, statistics = config.image_size, config.statistics
    return {
        "name": "patch",
        "description": (
            f"One patch of 1200 m x 1200 m: every band brought to {size} x {size} pixels by "
            f"{config.upsampling} upsampling, then (x - mean) / stddev of its band, stacked in "
            f"the order of bands. Statistics: {statistics.source}."
        ),
        "bands": list(config.bands),
        "variables": [],
        "input": {
            "shape": [-1, config.channels, size, size],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": [
            {"type": "z-score", "mean": statistics.mean[name], "stddev": statistics.std[name]}
            for name in config.bands
        ],
        "resize_type": _RESIZE[config.upsampling],
        "pre_processing_function": {
            "format": "python",
            "expression": "reben.data.preprocess.Preprocess",
            "description": "Resizing, scaling and stacking in this order, from raw named bands.",
        },
    }


def output_fields(config: ModelConfig) -> dict[str, Any]:
    """Return what comes out of the network: logits, the labels they are of, and their sigmoid."""
    t = config.temperature
    return {
        "name": "logits",
        "description": (
            "Scores before the sigmoid, one a label; the labels do not exclude each other. A "
            "label counts as present where its score is greater than its threshold, see "
            "thresholds in mlm:hyperparameters."
        ),
        "tasks": list(_TASKS),
        "bands": [],
        "variables": [],
        "result": {
            "shape": [-1, config.classes],
            "dim_order": ["batch", "class"],
            "data_type": "float32",
        },
        "classification:classes": [
            _class_fields(value, label) for value, label in enumerate(config.labels)
        ],
        "post_processing_function": {
            "format": "python",
            "expression": "torch.sigmoid(logits)" if t == 1 else f"torch.sigmoid(logits / {t!r})",
            "description": "Logits to scores of 0 to 1.",
        },
    }


def hyperparameters(config: ModelConfig, num_train: int | None) -> dict[str, Any]:
    """Return settings of the model that no other field holds."""
    return {
        "image_size": config.image_size,
        "upsampling": config.upsampling,
        "drop_rate": config.drop_rate,
        "drop_path_rate": config.drop_path_rate,
        "temperature": config.temperature,
        "thresholds": list(config.thresholds),
        **({} if num_train is None else {"num_train": num_train}),
    }


def _class_fields(value: int, label: str) -> dict[str, Any]:
    """Return a class as the STAC extension classification has it; its name is for machines."""
    fields = {
        "value": value,
        "name": re.sub(r"[^0-9a-z]+", "-", label.lower()).strip("-") or f"label-{value}",
        "description": label,
    }
    colour = COLOURS.get(label)
    return fields if colour is None else {**fields, "color_hint": colour.lstrip("#").upper()}
