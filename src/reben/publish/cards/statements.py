"""Sentences of a user's template that its author fixed, and that a run may contradict."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_FIXED = (
    (r"\bepochs: (?:up to |at most )?(\d{1,7})\b", "epochs", "epochs at most"),
    (r"\bearly stopping after (\d{1,7}) epochs\b", "patience", "epochs without improvement"),
    (r"\bbatch size: ([\d,]{1,9}\d|\d)(?!\d)", "batch_size", "patches in a batch"),
)
_LOADED = re.compile(r"from_pretrained\(\s{0,20}[\"']([\w.-]{1,90}/[\w.-]{1,90})[\"']", re.ASCII)


_TRAINED_ON = ("trained on bigearthnet", "trained on the bigearthnet", "trained on reben")


def contradictions(text: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield, in words, what the text of a card says of training and name that is not so."""
    config = values["config"]
    for pattern, name, what in _FIXED if config else ():
        for said in re.findall(pattern, text, re.IGNORECASE):
            if int(said.replace(",", "")) != config[name]:
                yield f"it says {said} {what}; the run had {config[name]}"
    lower = " ".join(text.lower().split())
    if not values["official"] and any(words in lower for words in _TRAINED_ON):
        told = values["trained_words"]
        yield f"it says that the model was trained on BigEarthNet v2.0; what is known: {told}"
    if values["measured_data"]["args"] is not None and "on the test set of" in lower:
        told = values["measured_words"]
        yield f"it says that the figures are of the test set; they are of {told}"
    hub_id = values["hub_id"]
    for said in dict.fromkeys(_LOADED.findall(text)) if hub_id else ():
        if said != hub_id and not said.startswith("path"):
            yield f"it loads {said}, but this is the card of {hub_id}"
