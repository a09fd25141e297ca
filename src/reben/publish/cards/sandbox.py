"""A foreign Jinja template, filled in a process of its own: bounded in time, memory and output.

A sandbox of Jinja keeps a template from files and from Python's insides, but not from endless
loops and huge texts. So it runs apart, where it can take nothing with it.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

from reben.errors import ConfigError
from reben.publish.markdown import Markdown, render
from reben.support.apart import OutOfBoundsError, limit_memory, run_apart
from reben.support.bounds import MAX_CARD_BYTES

MOST_SECONDS = 10.0
_MOST_MEMORY = 1 << 30


def render_apart(
    template: str, values: Mapping[str, Any], name: str, seconds: float = MOST_SECONDS
) -> str:
    """Return a foreign template filled with plain values, as `render` does."""
    markdown = [name for name, value in values.items() if isinstance(value, Markdown)]
    task = {"template": template, "values": values, "markdown": markdown, "name": name}
    try:
        told = json.loads(run_apart(__name__, json.dumps(task).encode(), seconds=seconds))
    except (OutOfBoundsError, ValueError) as error:
        raise ConfigError(
            f"{name} cannot be filled: {error}. A template has {seconds:g} s and "
            f"{_MOST_MEMORY >> 30} GiB of memory; shorten its loops and texts."
        ) from None
    if "fault" in told:
        raise ConfigError(told["fault"])
    return str(told["text"])


def _main() -> None:
    limit_memory(_MOST_MEMORY)
    task = json.load(sys.stdin.buffer)
    values = {
        name: Markdown(value) if name in task["markdown"] else value
        for name, value in task["values"].items()
    }
    try:
        told = {"text": render(task["template"], values, task["name"])}
        size = len(told["text"].encode())
        if size > MAX_CARD_BYTES:
            raise ConfigError(
                f"{task['name']} makes a card of {size:,} bytes; a card has at most "
                f"{MAX_CARD_BYTES:,}."
            )
    except ConfigError as error:
        told = {"fault": str(error)}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    _main()
