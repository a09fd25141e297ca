"""What a card says of data: those trained on and those measured on, each by its identity."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Self

from reben.data.identity import OFFICIAL, OFFICIAL_SPLITS, DataDescription, DataIdentity, StoredPart
from reben.errors import CardError, RunError
from reben.learn.report import Report
from reben.learn.run import Run
from reben.publish.markdown import patches, thousands
from reben.support.json_files import check_values


@dataclass(frozen=True)
class CardPatches:
    """Which patches a model was trained on, and which it was measured on."""

    measured: DataIdentity  # the data set of the patches of the report
    # that of the patches of the training; None without a record of the training
    trained: DataIdentity | None = None
    num_train: int | None = None  # how many the model was trained on
    fine_tuned: bool = False  # whether training started from weights that were trained elsewhere
    # the filters that the training patches passed, by the record of the run
    filters: Mapping[str, str] = field(default_factory=dict)
    # how many of the train split that the metadata list the store held; None if all
    part: StoredPart | None = None

    @classmethod
    def of_run(cls, run: Run, measured: DataIdentity) -> Self:
        """Return what the record of a run holds of it."""
        data, cure = run.summary["data"], "Train again with this version of reben."
        trained, part = data.get("identity"), data.get("parts", {}).get("train")
        if trained is not None:
            trained = check_values(trained, DataIdentity, f"{run.path}: data", RunError, cure)
        return cls(
            measured,
            trained,
            run.summary.get("num_train"),
            fine_tuned=run.config.init is not None or run.config.pretrained,
            filters=run.summary.get("filters", {}),
            part=None if part is None else StoredPart(**part),
        )

    @classmethod
    def of_values(cls, values: Mapping[str, Any]) -> Self:
        """Return what ``card.json`` holds of it."""
        return check_values(values, cls, "patches in card.json", CardError, "Write the card again.")


def data_values(found: CardPatches, report: Report, sensors: Sequence[str]) -> dict[str, Any]:
    """Return the template values about data; ``sensors`` are the missions that the model takes."""
    known = [found.trained, found.measured]
    unlike = [*dict.fromkeys(each.facts for each in known if each and each.facts)]
    measured = found.measured.describe(report.num_patches, report.split)
    if report.part is not None:
        measured += f", the store holding {report.part} listed"
    trained = found.trained
    name = trained.name if trained else None
    return {
        "patches": found,
        "dataset": name or found.measured.name,
        "official": trained is not None and trained.kind == "official",
        "trained_on": name,
        "trained_title": f"a part of {name}" if _is_part(found) else name,
        "trained_words": _trained(found),
        "measured_words": measured,
        "measured_data": _result_dataset(found.measured, report),
        "datasets": [_type(trained)] if trained and trained.kind != "unknown" else [],
        "limits": list(_limits(found, sensors)),
        "data_licences": [f"{facts.name} is under: {facts.licence}." for facts in unlike],
        "cites_official": OFFICIAL in unlike,
        "own_citations": [facts.citation for facts in unlike if facts is not OFFICIAL],
        "data_links": [{"name": facts.name, "url": facts.url} for facts in unlike if facts.url],
        "warning": list(toy_words(found, report)),
    }


def span(facts: DataDescription) -> str:
    """Return when the images of a data set are from.

    Example:
        >>> span(OFFICIAL)
        'June 2017 to May 2018'
    """
    ends = (f"{date.fromisoformat(day):%B %Y}" for day in (facts.start, facts.end))
    return " to ".join(dict.fromkeys(ends))


def _trained(found: CardPatches) -> str:
    """Return the sentence about the training patches."""
    identity, number = found.trained, found.num_train
    if identity is None or number is None:
        return "What it was trained on is not recorded."
    how = "fine-tuned" if found.fine_tuned else "trained"
    if identity.kind == "unknown":
        return f"It was {how} on {patches(number)}; of what data set is not recorded."
    facts = identity.facts if identity.kind == "described" else None
    where = f": {facts.place}, {span(facts)}" if facts else ""
    told = f"It was {how} on {identity.of_split('train').describe(number, 'train')}{where}."
    clear = {"snow": "false", "cloud": "false"}  # as the official splits are
    chosen = [f"{key} {text}" for key, text in found.filters.items() if clear.get(key) != text]
    if chosen:
        told += f" They were selected by: {'; '.join(chosen)}."
    if found.part is not None:
        told += f" Of the train split in its metadata the store held {found.part} patches."
    return told


def _is_part(found: CardPatches) -> bool:
    """Tell whether the training patches are a part of the official train split, or other ones."""
    trained = found.trained
    return (
        trained is not None
        and trained.kind == "official"
        and not trained.of_split("train").is_whole("train")
    )


def _type(identity: DataIdentity) -> str:
    """Return the id of a data set for the front matter."""
    kinds = {"official": "bigearthnet-v2.0", "synthetic": "made-up", "unknown": "unknown"}
    own = re.sub(r"[^a-z0-9.]+", "-", identity.name.lower()).strip("-.")
    return kinds.get(identity.kind, own or "own-data")


def _result_dataset(identity: DataIdentity, report: Report) -> dict[str, Any]:
    """Return the data set of the model-index; only whole official splits go without a count."""
    kind = _type(identity)
    if identity.is_whole(report.split):
        return {"type": kind, "name": OFFICIAL.name, "args": None}
    name = identity.name
    if identity.kind == "official":
        name = f"a part of {name} ({patches(report.num_patches)})"
    args = {"num_patches": report.num_patches, "fingerprint": report.fingerprint}
    filters = {"filters": dict(report.filters)} if report.filters else {}
    return {"type": kind, "name": name, "args": {**args, **filters}}


def toy_words(found: CardPatches, report: Report | None = None) -> Iterator[str]:
    """Yield the sentences of the box at the top of a card; none for a serious run."""
    trained, measured = found.trained, found.measured
    if trained is not None and trained.kind == "synthetic":
        yield (
            "This model was trained on made-up patches, not on satellite images. It only shows "
            "that the software works."
        )
    elif trained is not None and trained.kind == "official" and not found.fine_tuned:
        official = OFFICIAL_SPLITS["train"][0]
        if found.num_train is not None and 2 * found.num_train < official:
            yield (
                f"This is a toy run: it was trained on {patches(found.num_train)}; the official "
                f"train split has {thousands(official)}. Do not rely on its scores."
            )
    if report is None:
        return
    if measured.kind == "synthetic":
        yield (
            "The figures below were measured on made-up patches. They say nothing about satellite "
            "images."
        )
    elif measured.kind == "official" and not measured.is_whole(report.split):
        yield (
            f"The figures below were measured on {patches(report.num_patches)}, not on the "
            f"official test split, which has {thousands(OFFICIAL_SPLITS['test'][0])}. Do not "
            "compare them with published figures."
        )
    elif measured.kind == "official" and report.split != "test":
        yield (
            f"The figures below are of the {report.split} split; published figures are of the test "
            "split. Do not compare them."
        )


def _limits(found: CardPatches, sensors: Sequence[str]) -> Iterator[str]:
    """Yield what the data limit."""
    identity = found.trained
    facts = None if identity is None else identity.facts
    if facts is OFFICIAL and _is_part(found):
        yield (
            f"The training data are a part of {OFFICIAL.name}, which is from {_places(OFFICIAL)}, "
            f"{span(OFFICIAL)}; the part may cover less. Expect worse results elsewhere and in "
            "other years."
        )
    elif identity is not None and identity.kind == "synthetic":
        yield "The training patches were made up, so the model knows nothing of satellite images."
    elif facts is not None:
        yield (
            f"The training data are from {_places(facts)}, {span(facts)}. Expect worse results "
            "elsewhere and in other years."
        )
    else:
        yield (
            "Where and when the training data are from is not recorded, so nothing can be said of "
            "places and years in which the model works."
        )
    if facts is OFFICIAL:
        yield (
            "The labels come from CORINE Land Cover 2018, which maps nothing smaller than 25 "
            "hectares: a pond or a hamlet may be visible but not labelled, and some labels are "
            "wrong."
        )
        if "Sentinel-2" in sensors:
            yield (
                "The Sentinel-2 patches were atmospherically corrected with sen2cor 2.11; another "
                "correction shifts the values."
            )
    elif facts is not None:
        yield f"Where the labels come from, by the owner of the data: {facts.labels}."


def _places(facts: DataDescription) -> str:
    number = len(facts.place.split(", "))
    return f"{number} European countries ({facts.place})" if facts is OFFICIAL else facts.place
