"""``mlm.json``: a model as a STAC item with the Machine Learning Model extension.

Catalogues use it to find a model, and programs to run one without knowing reben: it describes the
input bands, their order and scaling, the outputs, and the files that hold the weights.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reben.data.identity import DataIdentity
from reben.errors import ModelFolderError
from reben.learn.report import Report
from reben.publish.cards.front_matter import one_licence
from reben.publish.mlm_check import check_mlm
from reben.publish.mlm_fields import (
    ASSETS,
    MLM_CURE,
    MLM_FILE,
    ItemFacts,
    asset_fields,
    item_fields,
)
from reben.support.atomic import write_text
from reben.support.json_files import read_json

if TYPE_CHECKING:
    from reben.model.classifier import Classifier

__all__ = ["MLM_FILE", "add_file", "check_mlm", "write_mlm"]


def write_mlm(  # noqa: PLR0913 - all after the second are named
    folder: str | Path,
    model: "Classifier",
    *,
    name: str | None = None,
    report: Report | None = None,
    licence: str | None = None,
    num_train: int | None = None,
    made_up: bool = False,
    license: str | None = None,
    data: DataIdentity | None = None,
) -> Path:
    """Write ``mlm.json`` into a folder that holds the files of a model, and return its path.

    Args:
        folder: The folder; every model file in it is described.
        model: The model.
        name: Its name; by default the name of the folder.
        report: Results of the model, if known.
        licence: Licence of the weights, by its identifier on the Hub.
        num_train: Number of training patches, if known.
        made_up: Whether these are synthetic.
        license: American spelling of ``licence``; one of the two is required.
        data: Which data set these are of, if that is recorded.

    Raises:
        ConfigError: If no licence is given, or both spellings.
        OutputError: If a file cannot be read, or ``mlm.json`` cannot be written.
    """
    folder = Path(folder)
    item = item_fields(
        model.config,
        {file: folder / file for file in ASSETS if (folder / file).is_file()},
        report,
        ItemFacts(
            name=name or folder.absolute().name,
            licence=one_licence(licence, license),
            num_train=num_train,
            data=DataIdentity("synthetic") if made_up and data is None else data,
            num_parameters=sum(weight.numel() for weight in model.parameters()),
            torch_version=version("torch"),
        ),
    )
    write_text(folder / MLM_FILE, _json(item))
    return folder / MLM_FILE


def add_file(folder: str | Path, file: str) -> Path:
    """Add a file such as ``model.onnx``, or update it, in the ``mlm.json`` of its folder."""
    path = Path(folder) / MLM_FILE
    item = read_json(path, dict[str, Any], ModelFolderError, MLM_CURE)
    try:
        key, asset = asset_fields(file, path.parent / file, item["properties"]["bands"])
        item["assets"][key] = asset
    except (KeyError, TypeError) as error:
        raise ModelFolderError(
            f"{path} is not a STAC item that {file} can be added to: {type(error).__name__} "
            f"{error}. {MLM_CURE}"
        ) from error
    write_text(path, _json(item))
    return path


def _json(item: dict[str, Any]) -> str:
    return json.dumps(item, indent=2, ensure_ascii=False) + "\n"
