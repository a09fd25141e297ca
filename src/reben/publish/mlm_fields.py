"""The STAC item of a model, built from its config, report and files.

The fields are those of the STAC Machine Learning Model extension 1.6.0, as stac-model 0.7.0 writes
them. Equal input gives an equal item, so an item can be checked by building it again.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from reben.data.identity import FIRST_SECOND, LAST_SECOND, OFFICIAL, DataDescription, DataIdentity
from reben.errors import OutputError
from reben.learn.report import REPORT_FILE, Report
from reben.model.config import ModelConfig
from reben.model.folder import CONFIG_FILE
from reben.model.weights import WEIGHTS_FILE
from reben.publish.cards.example import PICTURE_FILE
from reben.spec.bands import BANDS, PIXEL_METRES, RADAR_BAND, RADAR_GIGAHERTZ, Sensor
from reben.spec.labels import COLOURS
from reben.spec.statistics import Upsampling
from reben.support.plain_json import to_plain

MLM_FILE = "mlm.json"
MLM_CURE = "Write it again with write_mlm."
CARD_FILE = "README.md"
ONNX_FILE = "model.onnx"
STAC_VERSION = "1.1.0"
MLM = "https://stac-extensions.github.io/mlm/v1.6.0/schema.json"
EO = "https://stac-extensions.github.io/eo/v2.0.0/schema.json"
SAR = "https://stac-extensions.github.io/sar/v1.3.2/schema.json"
FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
_INSTRUMENTS: Mapping[Sensor, str] = {"Sentinel-1": "c-sar", "Sentinel-2": "msi"}
_LINKS = (
    ("about", "https://zenodo.org/records/10891137", "The data set, BigEarthNet v2.0 (reBEN)"),
    ("cite-as", "https://arxiv.org/abs/2407.03653", "reBEN, the paper of the data set"),
)
_RESIZE: Mapping[Upsampling, str] = {
    "nearest": "interpolation-nearest",
    "bilinear": "interpolation-linear",
    "bicubic": "interpolation-cubic",
}
_TASKS = ("classification",)
"""The extension has no task with several labels; ``scene-classification`` means one label."""


class _Asset(NamedTuple):
    """How an item describes a file."""

    key: str
    title: str
    media_type: str
    roles: tuple[str, ...] = ("metadata",)
    artifact: Mapping[str, str] = MappingProxyType({})


_MODEL_ROLES = ("mlm:model", "mlm:weights", "data")
ASSETS: Mapping[str, _Asset] = {
    WEIGHTS_FILE: _Asset(
        "weights",
        "Weights for timm's network, under its own names after model.vision_encoder.",
        "application/octet-stream; application=safetensors",
        _MODEL_ROLES,
        {"mlm:artifact_type": "safetensors.torch.save_file"},
    ),
    ONNX_FILE: _Asset(
        "onnx",
        "The whole model: one input a band, named like it, raw values [batch, h, w] at native "
        "size; outputs scores and logits. Resizing, scaling and sigmoid are inside.",
        "application/octet-stream; application=onnx",
        _MODEL_ROLES,
        {"mlm:artifact_type": "onnx.save", "mlm:framework": "ONNX"},
    ),
    CONFIG_FILE: _Asset("config", "Config of the model", "application/json"),
    REPORT_FILE: _Asset("report", "Results of the model", "application/json"),
    CARD_FILE: _Asset("card", "Model card", "text/markdown"),
    PICTURE_FILE: _Asset("example", "A patch, its labels and scores", "image/png", ("thumbnail",)),
}
"""The files of a model that an item describes."""


@dataclass(frozen=True, kw_only=True)
class ItemFacts:
    """What an item says of a model that neither its config nor its report does."""

    name: str  # which becomes the id of the item
    licence: str  # of the weights, by its identifier on the Hub
    num_train: int | None  # number of training patches, if known
    data: DataIdentity | None  # which data set these are of, if that is recorded
    num_parameters: int
    torch_version: str  # of the PyTorch that wrote the weights


def item_fields(
    config: ModelConfig, files: Mapping[str, Path], report: Report | None, about: ItemFacts
) -> dict[str, Any]:
    """Return a model as a STAC item; ``files`` are by their names within its folder."""
    name, data = about.name, about.data
    bands = [band_fields(band) for band in config.bands]
    sensors = [sensor for sensor in _INSTRUMENTS if config.bands.of_sensor(sensor)]
    facts = None if data is None else data.facts
    trained_on = None if data is None or data.kind == "unknown" else data.name
    part = data is not None and data.kind == "official" and "train" not in data.whole
    if part:
        trained_on = f"a part of {trained_on}"
    if trained_on is not None and about.num_train is not None:
        trained_on = f"{trained_on}, {about.num_train:,} patches"
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": [
            MLM,
            FILE,
            *([EO] if "Sentinel-2" in sensors else []),
            *([SAR] if "Sentinel-1" in sensors else []),
        ],
        "id": name,
        **_place(facts),
        "properties": {
            "title": name,
            "description": (
                f"{config.backbone} for multi-label classification of {' and '.join(sensors)} "
                f"patches into {config.classes} labels, "
                + ("of unrecorded training" if trained_on is None else f"trained on {trained_on}")
                + (f" ({facts.place})." if facts and not part else ".")
            ),
            **_time(facts, report),
            "license": about.licence,
            "instruments": [_INSTRUMENTS[sensor] for sensor in sensors],
            "gsd": min(PIXEL_METRES[band] for band in config.bands),
            "bands": bands,
            "mlm:name": _machine_name(name),
            "mlm:architecture": config.backbone,
            "mlm:tasks": list(_TASKS),
            "mlm:framework": "PyTorch",
            # The extension takes three numbers, without suffixes.
            "mlm:framework_version": re.sub(r"^(\d+\.\d+\.\d+)(?s:.*)", r"\1", about.torch_version),
            "mlm:total_parameters": about.num_parameters,
            "mlm:pretrained": True,
            "mlm:pretrained_source": trained_on,
            "mlm:accelerator": None,
            "mlm:accelerator_constrained": False,
            "mlm:hyperparameters": {
                "image_size": config.image_size,
                "upsampling": config.upsampling,
                "temperature": config.temperature,
                "thresholds": list(config.thresholds),
                **({} if about.num_train is None else {"num_train": about.num_train}),
            },
            "mlm:input": [_input_fields(config)],
            "mlm:output": [_output_fields(config)],
            "reben:data": to_plain(data),
            "reben:version": config.reben_version,
            **({} if report is None else {"reben:metrics": _metrics(report)}),
        },
        "links": [{"rel": rel, "href": href, "title": title} for rel, href, title in _links(facts)],
        "assets": dict(asset_fields(file, path, bands) for file, path in sorted(files.items())),
    }


def band_fields(name: str) -> dict[str, Any]:
    """Return how a catalogue describes a band: pixel size, unit, wavelength or polarisation."""
    spectrum = BANDS[name].spectrum
    fields: dict[str, Any] = {"name": name, "gsd": BANDS[name].metres}
    if spectrum is None:
        return {
            **fields,
            "description": f"Sentinel-1 backscatter in dB, {name}",
            "data_type": "float32",
            "unit": "dB",
            "sar:polarizations": [name],
            "sar:frequency_band": RADAR_BAND,
            "sar:center_frequency": RADAR_GIGAHERTZ,
        }
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


def _input_fields(config: ModelConfig) -> dict[str, Any]:
    """Return the input of the network: bands in order, shape and normalisation."""
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


def _output_fields(config: ModelConfig) -> dict[str, Any]:
    """Return the output of the network: logits, their labels and their sigmoid."""
    t = config.temperature
    return {
        "name": "logits",
        "description": (
            "Logits, one a label; the labels do not exclude each other. A "
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


def _class_fields(value: int, label: str) -> dict[str, Any]:
    """Return a class of the STAC extension classification, with a machine-readable name."""
    fields = {
        "value": value,
        "name": re.sub(r"[^0-9a-z]+", "-", label.lower()).strip("-") or f"label-{value}",
        "description": label,
    }
    colour = COLOURS.get(label)
    return fields if colour is None else {**fields, "color_hint": colour.lstrip("#").upper()}


def _metrics(report: Report) -> dict[str, Any]:
    names = ("split", "num_patches", "threshold", "macro", "micro")
    return {name: to_plain(getattr(report, name)) for name in names}


def asset_fields(file: str, path: Path, bands: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """Return the key of an asset and how it describes a file: roles, size, checksum.

    A model card gets no size and no checksum, since authors may add to its text.
    """
    asset = ASSETS.get(file) or _Asset(file, file, "application/octet-stream")
    try:
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        num_bytes = path.stat().st_size
    except OSError as error:
        raise OutputError(
            f"Could not read {path}, which {MLM_FILE} describes: {error.strerror}. Check the file "
            "and its permissions."
        ) from error
    sealed = {"file:size": num_bytes, "file:checksum": f"1220{digest}"}  # a multihash of SHA-256
    return asset.key, {
        "href": f"./{file}",
        "title": asset.title,
        "type": asset.media_type,
        "roles": list(asset.roles),
        **({} if file == CARD_FILE else sealed),
        **asset.artifact,
        **({"bands": bands} if asset.artifact else {}),
    }


def _place(facts: DataDescription | None) -> dict[str, Any]:
    """Return the rectangle around the data, counter-clockwise from the south-west, if known."""
    if facts is None or facts.bounds is None:
        return {"geometry": None}
    west, south, east, north = facts.bounds
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"geometry": {"type": "Polygon", "coordinates": [ring]}, "bbox": list(facts.bounds)}


def _time(facts: DataDescription | None, report: Report | None) -> dict[str, Any]:
    """Return when the data are from; if that is unknown, when the model was measured.

    An item must have some time; that of no data and no report is the beginning of time in Unix.
    """
    if facts == OFFICIAL:
        return {"datetime": None, "start_datetime": FIRST_SECOND, "end_datetime": LAST_SECOND}
    if facts is not None:
        return {
            "datetime": None,
            "start_datetime": f"{facts.start}T00:00:00Z",
            "end_datetime": f"{facts.end}T23:59:59Z",
        }
    return {"datetime": "1970-01-01T00:00:00Z" if report is None else report.created}


def _links(facts: DataDescription | None) -> tuple[tuple[str, str, str], ...]:
    if facts == OFFICIAL:
        return _LINKS
    return (("about", facts.url, facts.name),) if facts and facts.url else ()


def _machine_name(name: str) -> str:
    """Return a name as the extension requires it: a letter first, no special characters."""
    cleaned = re.sub(r"[^a-zA-Z0-9_.\-\s]+", "-", name).strip("-_. \t\n")
    return cleaned if re.match(r"[a-zA-Z]..", cleaned) else f"model-{cleaned or 'unnamed'}"
