"""Model cards: a run and its report become a folder that is ready for the Hub.

The folder holds ``model.safetensors``, ``config.json``, ``README.md``, ``example.png`` and
``report.json``. Every value on the card comes from the run's record, its report or the model
itself; nothing is typed, and nothing is read out of names.
"""

import shutil
import uuid
from pathlib import Path

from reben.data.files import output_error, write_bytes, write_text
from reben.data.folders import atomic_folder, require_free
from reben.data.loader import Dataset
from reben.errors import MetadataError, OutputError, RunError, StoreError
from reben.learn.report import Report
from reben.learn.run import Run
from reben.model.classifier import Classifier
from reben.model.folder import CONFIG_FILE, WEIGHTS_FILE
from reben.publish.content import DATASET, MADE_UP, body, front_matter
from reben.publish.example import choose_example, draw, predict_example

MARKER = "<!-- model card by reben -->"
"""What stands in every card that reben wrote, so that it may replace its own folder."""
CARD_FILE = "README.md"
PICTURE_FILE = "example.png"
REPORT_FILE = "report.json"
FILES = (CARD_FILE, CONFIG_FILE, PICTURE_FILE, WEIGHTS_FILE, REPORT_FILE)
"""The files of a card folder."""


def write_card(
    run: Run | Path | str,
    report: Report | Path | str,
    out: Path | str,
    *,
    dataset: Dataset | None = None,
    licence: str = "mit",
    seed: int = 0,
) -> Path:
    """Write the card folder of a run and return it.

    The folder is built beside its place and renamed into it as a whole. A card folder that reben
    wrote before is replaced; any other folder that is not empty is refused.

    Args:
        run: A run, its folder, or the folder ``best`` in it.
        report: What the best model of the run reached on a split, or the file of the report.
        out: The folder to write; its name is the model's name on the card.
        dataset: The patches that the report is about, for the example. By default the store that
            the run was trained on is opened again.
        licence: Licence of the weights, by its name on the Hub.
        seed: What the choice of the example follows from, see `choose_example`.

    Raises:
        RunError: If the folder is not a run with a model, if the report is about another model, or
            if the store of the run is gone and no ``dataset`` is given.
        MetadataError: If the report is about other patches than those of ``dataset``.
        OutputError: If the folder is there and not ours, or cannot be written.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    report = report if isinstance(report, Report) else Report.load(report)
    out = Path(out).absolute()
    replaced = _own_folder(out)
    model = Classifier.from_pretrained(run.best)
    _require_same_model(model, report, run)
    measured = _measured_patches(run, report, dataset)
    example = predict_example(model, measured, choose_example(measured.table, seed))
    picture, caption = draw(example, measured, model.bands)
    made_up = run.summary["data"].get("made_up_by") or measured.table.made_up_by
    name, data = out.name, MADE_UP if made_up else DATASET
    head = front_matter(model, report, example, name=name, licence=licence, dataset=data)
    text = body(
        run,
        report,
        model,
        example,
        name=name,
        caption=caption,
        licence=licence,
        seed=seed,
        dataset=data,
    )
    fresh = out.with_name(f".{out.name}.{uuid.uuid4().hex}") if replaced else out
    with atomic_folder(fresh) as folder:
        model.save_pretrained(folder)
        report.save(folder / REPORT_FILE)
        write_bytes(folder / PICTURE_FILE, picture)
        write_text(folder / CARD_FILE, f"---\n{head}\n---\n\n{MARKER}\n\n{text}")
    if replaced:
        _replace(out, fresh)
    return out


def _own_folder(out: Path) -> bool:
    """Tell whether ``out`` is a card folder that reben wrote.

    Raises:
        OutputError: If it is anything else but free, so that nothing of others is overwritten.
    """
    card = out / CARD_FILE
    if not card.is_file() or MARKER not in card.read_text(encoding="utf-8", errors="replace"):
        require_free(out)
        return False
    foreign = sorted({file.name for file in out.iterdir()}.difference(FILES))
    if foreign:
        raise OutputError(
            f"{out} is a card folder, but also holds {', '.join(foreign)}, which reben did not "
            "write. Nothing was changed there. Move them away, or choose another folder."
        )
    return True


def _replace(old: Path, new: Path) -> None:
    """Put folder ``new`` where ``old`` is; if that fails, ``old`` stays as it was.

    Raises:
        OutputError: If the operating system refuses.
    """
    aside = old.with_name(f"{new.name}.old")
    try:
        old.rename(aside)
        try:
            new.rename(old)
        except OSError:
            aside.rename(old)
            raise
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise output_error(old, error) from error
    shutil.rmtree(aside, ignore_errors=True)


def _require_same_model(model: Classifier, report: Report, run: Run) -> None:
    """Check that the report is about a model like this one.

    Raises:
        RunError: If its backbone, bands or labels are others.
    """
    there = (model.config.backbone, model.bands.names, model.labels)
    if there != (report.backbone, report.bands, report.labels):
        raise RunError(
            f"The report is about {report.backbone} with bands {', '.join(report.bands)}; the run "
            f"{run.path} holds {model.config.backbone} with bands {', '.join(model.bands)}. "
            f"Write its own with: reben evaluate {run.path} --data STORE"
        )


def _measured_patches(run: Run, report: Report, dataset: Dataset | None) -> Dataset:
    """Return the patches that a report is about.

    Raises:
        RunError: If they have to be opened, and the store of the run is gone.
        MetadataError: If those of ``dataset`` are others.
    """
    if dataset is None:
        try:
            dataset = run.dataset()
        except (StoreError, MetadataError) as error:
            raise RunError(
                f"The card needs a patch to show, and the data of the run cannot be opened: "
                f"{error} Say where they are now: dataset=, or --data STORE."
            ) from error
    measured = dataset[report.split]
    if measured.table.fingerprint() != report.fingerprint:
        raise MetadataError(
            f"The report is about {report.num_patches} patches of the {report.split} split; the "
            f"{len(measured)} of {dataset.store.path} are others, or have other labels. Pass the "
            "data, with the filters, that the report was made on."
        )
    return measured
