"""Model cards: a model and its report become a folder that is ready for the Hub.

::

    README.md             the card
    config.json           bands, statistics, labels, thresholds
    model.safetensors     the weights
    report.json           the report that the figures come from
    card.json             the values that the card was filled with, for the check
    example.png           the example: a patch, its labels, all scores
    example.safetensors   its raw bands, so that anybody can predict it again
    figures/              plots of the results
    mlm.json              the same facts as a STAC item
    model.onnx            only after ``reben export``

Every value on the card comes from the record of the run, its report or the model itself. Nothing
is typed in, and nothing is guessed from names.
"""

import logging
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reben.data.dataset import Dataset
from reben.data.opening import filters_of
from reben.errors import (
    CardError,
    MetadataError,
    ModelFolderError,
    OutputError,
    RunError,
    StoreError,
)
from reben.learn.report import REPORT_FILE, Report
from reben.learn.run import Run
from reben.model.folder import CONFIG_FILE
from reben.model.hub import require_hub_id
from reben.model.weights import WEIGHTS_FILE
from reben.publish.author import author_head, licence_of_author
from reben.publish.branding import Branding
from reben.publish.cards.content import card_values
from reben.publish.cards.example import (
    EXAMPLE_FILE,
    PICTURE_FILE,
    choose_example,
    draw,
    pack,
    predict_example,
)
from reben.publish.cards.facts import CardSubject, patches_of
from reben.publish.cards.front_matter import DEFAULT_LICENCE, one_licence
from reben.publish.cards.keep import keep_words
from reben.publish.cards.origin import find_origin, say_licence, settle_licence, stated_by
from reben.publish.cards.record import MARKER, RECORD_FILE, CardRecord, make_card
from reben.publish.cards.statements import contradictions
from reben.publish.cards.user_template import CardTemplate
from reben.publish.mlm import write_mlm
from reben.publish.mlm_fields import CARD_FILE, MLM_FILE, ONNX_FILE
from reben.publish.pages import read_page
from reben.publish.plots import draw_all
from reben.publish.report_page import FIGURES_FOLDER, save_pictures
from reben.spec.bands import BandSet
from reben.support.atomic import atomic_folder, output_error, require_free, write_bytes, write_text

if TYPE_CHECKING:
    from reben.model.classifier import Classifier

_logger = logging.getLogger(__name__)

FILES = (
    CARD_FILE,
    CONFIG_FILE,
    PICTURE_FILE,
    EXAMPLE_FILE,
    WEIGHTS_FILE,
    REPORT_FILE,
    RECORD_FILE,
    MLM_FILE,
    ONNX_FILE,
    FIGURES_FOLDER,
)
"""What a card folder may hold; anything else in it is not reben's."""
FIGURES = ("average_precision", "precision_recall", "reliability")
"""The plots of a report that a card shows."""


def write_card(  # noqa: PLR0913 - all after the third are named
    source: "Run | Classifier | Path | str",
    report: Report | Path | str,
    out: Path | str,
    *,
    dataset: Dataset | None = None,
    licence: str = DEFAULT_LICENCE,
    seed: int = 0,
    hub_id: str | None = None,
    branding: Branding | None = None,
    template: Path | str | None = None,
    figures: bool = True,
    bands: BandSet | str | None = None,
    origin: str | None = None,
    stated: Mapping[str, str] | None = None,
    license: str | None = None,
    tags: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write the card folder of a model and return its path.

    The folder is built beside its destination and renamed into place as a whole. A card folder
    that reben wrote before is replaced, but for what its author wrote outside the marked sections
    and added to the front matter, which the new card keeps; any other folder must be empty.

    Args:
        source: A run (its best model is used), a model, the folder of either, or the id of a model
            on the Hub. Without a run, the card says what is known of the training and that the
            rest is not.
        report: The results of the model on a split, or the file that holds them.
        out: The folder to write. Its name is the model's name on the card, unless ``hub_id`` is
            given.
        dataset: The patches that the report is about; the example is taken from them. By default
            the store that the run was trained on; a model without a run needs it.
        licence: Licence of the weights, by its identifier on the Hub. By default that of the
            weights that the model is or started from, as their card states it; ``mit`` for
            weights of your own.
        seed: Seed of the choice of the example, see `choose_example`.
        hub_id: The id that the model has or will have on the Hub, ``owner/name``.
        branding: Affiliations and pictures to show; none by default.
        template: The file of your own template, with placeholders like ``<AP_MACRO>`` or in Jinja,
            or ``original`` for a card in the form of the first published ones.
        figures: Whether to plot the results; without plots matplotlib is not needed.
        bands: Bands in channel order, for an older model folder that does not state them.
        origin: Where the weights were first published, for a new card of a published model.
        stated: What others state about a training without a run, name -> value.
        license: American spelling of ``licence``.
        tags: Further tags for the front matter.
        metadata: Further fields of the front matter, such as ``license_name`` and ``license_link``.

    Raises:
        RunError: If a run holds no model, if the report is about another model, or if there is
            neither a ``dataset`` nor a store to open.
        ConfigError: If the Hub knows no such licence, if both spellings are given, if the same
            weights are under another licence, or if the template cannot be filled.
        MetadataError: If the report is about other patches than those of ``dataset``, or nothing
            says what data set they are of; the message has the file to write.
        ModelError: If the model cannot be loaded.
        MissingExtraError: If figures are wanted and matplotlib is not installed.
        OutputError: If the folder holds anything else, or cannot be written.
    """
    if hub_id is not None:
        require_hub_id(hub_id)
    text_template = CardTemplate.read(template)
    licence = licence_of_author(one_licence(licence, license), text_template.head, metadata or {})
    report = report if isinstance(report, Report) else Report.load(report)
    out = Path(out).absolute()
    replaced = _own_folder(out)
    subject = CardSubject.read(source, bands)
    subject.require_elsewhere(out)
    subject.require_report(report)
    before = find_origin(subject, origin)
    licence = settle_licence(licence, before)
    measured = _measured_patches(subject, report, dataset)
    measured.identity.require_known(measured.store.path)
    report = replace(report, data=measured.identity)
    found = patches_of(subject.run, measured)
    example = predict_example(subject.model, measured, choose_example(measured.table, seed))
    picture = draw(example, subject.model.bands)
    pictures = draw_all(report, FIGURES) if figures else {}
    name = (hub_id or out.name).split("/")[-1]
    about = {
        "name": name,
        "model_id": hub_id or name,
        "hub_id": hub_id,
        "origin": origin,
        "licence": licence,
        "licence_of": say_licence(before),
        "stated": stated_by(before) if stated is None else stated,
        "branding": branding or Branding(),
        "figures": tuple(pictures),
        "seed": seed,
    }
    values = card_values(subject, report, example, found, about)
    values["author"] = author_head(text_template, values, metadata or {}, tags)
    fresh = out.with_name(f".{out.name}.{uuid.uuid4().hex}") if replaced else out
    with atomic_folder(fresh) as folder:
        subject.model.save_pretrained(folder)
        report.save(folder / REPORT_FILE)
        write_bytes(folder / PICTURE_FILE, picture)
        write_bytes(folder / EXAMPLE_FILE, pack(example))
        save_pictures(pictures, folder / FIGURES_FOLDER)
        drawn = [PICTURE_FILE, EXAMPLE_FILE, *(f"{FIGURES_FOLDER}/{name}.png" for name in pictures)]
        files = {name: (folder / name).read_bytes() for name in drawn}
        text, record = make_card(values, text_template, files)
        write_text(folder / CARD_FILE, _with_words_of_author(out, text) if replaced else text)
        write_text(folder / RECORD_FILE, record.to_json())
        _warn_of_contradictions(text_template, text, values)
        # Last, since it holds the checksums of the other files.
        write_mlm(
            folder,
            subject.model,
            name=name,
            report=report,
            licence=licence,
            num_train=found.num_train,
            data=found.trained,
        )
    if replaced:
        _replace(out, fresh)
    return out


def _with_words_of_author(out: Path, page: str) -> str:
    """Return a new card with what the author wrote into the one in ``out``, and say so."""
    try:
        old = CardRecord.read(out)
    except ModelFolderError:
        old = None
    try:
        kept = keep_words(read_page(out / CARD_FILE), old, page)
    except CardError as error:
        raise OutputError(f"{out / CARD_FILE}: {error}. Nothing was changed.") from error
    if kept.told:
        _logger.warning("The new card in %s keeps %s.", out, "; ".join(kept.told))
    return kept.page


def _warn_of_contradictions(template: CardTemplate, text: str, values: Mapping[str, Any]) -> None:
    for sentence in contradictions(text, values) if template.kind != "own" else ():
        _logger.warning("The card of the template %s: %s.", template.name, sentence)


def _own_folder(out: Path) -> bool:
    """Tell whether ``out`` is a card folder that reben wrote; anything else must be empty."""
    card = out / CARD_FILE
    if not card.is_file() or MARKER not in card.read_text(encoding="utf-8", errors="replace"):
        require_free(out)
        return False
    foreign = sorted({file.name for file in out.iterdir()}.difference(FILES))
    if foreign:
        raise OutputError(
            f"{out} is a card folder, but it also holds {', '.join(foreign)}, which reben did not "
            "write. Nothing was changed. Move it elsewhere or choose another folder."
        )
    return True


def _replace(old: Path, new: Path) -> None:
    """Put folder ``new`` where ``old`` is; if that fails, ``old`` stays as it was."""
    if (old / ONNX_FILE).is_file():
        _logger.warning(
            "%s belonged to the former card and was removed. Export it again: reben export",
            ONNX_FILE,
        )
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


def _measured_patches(subject: CardSubject, report: Report, dataset: Dataset | None) -> Dataset:
    """Return the patches that a report is about."""
    if dataset is None:
        if subject.run is None:
            raise RunError(
                f"The card shows a patch, and {subject.name} has no run that says where the "
                "patches are. Pass them: dataset=, or --data STORE."
            )
        try:
            dataset = subject.run.dataset(**filters_of(report.filters or None, drawing=False))
        except (StoreError, MetadataError) as error:
            raise RunError(
                f"The card shows a patch, and the data of the run could not be opened: {error} "
                "Pass them: dataset=, or --data STORE."
            ) from error
    measured = dataset[report.split]
    drawn = {"fraction", "fraction_by", "fraction_seed", "limit"}
    asked = {name: by for name, by in filters_of(report.filters).items() if name in drawn}
    if measured.table.fingerprint() != report.fingerprint:
        measured = measured.draw(**asked)
    if measured.table.fingerprint() != report.fingerprint:
        raise MetadataError(
            f"The report is about {report.num_patches} patches of the {report.split} split; the "
            f"{len(measured)} in {dataset.store.path} differ from them in names or labels. Pass "
            "the data that the report was made on, with the same filters."
        )
    return measured
