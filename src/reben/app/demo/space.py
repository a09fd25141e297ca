"""A folder that is ready to be a Space on the Hugging Face Hub: the same page, there."""

import json
import shutil
import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import pyarrow.parquet as pq
from jinja2 import Environment, StrictUndefined

import reben
from reben.app.demo.serving import open_samples
from reben.data.dataset import Dataset
from reben.data.identity import DATA_FILE, DataIdentity
from reben.data.metadata import METADATA_FILE
from reben.data.sample import NOTICE_FILE
from reben.data.store import StoreWriter
from reben.errors import ConfigError
from reben.model.hub import is_hub_id, split_revision
from reben.publish.branding import requirement
from reben.publish.markdown import code, escape
from reben.publish.stated import stated_facts
from reben.support.atomic import atomic_folder

_MOST_PATCHES = 24


def write_space(
    out: Path, model: str, *, bands: str | None = None, data: Path | None = None
) -> Path:
    """Write a folder that can be uploaded as a Space, and return it.

    A model on the Hub is named there and fetched there; a model folder or a run is copied in.

    Args:
        out: The folder to write.
        model: A run folder, a model folder, or the name of a model on the Hub.
        bands: Bands of the model in their order, for a published model whose name does not say.
        data: Store to take up to 24 sample patches from; by default the real sample, if it is
            there.
    """
    is_local = Path(model).is_dir()
    repository = split_revision(model)[0]
    if not is_local and not is_hub_id(repository):
        raise ConfigError(
            f"{model} is neither a model folder nor the name of a model on the Hub (owner/name)."
        )
    from reben.model.folder import place_of, run_folder
    from reben.model.open import name_of, open_model

    samples = open_samples(model, data)
    name, stated = name_of(model), stated_facts(place_of(model))
    values = {
        "title": json.dumps(f"{name.rpartition('/')[2]} on Sentinel patches"),
        "name": code(name),
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "licence": stated.licence_id,
        "stated": [escape(text) for text in (stated.figures, stated.licence, *stated.warnings)],
        "model": f'str(HERE / "model" / {name!r})' if is_local else repr(model),
        "repository": None if is_local else repository,
        "bands": repr(None if is_local else bands),
        "data": "None" if samples is None else 'HERE / "samples"',
        "gradio": version("gradio"),
        "reben": reben.__version__,
    }
    with atomic_folder(out) as folder:
        if is_local:
            # In a folder of its own name, by which the page calls it.
            open_model(model, "cpu", bands=bands).save_pretrained(folder / "model" / name)
            for file in (Path(model) / named for named in ("README.md", "card.json")):
                if file.is_file() and run_folder(model) is None:
                    shutil.copyfile(file, folder / "model" / name / file.name)
        count = 0 if samples is None else _copy_samples(samples, folder / "samples")
        identity = DataIdentity("unknown") if samples is None else samples.identity
        _write(folder / "README.md", "space_readme.md.jinja", samples=count, of=identity, **values)
        _write(folder / "app.py", "space_app.py.jinja", **values)
        (folder / "requirements.txt").write_text(requirement("demo") + "\n", encoding="utf-8")
    return out


def _write(path: Path, template: str, **values: object) -> None:
    text = files("reben.app.demo").joinpath(template).read_text(encoding="utf-8")
    environment = Environment(  # noqa: S701 - not HTML
        trim_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined
    )
    environment.filters["escape"] = escape  # for Markdown
    path.write_text(environment.from_string(text).render(values), encoding="utf-8")


def _copy_samples(dataset: Dataset, folder: Path) -> int:
    """Write a store with patches of another, evenly spread; return how many."""
    step = max(1, -(-len(dataset) // _MOST_PATCHES))
    rows = list(range(0, len(dataset), step))
    with StoreWriter(folder) as writer:
        for row in rows:
            for name in (dataset.table.patch_ids[row], dataset.table.s1_names[row]):
                if name in dataset.store:
                    writer.put(name, dataset.store.get(name))
    pq.write_table(dataset.table.rows.take(rows), folder / METADATA_FILE)
    for file in (NOTICE_FILE, DATA_FILE):
        if (dataset.store.path / file).is_file():
            shutil.copyfile(dataset.store.path / file, folder / file)
    return len(rows)
