"""Templates with placeholders in angle brackets, as the first published cards were made from."""

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any

from reben.errors import ConfigError
from reben.learn.config import SETTINGS
from reben.publish.markdown import DECIMALS, escape, number
from reben.publish.pages import code_lines
from reben.spec.bands import BandSet

_PLACEHOLDER = re.compile(r"(?<!\\)<([A-Z][A-Z0-9_]{1,60})>")
_RANKED = re.compile(r"(LABEL|SCORE)_([1-9]\d{0,3})")
_TAGS = """
    ABBR ARTICLE ASIDE BLOCKQUOTE BODY BR BUTTON CAPTION CENTER CITE CODE COL COLGROUP DD DEL
    DETAILS DIV DL DT EM FIGCAPTION FIGURE FONT FOOTER FORM H1 H2 H3 H4 H5 H6 HEAD HEADER HR HTML
    IMG INPUT INS KBD LI MAIN MARK NAV OL PICTURE PRE SAMP SCRIPT SECTION SMALL SPAN STRIKE STRONG
    STYLE SUB SUMMARY SUP TABLE TBODY TD TFOOT TH THEAD TITLE TR TT UL VAR VIDEO
"""
_HTML = frozenset(_TAGS.split())
"""Elements of HTML, which are no placeholders when somebody writes them in capitals."""
_ASKED = re.compile(r"\{\{-?[ ]{0,9}(\w{1,60})|\{%-?[ ]{0,9}(?:if|for)\b")
_PLAIN, _PLAIN_NAME = ("MODEL_NAME", "MODEL_NAME_RAW", "BAND_CONFIG"), re.compile(r"\w[\w.-]*")
_LONGEST_BETWEEN, _LONGEST_TAG = 60, 4000
_LAST = 19
"""``<LABEL_19>`` at the end of an ellipsis is the last label, however many the model has."""
UNKNOWN = "unknown"
"""What stands for a fact of a training that was not recorded."""
_MISSIONS = {"s1": "Sentinel-1", "s2": "Sentinel-2", "all": "Sentinel-1 & Sentinel-2"}
NAMES = (
    *("MODEL_NAME", "MODEL_NAME_RAW", "DATASET_NAME", "DATASET_NAME_FULL", "DATASET_NAME_FULL_2"),
    *("BANDS_USED", "BAND_CONFIG", "LEARNING_RATE", "DROPOUT_RATE", "DROP_PATH_RATE"),
    *("WARMUP_STEPS", "SEED", "EPOCHS", "AP_MACRO", "AP_MICRO", "F1_MACRO", "F1_MICRO"),
    *("PRECISION_MACRO", "PRECISION_MICRO", "VIS_BANDS"),
)
"""The placeholders, without ``LABEL_1``, ``SCORE_1`` and so on."""


def has_placeholders(text: str) -> bool:
    """Tell whether there is anything in a text that looks like a placeholder."""
    return any(word not in _HTML for word in _PLACEHOLDER.findall(text))


def is_known(text: str) -> bool:
    """Tell whether there is a placeholder in a text that reben fills."""
    return any(word in NAMES or _RANKED.fullmatch(word) for word in _PLACEHOLDER.findall(text))


def placeholder_values(values: Mapping[str, Any]) -> dict[str, str | int | float]:
    """Return what the placeholders stand for, from the values of a card."""
    backbone, dataset = str(values["backbone"]), str(values["dataset"])
    official, run, config = values["official"], values["run"], values["config"]
    bands = BandSet(tuple(channel["band"] for channel in values["channels"]))
    rows = {row["name"]: row["value"] for row in values["recipe"]}
    recorded = {} if run is None else {
        "LEARNING_RATE": f"{config['learning_rate']:g}",
        "WARMUP_STEPS": run["warmup_steps"],
        "SEED": config["seed"],
        "EPOCHS": run["best_epoch"],
    }  # fmt: skip
    figures = {
        f"{short}_{means.upper()}": round(values["report"][means][metric], DECIMALS)
        for short, metric in (("AP", "average_precision"), ("F1", "f1"), ("PRECISION", "precision"))
        for means in ("macro", "micro")
    }
    ranked = {
        f"{what}_{place}": value
        for place, bar in enumerate(values["example"]["bars"], start=1)
        for what, value in (("LABEL", bar["label"]), ("SCORE", round(bar["score"], DECIMALS)))
    }
    return {
        "MODEL_NAME": backbone[:1].upper() + backbone[1:],
        "MODEL_NAME_RAW": backbone,
        "DATASET_NAME": dataset,
        "DATASET_NAME_FULL": f"{dataset} (reBEN)" if official else dataset,
        "DATASET_NAME_FULL_2": f"{dataset} (also known as reBEN)" if official else dataset,
        "BANDS_USED": _MISSIONS.get(bands.word, ", ".join(bands)),
        "BAND_CONFIG": "-".join(bands) if "," in bands.word else bands.word,
        **dict.fromkeys(("LEARNING_RATE", "WARMUP_STEPS", "SEED", "EPOCHS"), UNKNOWN),
        "DROPOUT_RATE": rows.get(SETTINGS["drop_rate"].card, UNKNOWN),
        "DROP_PATH_RATE": rows.get(SETTINGS["drop_path_rate"].card, UNKNOWN),
        **recorded,
        **figures,
        "VIS_BANDS": values["caption"],
        **ranked,
    }


# Filling -----------------------------------------------------------------------------------------


def fill_text(text: str, values: Mapping[str, Any], name: str) -> str:
    """Return Markdown with its placeholders filled, each escaped as its place demands."""
    known = placeholder_values(values)
    count = len(values["example"]["bars"])
    _require_known(text, known, name, count)
    _require_no_jinja(text, values, name)
    text = _write_out(text, count)
    _require_known(text, known, name, count, whole=True)
    lines = text.split("\n")
    kinds = ["text"] * len(lines)
    for first, last, kind in code_lines(text):
        kinds[first:last] = ["html" if kind == "html_block" else "code"] * (last - first)
    parts, above = [], ""
    for line, kind in zip(lines, kinds, strict=True):
        parts.append(_fill_line(line, kind, above, known))
        # What a tag or code may have begun in, in the same paragraph.
        above = f"{above}{line}\n"[-_LONGEST_TAG:] if line.strip() else ""
    return "\n".join(parts)


def fill_head(head: Any, values: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - of YAML
    """Return the fields of a front matter with their placeholders filled.

    A field that is a placeholder and nothing else gets its value, a number as a number. An entry of
    a list that asks for a label that the model has not is left out.
    """
    known = placeholder_values(values)
    _require_known(json.dumps(head, default=str), known, name, len(values["example"]["bars"]))
    return _fill_value(head, known)


def _fill_value(value: Any, known: Mapping[str, Any]) -> Any:  # noqa: ANN401 - of YAML
    if isinstance(value, dict):
        return {name: _fill_value(inside, known) for name, inside in value.items()}
    if isinstance(value, list):
        return [_fill_value(each, known) for each in value if not _is_beyond(each, known)]
    if not isinstance(value, str):
        return value
    alone = _PLACEHOLDER.fullmatch(value)
    if alone is not None and alone[1] in known:
        return known[alone[1]]
    return _PLACEHOLDER.sub(lambda match: str(known.get(match[1], match[0])), value)


def _is_beyond(value: object, known: Mapping[str, Any]) -> bool:
    """Tell whether a value asks for a label that the model has not."""
    found = _PLACEHOLDER.findall(json.dumps(value, default=str))
    return any(word not in known for word in found if _RANKED.fullmatch(word))


def _require_known(
    text: str, known: Mapping[str, Any], name: str, count: int, *, whole: bool = False
) -> None:
    """Raise ConfigError if a placeholder has no value; labels count once all are written out."""
    for word in _PLACEHOLDER.findall(text):
        if word in known or word in _HTML or (_RANKED.fullmatch(word) and not whole):
            continue
        if _RANKED.fullmatch(word):
            raise ConfigError(
                f"{name} asks for <{word}>; the model has {count} labels. Take it out, or write "
                "<LABEL_1> <br> ... <br> <LABEL_19>, which means all labels."
            )
        similar = difflib.get_close_matches(word, NAMES, n=1)
        hint = f" Did you mean <{similar[0]}>?" if similar else ""
        raise ConfigError(
            f"{name} has a placeholder <{word}>, which reben does not know.{hint} Known are "
            f"{', '.join(f'<{each}>' for each in NAMES)}, and <LABEL_1>, <SCORE_1> and so on by "
            "falling score. Fill in others yourself, or take them out."
        )


def _require_no_jinja(text: str, values: Mapping[str, Any], name: str) -> None:
    """Raise ConfigError if a template with placeholders also asks for values in Jinja."""
    asked = next((word for word in _ASKED.findall(text) if word in values), None)
    if asked is not None:
        raise ConfigError(
            f"{name} has both placeholders in angle brackets and Jinja ({{{{ {asked} ... }}}}). "
            "Use one of them."
        )


def _write_out(text: str, count: int) -> str:
    """Return a text with ``<LABEL_3> <br> ... <br> <LABEL_19>`` written out, up to ``count``."""
    found = [match for match in _PLACEHOLDER.finditer(text) if _RANKED.fullmatch(match[1])]
    parts, left = [], len(text)
    for place in reversed(range(len(found) - 1)):
        between = _between(text, found[place], found[place + 1])
        separator, dots, _ = between.replace("…", "...").partition("...")
        if not dots or len(between) > _LONGEST_BETWEEN or found[place + 1].end() > left:
            continue
        first = place
        while (
            first
            and _between(text, *found[first - 1 : first + 1]) == separator
            and _rank(found[first]) == _rank(found[first - 1], 1)
        ):
            first -= 1
        (kind, begin), (other, end) = map(_rank, (found[first], found[place + 1]))
        last = count if end >= _LAST else min(end, count)
        if kind != other or not begin <= _rank(found[place])[1] < end or begin > last:
            continue
        whole = separator.join(f"<{kind}_{rank}>" for rank in range(begin, last + 1))
        parts += [text[found[place + 1].end() : left], whole]
        left = found[first].start()
    return "".join(reversed([*parts, text[:left]]))


def _between(text: str, one: re.Match[str], other: re.Match[str]) -> str:
    return text[one.end() : other.start()]


def _rank(match: re.Match[str], further: int = 0) -> tuple[str, int]:
    kind, _, place = match[1].partition("_")
    return kind, int(place) + further


def _fill_line(line: str, kind: str, above: str, known: Mapping[str, Any]) -> str:
    def filled(match: re.Match[str]) -> str:
        if match[1] not in known:
            return match[0]  # an element of HTML
        before = f"{above}{line[max(0, match.start() - _LONGEST_TAG) : match.start()]}"
        before = _PLACEHOLDER.sub("", before[-_LONGEST_TAG:])
        place = kind
        if kind == "text" and before.count("`") % 2:
            place = "code"
        elif kind == "text" and before.rfind("<") > before.rfind(">"):
            place = "html"
        return _shown(match[1], known[match[1]], place)

    return _PLACEHOLDER.sub(filled, line)


def _shown(name: str, value: str | float, place: str) -> str:
    """Return a value as its place demands: in text, inside HTML, or in code."""
    if isinstance(value, float):
        return number(value)
    text = " ".join(str(value).split())
    if name in _PLAIN and _PLAIN_NAME.fullmatch(text):
        return text  # may be part of an address, where a backslash would stay
    if place == "code":
        return json.dumps(text, ensure_ascii=False)[1:-1].replace("`", "\\u0060")
    if place == "html":  # nothing but letters, whatever HTML or Markdown is around it
        return "".join(c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in text)
    return escape(text)
