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
from json import JSONDecodeError
from pathlib import Path
from typing import Any, TypeVar, cast

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

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")

WAITS = (1.0, 2.0, 4.0)
"""Seconds before each further attempt."""
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
        return HubError(f"{asked}: this machine refuses: {said}.")
    response = getattr(error, "response", None)
    if response is None:
        return HubConnectionError(
            f"{asked}: the connection to the Hub failed ({type(error).__name__}: {said}). Check "
            "the network, and try again."
        )
    status = int(response.status_code)
    said = _LOOKS_LIKE_TOKEN.sub("[token]", response.headers.get("X-Error-Message") or said)
    is_busy = status in (408, 429) or status >= 500
    kind, advice = _BUSY if is_busy else _ANSWERS.get(status, _OTHER)
    if status == 401 and "credentials" in said.lower():
        advice = "The token is not valid (any more): make a new one and log in with: hf auth login"
    return kind(f"{asked}: the Hub answers {status} ({said.rstrip('.')}). {advice}")


def ask(call: Callable[[], _Answer], asked: str) -> _Answer:
    """Return the result of a call of the Hub client; call again if the Hub or the network fails.

    Only for calls that change nothing, or that the Hub refuses the second time.
    """
    for wait in WAITS:
        try:
            with in_our_words(asked):
                return call()
        except HubConnectionError as error:
            if _is_final(error.__cause__):
                raise
            _log.info("%s Trying again in %g s.", error, wait)
            time.sleep(wait)
    with in_our_words(asked):
        return call()


def fetch_file(name: str, file: str, hub: dict[str, Any]) -> Path | None:
    """Return a file of a repository in the Hub's cache, fetched if need be; None if it has none.

    Without a network, the file that the cache holds for that revision is returned.

    Args:
        name: ``owner/name``.
        file: Its path in the repository.
        hub: ``revision``, ``cache_dir``, ``token``, ``local_files_only`` for the Hub client.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    checked_token(hub.get("token"))
    download = partial(hf_hub_download, name, file, **hub)
    try:
        return Path(ask(download, f"There is no folder {name}; fetching {file} from the Hub"))
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


def list_files(name: str, revision: str, token: str | bool | None) -> list[str]:
    """Return the paths of the files of a repository at a revision."""
    from huggingface_hub import HfApi

    call = partial(HfApi().list_repo_files, name, revision=revision, token=token)
    return ask(call, f"Listing the files of {name} at {revision}")


def _cached(name: str, file: str, hub: dict[str, Any], error: HubConnectionError) -> Path:
    """Return the file in the cache after the connection broke down: the client does not look."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        path = Path(hf_hub_download(name, file, **{**hub, "local_files_only": True}))
    except LocalEntryNotFoundError:
        raise error from error.__cause__
    _log.warning("%s Taking %s from the cache.", error, path)
    return path


def _is_final(error: BaseException | None) -> bool:
    """Tell whether asking again is of no use, or the client has done so already."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    return isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled)


def _is_of_this_machine(error: BaseException) -> bool:
    """Tell whether the operating system refused something that is not the network."""
    network = isinstance(error, ConnectionError | TimeoutError) or hasattr(error, "response")
    return isinstance(error, OSError) and error.errno is not None and not network
