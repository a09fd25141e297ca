"""What an older card states of a training of which there is no record."""

from collections.abc import Iterator

_NAMES = (
    *("number of epochs", "epochs", "batch size", "learning rate", "dropout rate", "dropout"),
    *("drop path rate", "learning rate scheduler", "optimizer", "optimiser", "seed", "loss"),
    *("warmup steps", "weight decay", "training data", "precision", "augmentation"),
)
_LONGEST = 300
_TABLE = "| Setting | Value |"
_SENTENCES = (
    ("Training data", "It was trained on ", ". On "),
    ("Training data", "It was fine-tuned on ", ". On "),
    ("Training data", "trained on the ", " dataset"),
    ("Epoch of the published weights", "were obtained after ", " training epochs"),
)


def read_stated(text: str) -> dict[str, str]:
    r"""Return the settings of a training that a card lists, name -> value, as it words them.

    They are items of a list such as ``- Batch size: 512``, rows of the table of settings of a card
    of reben, and sentences of both kinds of cards. Placeholders that nobody filled are left out.

    Example:
        >>> read_stated("It was trained on the A dataset.\n- Seed: 42\n- Mood: good")
        {'Training data': 'A', 'Seed': '42'}
    """
    found = {**dict(_from_sentences(text)), **dict(_from_table(text)), **dict(_from_list(text))}
    return {name: value for name, value in found.items() if value and not value.startswith("<")}


def _from_sentences(text: str) -> Iterator[tuple[str, str]]:
    for name, before, after in _SENTENCES:
        _, found, rest = text.partition(before)
        value, ended, _ = rest[:_LONGEST].partition(after)
        if found and ended and "\n" not in value:
            yield name, value.strip()


def _from_table(text: str) -> Iterator[tuple[str, str]]:
    """Yield the rows of reben's table of settings, without those that a config told."""
    _, found, rest = text.partition(_TABLE)
    for line in rest.splitlines()[1:] if found else ():
        cells = line.replace("\\|", "/").split("|")
        if len(cells) != 4:
            return
        name, value = (cell.strip().replace("\\", "").strip("`") for cell in cells[1:3])
        if name.strip("-: ") and not value.endswith("(from its config)"):
            yield name, value[:_LONGEST]


def _from_list(text: str) -> Iterator[tuple[str, str]]:
    lines = text.splitlines()
    for place, line in enumerate(lines):
        name, colon, value = line.lstrip(" -*").partition(":")
        if colon and line.lstrip()[:1] in ("-", "*") and name.strip().lower() in _NAMES:
            wrapped = lines[place + 1 : place + 2]
            if value.count("(") > value.count(")"):
                value = " ".join((value, *wrapped))
            yield name.strip(), " ".join(value.split())[:_LONGEST]
