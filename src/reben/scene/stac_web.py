"""STAC on the web: a document fetched, and an API asked, both within bounds of size and time."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from reben.errors import DownloadError, RebenError, cut, first_line
from reben.scene.readers.stac import is_web_address, shown
from reben.support.bounds import MAX_ITEMS_BYTES, MAX_SEARCH_REQUESTS
from reben.support.extras import optional

_TIMEOUT_SECONDS = 60
_MOST_SECONDS = 300  # for one answer
_Fields = dict[str, Any] | None


def fetch(
    address: str, method: str = "GET", headers: _Fields = None, parameters: _Fields = None
) -> bytes:
    """Return what is at an address, within bounds of size and time.

    Args:
        address: An http or https URL.
        method: ``GET``, or ``POST``, which sends ``parameters`` as JSON.
        headers: Of the request.
        parameters: Of the query.

    Raises:
        DownloadError: If it could not be fetched. The address is shown without what signs it.
    """
    import httpx

    if not is_web_address(address):
        raise DownloadError(f"{cut(address)} is no address of the web, and is not asked.")
    content, begun = bytearray(), monotonic()
    try:
        with httpx.stream(
            method,
            address,
            headers=headers,
            timeout=_TIMEOUT_SECONDS,
            follow_redirects=True,
            params=None if method == "POST" else parameters or None,
            json=parameters if method == "POST" else None,
        ) as answer:
            answer.raise_for_status()
            for chunk in answer.iter_bytes():
                content += chunk
                if len(content) > MAX_ITEMS_BYTES:  # the parser refuses it
                    break
                if monotonic() - begun > _MOST_SECONDS:
                    raise TimeoutError(f"it takes more than {_MOST_SECONDS} seconds")
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        # The message of a status holds the whole address, with what signs it.
        status = error.response if isinstance(error, httpx.HTTPStatusError) else None
        said = f"HTTP {status.status_code}" if status else first_line(error)
        raise DownloadError(f"Could not fetch {shown(address)}: {said}.") from None
    return bytes(content)


def open_api(root: str) -> Any:  # noqa: ANN401 - pystac-client is optional
    """Return a client that asks as `fetch` does, and not without end."""
    client = optional("pystac_client", "stac", "Searching a STAC API")
    io = optional("pystac_client.stac_api_io", "stac", "Searching a STAC API")
    num_asked = 0

    class Bounded(io.StacApiIO):  # type: ignore[misc, name-defined]
        def request(
            self,
            href: str,
            method: str | None = None,
            headers: _Fields = None,
            parameters: _Fields = None,
        ) -> str:
            nonlocal num_asked
            num_asked += 1
            if num_asked > MAX_SEARCH_REQUESTS:
                raise DownloadError(
                    f"{shown(root)} gave {MAX_SEARCH_REQUESTS} pages and has more. Ask for less."
                )
            return fetch(href, method or "GET", headers, parameters).decode("utf-8")

    return client.Client.open(root, stac_io=Bounded())


@contextmanager
def code_of_others(name: str) -> Iterator[None]:
    """Turn whatever pystac-client raises on text from elsewhere into a RebenError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what an API lacks of the standard
            yield
    except RebenError:
        raise
    except Exception as error:  # noqa: BLE001 - its text may hold what signs an address
        status = getattr(error, "status_code", None)
        said = f"{type(error).__name__}" + (f", HTTP {status}" if status else "")
        raise DownloadError(
            f"Searching {name} failed ({said}). Check the address, and try again."
        ) from None
