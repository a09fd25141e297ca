"""A folder that is ready to be a Space on the Hugging Face Hub: the same page, there."""

import shutil
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import pyarrow.parquet as pq
from jinja2 import Environment, StrictUndefined

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
    from reben.model.open import name_of, open_model

    store = find_store(data)
    values = {
        "name": name_of(model),
        "model": 'str(HERE / "model")' if is_local else repr(model),
        "repository": None if is_local else repository,
        "bands": repr(None if is_local else bands),
        "data": "None" if store is None else 'HERE / "samples"',
        "gradio": version("gradio"),
        "reben": reben.__version__,
    }
    with atomic_folder(out) as folder:
        if is_local:
            open_model(model, "cpu", bands=bands).save_pretrained(folder / "model")
        count, made_up = (0, False) if store is None else _copy_samples(store, folder / "samples")
        _write(
            folder / "README.md", "space_readme.md.jinja", samples=count, made_up=made_up, **values
        )
        _write(folder / "app.py", "space_app.py.jinja", **values)
        requirements = f"reben[demo]=={reben.__version__}\n"
        (folder / "requirements.txt").write_text(requirements, encoding="utf-8")
    return out


def _write(path: Path, template: str, **values: object) -> None:
    text = files("reben.app.demo").joinpath(template).read_text(encoding="utf-8")
    environment = Environment(  # noqa: S701 - not HTML
        trim_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined
    )
    path.write_text(environment.from_string(text).render(values), encoding="utf-8")


def _copy_samples(store: Path, folder: Path) -> tuple[int, bool]:
    """Write a store with patches of another, evenly spread; return how many, and if made up."""
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
    return len(rows), dataset.table.made_up_by is not None
