"""A folder that is ready to be a Space on the Hugging Face Hub: the same page, there."""

import shutil
from importlib.metadata import version
from pathlib import Path

import pyarrow.parquet as pq

import reben
from reben.app.demo.serving import find_store
from reben.data.loader import open_dataset
from reben.data.metadata import METADATA_FILE
from reben.data.sample import NOTICE_FILE
from reben.data.store import StoreWriter
from reben.errors import ConfigError
from reben.model.hub import is_hub_id, split_revision
from reben.support.atomic import atomic_folder

_MOST_PATCHES = 24

_README = """\
---
title: {title}
emoji: 🛰️
colorFrom: green
colorTo: blue
sdk: gradio
sdk_version: {gradio}
app_file: app.py
{models}pinned: false
---

# What is on this patch?

The demo page of reben {reben}: the model `{name}` on patches of
BigEarthNet v2.0, on your own, and on scenes that `reben predict-scene` has classified.
{samples}
Made by `reben demo --space`. Run it here: `pip install -r requirements.txt gradio=={gradio}`, then
`python app.py`.
"""
_SAMPLES = """
`samples/` holds {count} patch pairs of BigEarthNet v2.0
(https://doi.org/10.5281/zenodo.10891137, CDLA-Permissive-1.0).
"""
_MADE_UP = "\n`samples/` holds {count} patch pairs that are made up, not measured.\n"
_APP = '''\
"""The demo page of reben as a Space; written by `reben demo --space`."""

import os
from pathlib import Path

from reben.app.demo.serving import serve

HERE = Path(__file__).parent

if __name__ == "__main__":
    serve(
        {model},
        bands={bands!r},
        data={data},
        host=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        port=int(os.environ.get("GRADIO_SERVER_PORT", "7860")),
        on_start=lambda address: print(f"The page is at {{address}}", flush=True),
    )
'''


def write_space(
    out: Path, model: str, *, bands: str | None = None, data: Path | None = None
) -> Path:
    """Write a folder that can be uploaded as a Space, and return it.

    A model of the Hub is named there and fetched there; a model folder or a run is copied in.

    Args:
        out: The folder to write.
        model: A run folder, a model folder, or the name of a model on the Hub.
        bands: Bands of the model in their order, for a published model whose name does not say.
        data: Store to take up to 24 sample patches from; by default the real sample, if it is
            there.

    Raises:
        ConfigError: If the model is neither a folder nor a name on the Hub.
        OutputError: If ``out`` is there already and not empty, or cannot be written.
        RebenError: If the model or the store cannot be opened.
    """
    is_local = Path(model).is_dir()
    repository = split_revision(model)[0]
    if not is_local and not is_hub_id(repository):
        raise ConfigError(
            f"{model} is neither a model folder nor the name of a model on the Hub (owner/name)."
        )
    from reben.model.open import name_of, open_model

    store = find_store(data)
    name = name_of(model)
    with atomic_folder(out) as folder:
        if is_local:
            open_model(model, "cpu", bands=bands).save_pretrained(folder / "model")
        about = "" if store is None else _write_samples(store, folder / "samples")
        readme = _README.format(
            title=f"{name.split('/')[-1]} on Sentinel patches",
            gradio=version("gradio"),
            models="" if is_local else f"models:\n- {repository}\n",
            reben=reben.__version__,
            name=name,
            samples=about,
        )
        app = _APP.format(
            model='str(HERE / "model")' if is_local else repr(model),
            bands=None if is_local else bands,
            data="None" if store is None else 'HERE / "samples"',
        )
        (folder / "README.md").write_text(readme, encoding="utf-8")
        (folder / "app.py").write_text(app, encoding="utf-8")
        requirements = f"reben[demo]=={reben.__version__}\n"
        (folder / "requirements.txt").write_text(requirements, encoding="utf-8")
    return out


def _write_samples(store: Path, folder: Path) -> str:
    """Write a store with the first patches of another, evenly spread; return what it is."""
    dataset = open_dataset(store, snow=None, cloud=None)
    step = max(1, -(-len(dataset) // _MOST_PATCHES))
    rows = list(range(0, len(dataset), step))
    with StoreWriter(folder) as writer:
        for row in rows:
            for name in (dataset.table.patch_ids[row], dataset.table.s1_names[row]):
                writer.put(name, dataset.store.get(name))
    pq.write_table(dataset.table.rows.take(rows), folder / METADATA_FILE)
    notice = dataset.store.path / NOTICE_FILE
    if notice.is_file():
        shutil.copyfile(notice, folder / NOTICE_FILE)
    text = _SAMPLES if dataset.table.made_up_by is None else _MADE_UP
    return text.format(count=len(rows))
