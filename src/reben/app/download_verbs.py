"""The verb that fetches the data set: download."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from reben.app.data_verbs import AsJson
from reben.app.terminal import format_bytes, print_json, print_text, talk
from reben.errors import ConfigError


def download(
    folder: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    only: str | None = None,
    record: str | None = None,
    as_json: AsJson = False,
) -> None:
    """Fetch the archives of BigEarthNet v2.0 from Zenodo; go on where an earlier call broke off.

    Names, sizes and MD5 sums are read from the record, and every file is verified.

    Args:
        folder: Where to put the files. A single dash writes one file to stdout as it comes, for
            a pipe: reben download - --only s2 | reben encode --s2 - --out STORE
        only: Parts to fetch, separated by commas: s1, s2, reference_maps, metadata.
        record: Address of another record's JSON.
        as_json: Write the result as JSON.
    """
    from reben.data.download import download as fetch
    from reben.data.download import stream
    from reben.data.remote import RECORD_URL

    parts = None if only is None else only.split(",")
    address = record or RECORD_URL
    with _bytes_bar() as progress:
        if str(folder) == "-":
            if as_json or parts is None:
                raise ConfigError("Into a pipe goes one part, named by --only, and no --json.")
            stream(sys.stdout.buffer, only=parts, record_url=address, progress=progress)
            return
        paths = fetch(folder, only=parts, record_url=address, progress=progress)
    talk(f"{format_bytes(sum(path.stat().st_size for path in paths))} verified.")
    if as_json:
        print_json({"files": [str(path) for path in paths]})
    else:
        for path in paths:
            print_text(str(path))


@contextmanager
def _bytes_bar() -> Iterator[Callable[[str, int, int], None] | None]:
    """Yield a function that shows bytes, rate and time left, or None where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, progress.TaskID] = {}

        def move(name: str, there: int, size: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=size, completed=there)
            bar.update(tasks[name], completed=there)

        yield move
