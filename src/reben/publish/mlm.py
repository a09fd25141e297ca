"""``mlm.json``: a model as a STAC item with the Machine Learning Model extension.

Catalogues can find a model by it, and programs can run one without knowing reben: it says which
bands go in, in which order and how scaled, what comes out, and which files hold the weights.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from reben.errors import ModelFolderError, OutputError
from reben.learn.report import REPORT_FILE, Report
from reben.model.classifier import Classifier
from reben.model.folder import CONFIG_FILE, WEIGHTS_FILE
from reben.publish.mlm_check import (
    EO,
    FILE,
    MLM,
    MLM_FILE,
    ONNX_FILE,
    SAR,
    STAC_VERSION,
    check_mlm,
    metrics_fields,
    multihash,
)
from reben.publish.mlm_fields import band_fields, hyperparameters, input_fields, output_fields
from reben.spec.bands import PIXEL_METRES, Sensor
from reben.spec.extent import BOUNDS, COUNTRIES, FIRST_SECOND, LAST_SECOND
from reben.support.atomic import write_text

__all__ = ["MLM_FILE", "add_file", "check_mlm", "mlm_item", "write_mlm"]

DATASET = "BigEarthNet v2.0"
_INSTRUMENTS: Mapping[Sensor, str] = {"Sentinel-1": "c-sar", "Sentinel-2": "msi"}
_LINKS = (
    ("about", "https://zenodo.org/records/10891137", "The data set, BigEarthNet v2.0 (reBEN)"),
    ("cite-as", "https://arxiv.org/abs/2407.03653", "reBEN, the paper of the data set"),
)
CARD_FILE = "README.md"
_ASSETS: Mapping[str, tuple[str, str, str, tuple[str, ...]]] = {
    WEIGHTS_FILE: (
        "weights",
        "Weights for timm's network, under its own names after model.vision_encoder.",
        "application/octet-stream; application=safetensors",
        ("mlm:model", "mlm:weights", "data"),
    ),
    ONNX_FILE: (
        "onnx",
        "The whole model: one input a band, named like it, raw values [batch, h, w] at native "
        "size; outputs scores and logits. Resizing, scaling and sigmoid are inside.",
        "application/octet-stream; application=onnx",
        ("mlm:model", "mlm:weights", "data"),
    ),
    CONFIG_FILE: ("config", "Config of the model", "application/json", ("metadata",)),
    REPORT_FILE: ("report", "What the model reached", "application/json", ("metadata",)),
    CARD_FILE: ("card", "Model card", "text/markdown", ("metadata",)),
    "example.png": ("example", "A patch of the test split", "image/png", ("thumbnail",)),
}
_ARTIFACT: Mapping[str, Mapping[str, str]] = {
    WEIGHTS_FILE: {"mlm:artifact_type": "safetensors.torch.save_file"},
    ONNX_FILE: {"mlm:artifact_type": "onnx.save", "mlm:framework": "ONNX"},
}


def mlm_item(  # noqa: PLR0913 - all after the first are named
    model: Classifier,
    *,
    name: str,
    files: Mapping[str, Path],
    report: Report | None = None,
    licence: str,
    num_train: int | None = None,
    made_up: bool = False,
) -> dict[str, Any]:
    """Return a model as a STAC item, as JSON has it; the same input gives the same item.

    Args:
        model: The model.
        name: Its name, which becomes the id of the item.
        files: Names within the folder of the item -> the files, which are hashed. The weights are
            among them.
        report: What the model reached, if that is known.
        licence: Licence of the weights, by its name on the Hub.
        num_train: Patches that it was trained on, if that is known.
        made_up: Whether these were made up; such an item has no place on Earth.

    Raises:
        OutputError: If a file cannot be read.
    """
    config = model.config
    bands = [band_fields(band) for band in config.bands]
    sensors = [sensor for sensor in _INSTRUMENTS if config.bands.of_sensor(sensor)]
    source = "patches made up in the layout of BigEarthNet v2.0" if made_up else DATASET
    trained_on = source if num_train is None else f"{source}, {num_train:,} patches"
    place = _nowhere() if made_up else _place()
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
        **place,
        "properties": {
            "title": name,
            "description": (
                f"{config.backbone} for multi-label classification of {' and '.join(sensors)} "
                f"patches into {config.classes} labels, trained on {trained_on}"
                + ("." if made_up else f" ({', '.join(COUNTRIES)}).")
            ),
            "datetime": None,
            "start_datetime": FIRST_SECOND,
            "end_datetime": LAST_SECOND,
            "license": licence,
            "instruments": [_INSTRUMENTS[sensor] for sensor in sensors],
            "gsd": min(PIXEL_METRES[band] for band in config.bands),
            "bands": bands,
            "mlm:name": _machine_name(name),
            "mlm:architecture": config.backbone,
            "mlm:tasks": ["classification"],
            "mlm:framework": "PyTorch",
            "mlm:framework_version": _three_numbers(version("torch")),
            "mlm:total_parameters": sum(weight.numel() for weight in model.parameters()),
            "mlm:pretrained": True,
            "mlm:pretrained_source": trained_on,
            "mlm:accelerator": None,
            "mlm:accelerator_constrained": False,
            "mlm:hyperparameters": hyperparameters(config, num_train),
            "mlm:input": [input_fields(config)],
            "mlm:output": [output_fields(config)],
            "reben:version": config.reben_version,
            **({} if report is None else {"reben:metrics": metrics_fields(report)}),
        },
        "links": [
            {"rel": rel, "href": href, "title": title}
            for rel, href, title in ([] if made_up else _LINKS)
        ],
        "assets": dict(_asset(file, path, bands) for file, path in sorted(files.items())),
    }


def write_mlm(  # noqa: PLR0913 - all after the second are named
    folder: str | Path,
    model: Classifier,
    *,
    name: str | None = None,
    report: Report | None = None,
    licence: str,
    num_train: int | None = None,
    made_up: bool = False,
) -> Path:
    """Write ``mlm.json`` into a folder that holds the files of a model, and return its path.

    Args:
        folder: The folder; every file of a model that it holds is described.
        model: The model.
        name: Its name; that of the folder by default.
        report: What the model reached, if that is known.
        licence: Licence of the weights, by its name on the Hub.
        num_train: Patches that it was trained on, if that is known.
        made_up: Whether these were made up.

    Raises:
        OutputError: If a file cannot be read, or ``mlm.json`` cannot be written.
    """
    folder = Path(folder)
    item = mlm_item(
        model,
        name=name or folder.absolute().name,
        files={file: folder / file for file in _ASSETS if (folder / file).is_file()},
        report=report,
        licence=licence,
        num_train=num_train,
        made_up=made_up,
    )
    write_text(folder / MLM_FILE, _json(item))
    return folder / MLM_FILE


def add_file(folder: str | Path, file: str) -> Path:
    """Describe one more file, or one that changed, in the ``mlm.json`` of a folder.

    Args:
        folder: The folder, with its ``mlm.json``.
        file: Name of the file in it, for example ``model.onnx``.

    Raises:
        ModelFolderError: If there is no ``mlm.json``, or it is none.
        OutputError: If the file cannot be read, or ``mlm.json`` cannot be written.
    """
    path = Path(folder) / MLM_FILE
    try:
        item = json.loads(path.read_text(encoding="utf-8"))
        bands = item["properties"]["bands"]
        key, asset = _asset(file, path.parent / file, bands)
        item["assets"][key] = asset
    except OutputError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFolderError(
            f"{path} is no item that {file} could be added to: {type(error).__name__} {error}. "
            "Write it anew with write_mlm."
        ) from error
    write_text(path, _json(item))
    return path


def _json(item: Mapping[str, Any]) -> str:
    return json.dumps(item, indent=2, ensure_ascii=False) + "\n"


def _place() -> dict[str, Any]:
    """Return the rectangle around the data set, counter-clockwise from the south-west."""
    west, south, east, north = BOUNDS
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"geometry": {"type": "Polygon", "coordinates": [ring]}, "bbox": list(BOUNDS)}


def _nowhere() -> dict[str, Any]:
    return {"geometry": None}


def _three_numbers(text: str) -> str:
    """Return a version as the extension wants it, without what marks development versions."""
    found = re.match(r"\d+\.\d+\.\d+", text)
    return text if found is None else found[0]


def _machine_name(name: str) -> str:
    """Return a name as the extension wants it: a letter first, no odd signs."""
    cleaned = re.sub(r"[^a-zA-Z0-9_.\-\s]+", "-", name).strip("-_. \t\n")
    return cleaned if re.match(r"[a-zA-Z]..", cleaned) else f"model-{cleaned or 'unnamed'}"


def _asset(file: str, path: Path, bands: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """Return the key of an asset and what it says of a file: roles, size, checksum.

    A model card is named without them: authors may add to its text. What its figures say is
    compared with the report.
    """
    fallback = (file, file, "application/octet-stream", ("metadata",))
    key, title, media_type, roles = _ASSETS.get(file, fallback)
    try:
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        num_bytes = path.stat().st_size
    except OSError as error:
        raise OutputError(
            f"{path}, which {MLM_FILE} shall describe, cannot be read: {error.strerror}."
        ) from error
    sealed = {"file:size": num_bytes, "file:checksum": multihash(digest)}
    return key, {
        "href": f"./{file}",
        "title": title,
        "type": media_type,
        "roles": list(roles),
        **({} if file == CARD_FILE else sealed),
        **_ARTIFACT.get(file, {}),
        **({"bands": bands} if file in _ARTIFACT else {}),
    }
