"""The Hugging Face Hub: files of models fetched into its cache, and its errors in our words.

Everything goes through the Hub's own client, which knows the cache, the user's token and the
environment (``HF_HOME``, ``HF_TOKEN``, ``HF_ENDPOINT``, ``HF_HUB_OFFLINE``).
"""

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from inspect import unwrap
from json import JSONDecodeError
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from reben.errors import (
    ConfigError,
    HubAuthError,
    HubConflictError,
    HubConnectionError,
    HubError,
    HubNotFoundError,
    ModelFolderError,
    RebenError,
    first_line,
)
from reben.support.atomic import output_error

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")

WAITS = (1.0, 2.0, 4.0)
"""Seconds before each further attempt; nothing is asked more often."""
_HUB_ID = re.compile(r"(?!.*(--|\.\.))\w([\w.-]*\w)?/\w([\w.-]*\w)?(?<!\.git)", re.ASCII)
_LONGEST_ID = 96
_TOKEN = re.compile(r"[!-~]+")
_LOOKS_LIKE_TOKEN = re.compile(r"\b(hf_|api_org_)\w{6,}")
_ANSWERS: dict[int, tuple[type[HubError], str]] = {
    401: (
        HubAuthError,
        "Without a valid token the Hub does not say whether a repository is private or missing. "
        "Check the name; if it is private, log in with: hf auth login (or set HF_TOKEN)",
    ),
    403: (
        HubAuthError,
        "The token has no right to do this: use one with write access, of an account that may "
        "write there.",
    ),
    404: (HubNotFoundError, "Check the name and the revision."),
    409: (HubConflictError, "Look at what is there, and choose another name."),
    412: (HubConflictError, "Look at what is there, and try again."),
    429: (
        HubConnectionError,
        "The Hub takes no more requests from here for now: wait some minutes, or log in, which "
        "allows more: hf auth login",
    ),
}
_BUSY = (HubConnectionError, "The Hub itself has a problem: try again later.")
_OTHER = (HubError, "Follow what it says, and try again.")


def is_hub_id(name: str) -> bool:
    """Tell whether ``name`` has the form ``owner/name`` of a repository.

    Example:
        >>> is_hub_id("BIFOLD-BigEarthNetv2-0/resnet50-s2-v0.2.0"), is_hub_id("runs/a/best")
        (True, False)
    """
    return len(name) <= _LONGEST_ID and _HUB_ID.fullmatch(name) is not None


def require_hub_id(name: str) -> None:
    """Check that ``name`` has the form of a repository's id."""
    if not is_hub_id(name):
        raise ConfigError(
            f"{name!r} is not the id of a repository on the Hub, which has the form owner/name "
            "with letters, digits, single dashes, dots and underscores, for example "
            "my-org/resnet50-s2-v1.0."
        )


def split_revision(name: str, revision: str | None = None) -> tuple[str, str | None]:
    """Return the id and the revision of ``owner/name[@revision]``.

    Example:
        >>> split_revision("my-org/resnet50-s2@v1"), split_revision("my-org/resnet50-s2")
        (('my-org/resnet50-s2', 'v1'), ('my-org/resnet50-s2', None))
    """
    repository, _, named = name.partition("@")
    if not (named and is_hub_id(repository)):
        return name, revision
    if revision not in (None, named):
        raise ConfigError(f"{name} names another revision than {revision}. Name one of them.")
    return repository, named


def checked_token(token: str | bool | None) -> str | None:
    """Return the token that the Hub client would use, or None if there is none.

    Args:
        token: A token; False for none; None for the one from the usual places.
    """
    from huggingface_hub import get_token

    found = token if isinstance(token, str) else None if token is False else get_token()
    if found is not None and not _TOKEN.fullmatch(found):
        raise HubAuthError(
            "The token for the Hub holds blanks, line ends or other characters that no token has. "
            "Copy it again, without what is around it."
        )
    return found


def client(token: str | bool | None = None) -> "HfApi":
    """Return the client for all requests to the Hub, which calls itself by our name there."""
    from huggingface_hub import HfApi, constants, get_session

    try:
        place = urlsplit(constants.ENDPOINT)
        if place.scheme not in ("http", "https") or not place.hostname:
            raise ValueError("it has to begin with https://")
    except ValueError as error:
        raise ConfigError(
            f"HF_ENDPOINT is {constants.ENDPOINT!r}, which is no address of a Hub: {error}. Unset "
            "it, or give one such as https://huggingface.co"
        ) from None
    try:
        get_session()  # reads the proxies of the environment
    except (ValueError, ImportError) as error:
        raise ConfigError(
            "The proxy that the environment names (HTTPS_PROXY, ALL_PROXY) cannot be used: "
            f"{first_line(error)}. Unset it, or give one such as http://host:port"
        ) from None
    return HfApi(token=token, library_name="reben", library_version=version("reben"))


@contextmanager
def in_our_words(asked: str) -> Iterator[None]:
    """Turn the errors of the Hub client into ours; ``asked`` begins their messages."""
    from huggingface_hub.errors import HfHubHTTPError

    # That of httpx or of httpx2, depending on the version of the client.
    transport = cast("type[Exception]", HfHubHTTPError.__bases__[0])
    try:
        yield
    except RebenError:
        raise
    except (transport, OSError, RuntimeError, JSONDecodeError) as error:
        # RuntimeError comes from threads and from Xet, JSONDecodeError from a truncated answer.
        raise _explain(error, asked) from error


def _explain(error: BaseException, asked: str) -> HubError:
    """Return our error for one of the Hub client, with what to do about it."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    if isinstance(error, LocalEntryNotFoundError | RuntimeError) and error.__cause__ is not None:
        return _explain(error.__cause__, asked)
    if isinstance(error, OfflineModeIsEnabled):
        return HubConnectionError(
            f"{asked}: the client is set to work offline. Unset HF_HUB_OFFLINE to reach the Hub."
        )
    if isinstance(error, PermissionError) and error.errno is None:  # of Xet, the Hub's storage
        return HubAuthError(f"{asked}: the Hub's storage refuses the token. {_ANSWERS[403][1]}")
    said = _LOOKS_LIKE_TOKEN.sub("[token]", first_line(error))
    if _is_of_this_machine(error):
        file = getattr(error, "filename", None)
        about = f" ({file})" if file and str(file) not in said else ""
        return HubError(f"{asked}: this machine refuses: {said}{about}.")
    response = getattr(error, "response", None)
    if response is None:
        return HubConnectionError(
            f"{asked}: the connection to the Hub failed ({type(error).__name__}: {said}). Check "
            "the network, and try again."
        )
    status = int(response.status_code)
    said = _LOOKS_LIKE_TOKEN.sub("[token]", response.headers.get("X-Error-Message") or said)
    is_busy = status == 408 or status >= 500
    kind, advice = _BUSY if is_busy else _ANSWERS.get(status, _OTHER)
    if status == 401 and "credentials" in said.lower():
        advice = "The token is not valid (any more): make a new one and log in with: hf auth login"
    return kind(f"{asked}: the Hub answers {status} ({said.rstrip('.')}). {advice}")


def ask(
    call: Callable[[], _Answer],
    asked: str,
    *,
    is_final: Callable[[BaseException | None], bool] | None = None,
) -> _Answer:
    """Return the result of a call of the Hub client; call again if the Hub or the network fails.

    Only for calls that change nothing, or that the Hub refuses the second time.

    Args:
        call: The call.
        asked: What messages begin with.
        is_final: Tells of an error whether asking again is of no use.
    """
    for wait in WAITS:
        try:
            with in_our_words(asked), _client_retries(0):
                return call()
        except HubConnectionError as error:
            if (is_final or _is_final)(error.__cause__):
                raise
            _log.info("%s Trying again in %g s.", error, wait)
            time.sleep(wait)
    with in_our_words(asked), _client_retries(0):
        return call()


@contextmanager
def _client_retries(count: int) -> Iterator[None]:
    """Let the Hub client itself ask again only so often, since `ask` does.

    Otherwise its retries and ours would multiply. It has no setting for that, only defaults.
    """
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        http_backoff,
        http_stream_backoff,
    )

    settings = [
        (unwrap(http_backoff).__kwdefaults__, "max_retries", count),
        (unwrap(http_stream_backoff).__kwdefaults__, "max_retries", 0),
        (unwrap(http_get).__kwdefaults__, "_nb_retries", len(WAITS)),  # from where it broke off
    ]
    for defaults, name, most in settings:
        defaults[name] = most
    try:
        yield
    finally:
        for defaults, name, _ in settings:
            defaults[name] = _CLIENT_RETRIES


_CLIENT_RETRIES = 5
"""How often the Hub client asks again by itself. Source: huggingface_hub 1 and 2."""


def fetch_file(name: str, file: str, hub: dict[str, Any]) -> Path | None:
    """Return a file of a repository in the Hub's cache, fetched if need be; None if it has none.

    Without a network, the file that the cache holds for that revision is returned.

    Args:
        name: ``owner/name``.
        file: Its path in the repository.
        hub: ``revision``, ``cache_dir``, ``token``, ``local_files_only``, ``force_download``
            for the Hub client.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    checked_token(hub.get("token"))
    download = partial(_download, name, file, **hub)
    try:
        asked = f"There is no folder {name}; fetching {file} from the Hub"
        return Path(ask(download, asked, is_final=_is_final_download))
    except HubNotFoundError as error:
        if isinstance(error.__cause__, EntryNotFoundError):
            return None
        raise ModelFolderError(str(error)) from error
    except HubConnectionError as error:
        cause = error.__cause__
        if not isinstance(cause, LocalEntryNotFoundError):
            return _cached(name, file, hub, error)
        if cause.__cause__ is not None and not _is_final(cause.__cause__):
            raise
        raise ModelFolderError(
            f"There is no folder {name}, the Hub's cache does not hold such a model whole, and "
            f"the client is set to work offline: {first_line(cause)}. Fetch it once with the "
            "network on."
        ) from error
    except HubError as error:
        if isinstance(error.__cause__, OSError) and _is_of_this_machine(error.__cause__):
            place = hub.get("cache_dir") or constants.HF_HUB_CACHE
            raise output_error(Path(place), error.__cause__) from error
        raise


def _download(name: str, file: str, **hub: Any) -> str:  # noqa: ANN401 - passed on
    """Return the path of a file in the cache. Where the Hub is down, the client asks twice."""
    with _client_retries(max(0, len(WAITS) - 1)):
        return str(client().hf_hub_download(name, file, **hub))


def list_files(name: str, revision: str, token: str | bool | None) -> list[str]:
    """Return the paths of the files of a repository at a revision."""
    call = partial(client(token).list_repo_files, name, revision=revision)
    return ask(call, f"Listing the files of {name} at {revision}")


def _cached(name: str, file: str, hub: dict[str, Any], error: HubConnectionError) -> Path:
    """Return the file in the cache after the connection broke down: the client does not look."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        path = Path(
            client().hf_hub_download(
                name, file, **{**hub, "local_files_only": True, "force_download": False}
            )
        )
    except LocalEntryNotFoundError:
        raise error from error.__cause__
    _log.warning("%s Taking %s from the cache.", error, path)
    return path


def _is_final(error: BaseException | None) -> bool:
    """Tell whether asking again is of no use, or the client has done so already."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    return isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled)


def _is_final_download(error: BaseException | None) -> bool:
    """Tell the same of a download, which the client goes on with where it broke off."""
    broken_off = getattr(getattr(error, "_request", None), "method", None) == "GET"
    return _is_final(error) or (broken_off and not hasattr(error, "response"))


def _is_of_this_machine(error: BaseException) -> bool:
    """Tell whether the operating system refused something that is not the network."""
    network = isinstance(error, ConnectionError | TimeoutError) or hasattr(error, "response")
    return isinstance(error, OSError) and error.errno is not None and not network
