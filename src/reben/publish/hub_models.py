"""The models of an organisation on the Hub, with bands, architecture and figures."""

from dataclasses import asdict, dataclass
from typing import Any

from reben.errors import (
    AmbiguousBandsError,
    BandsError,
    CardError,
    ConfigError,
    HubNotFoundError,
    ModelFolderError,
)
from reben.model.folder import CONFIG_FILE
from reben.model.hub import ask, checked_token, client, fetch_file
from reben.model.published import parse_config
from reben.publish.mlm_fields import CARD_FILE
from reben.publish.pages import read_page, split_head, table_rows
from reben.support.json_files import read_json


@dataclass(frozen=True)
class Entry:
    """A model on the Hub; what is unknown is None, and ``remark`` says why.

    Args:
        model: Its id, ``owner/name``.
        commit: The commit that was looked at.
        architecture: Its backbone, by timm's name.
        bands: Its bands in the order of the channels.
        average_precision: Macro average precision by the model-index of its card, or else by the
            table of results on it, 0 to 1.
        measured_on: The data set and split of that figure.
        private: Whether it is private.
        updated: When it was last changed, ISO 8601.
        remark: Why something is unknown.
    """

    model: str
    commit: str
    architecture: str | None = None
    bands: tuple[str, ...] | None = None
    average_precision: float | None = None
    measured_on: str | None = None
    private: bool = False
    updated: str | None = None
    remark: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        return asdict(self)


def list_models(owner: str, *, token: str | bool | None = None) -> tuple[Entry, ...]:
    """Return the models of an organisation or user, the highest average precision first.

    Those without a figure come last. One or two small files of each model are fetched into the
    Hub's cache; no weights are.

    Args:
        owner: Name of the organisation or user.
        token: Token for the Hub, if not the usual one.

    Raises:
        ConfigError: If the name is not that of an owner.
        HubNotFoundError: If the token sees no model of that owner.
        HubError: If the Hub refuses or cannot be reached.
    """
    if not owner.strip() or "/" in owner:
        raise ConfigError(
            f"{owner!r} is no organisation or user on the Hub. Name it without a model, for "
            "example BIFOLD-BigEarthNetv2-0."
        )
    checked_token(token)
    api = client(token)
    models = ask(
        lambda: list(api.list_models(author=owner, cardData=True, full=True)),
        f"Listing the models of {owner}",
    )
    if not models:
        raise HubNotFoundError(
            f"The Hub shows no model of {owner}. Check the name; private models need a token of "
            "the organisation."
        )
    return tuple(sorted((_entry(model, token) for model in models), key=_rank))


def _rank(entry: Entry) -> tuple[bool, float, str]:
    unknown = entry.average_precision is None
    return unknown, -(entry.average_precision or 0.0), entry.model.lower()


def _entry(model: Any, token: str | bool | None) -> Entry:  # noqa: ANN401 - of the Hub client
    architecture, bands, doubt = _contract(model.id, model.sha, token)
    found, remark = indexed_precision(model.card_data), ""
    if found is None:
        found, remark = _in_table(model.id, model.sha, token)
    return Entry(
        model=model.id,
        commit=model.sha,
        architecture=architecture,
        bands=bands,
        average_precision=found[0] if found else None,
        measured_on=found[1] if found else None,
        private=bool(model.private),
        updated=model.last_modified.isoformat() if model.last_modified else None,
        remark="; ".join(filter(None, (doubt, remark))),
    )


def _contract(
    name: str, commit: str, token: str | bool | None
) -> tuple[str | None, tuple[str, ...] | None, str]:
    """Return architecture and bands by the config of a model, and why one of them is unknown."""
    path = fetch_file(name, CONFIG_FILE, {"revision": commit, "token": token})
    if path is None:
        return None, None, f"no {CONFIG_FILE}"
    try:
        values = read_json(path, dict[str, Any], ModelFolderError, "")
    except ModelFolderError:
        return None, None, f"{CONFIG_FILE} is not JSON"
    told = values.get("timm_model_name")
    if not isinstance(told, str):
        return None, None, f"{CONFIG_FILE} does not describe a model that reben can open"
    try:
        config = parse_config(values, name=name)
    except AmbiguousBandsError:
        return told, None, "its config does not say the bands"
    except (BandsError, ConfigError):
        return told, None, f"{CONFIG_FILE} has invalid values"
    return config.backbone, config.bands.names, ""


def table_precision(page: str) -> tuple[float, str | None] | None:
    """Return the macro average precision in the table of a card, and no data set.

    The first published cards have it there and no model-index.

    Raises:
        CardError: If the page is beyond what a card holds, or its figure is none.
    """
    column = None
    for row in table_rows(page):
        words = [" ".join(cell.replace("*", "").lower().split()) for cell in row]
        if "macro" in words:
            column = words.index("macro")
        elif column is not None and words[0] in ("average precision", "map", "ap"):
            try:
                figure = float(words[column])
            except (ValueError, IndexError):
                return None
            if not 0 <= figure <= 1:
                raise CardError(f"average precision {words[column]} in the table of its card")
            return figure, None
    return None


def _in_table(
    name: str, commit: str, token: str | bool | None
) -> tuple[tuple[float, str | None] | None, str]:
    """Return what the table of a card on the Hub holds, and what is to be said of it."""
    nothing = "no average precision in the model-index of its card"
    path = fetch_file(name, CARD_FILE, {"revision": commit, "token": token})
    try:
        found = None if path is None else table_precision(split_head(read_page(path))[1])
    except CardError as error:
        said = str(error)
        return None, said if said.startswith("average precision") else nothing
    return found, nothing if found is None else "average precision from the table of its card"


def indexed_precision(card: Any) -> tuple[float, str | None] | None:  # noqa: ANN401 - of the Hub client
    """Return the macro average precision of a card and its data, preferably of a test split."""
    results = [
        result
        for result in getattr(card, "eval_results", None) or ()
        if result.metric_type == "average_precision"
        and (result.metric_args or {}).get("average") == "macro"
        and isinstance(result.metric_value, int | float)
        and 0 <= result.metric_value <= 1
    ]
    results.sort(key=lambda result: result.dataset_split != "test")
    if not results:
        return None
    first = results[0]
    return float(first.metric_value), f"{first.dataset_name}, {first.dataset_split or 'no split'}"
