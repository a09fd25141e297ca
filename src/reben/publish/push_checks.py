"""What is checked before a push asks anything of the Hub, or changes anything there."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from reben.errors import CardError, ConfigError, HubAuthError
from reben.model.hub import ask, checked_token, client

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_REFERENCE = re.compile(r"(?!.*(\.\.|//|/\.|\.lock(/|$)))\w([\w./+-]{0,98}\w)?")
"""The name of a branch or tag: what git takes, without what a shell or an address would change."""


def require_sense(*, create_pr: bool, tag: str | None, revision: str | None) -> None:
    """Check that the settings do not contradict each other, and that names are names."""
    for what, name in (("tag", tag), ("branch", revision)):
        if name is not None and not _REFERENCE.fullmatch(name):
            raise ConfigError(
                f"{name!r} cannot be the name of a {what}: it has letters, digits, dots, dashes, "
                "underscores and single slashes, for example v1.0."
            )
    if create_pr and revision is not None:
        raise ConfigError(
            f"A pull request makes its own branch, so it cannot go to {revision}. Leave the "
            "branch (--revision) or the pull request (--pr) out."
        )
    if create_pr and tag is not None:
        raise ConfigError(
            f"The commit of a pull request is not part of the model yet, so it gets no tag "
            f"{tag}. Leave the tag out, and push with it once the pull request is merged."
        )


def writing_client(token: str | None) -> "HfApi":
    """Return the client for a push, which needs a token."""
    found = checked_token(token)
    if found is None:
        raise HubAuthError(
            "Pushing needs a token with write access, and there is none. Log in with: hf auth "
            "login (or set HF_TOKEN)"
        )
    return client(found)


def require_card(folder: Path) -> None:
    """Check that the folder is a card folder without faults."""
    from reben.publish.check import check_card

    if not folder.is_dir():
        raise CardError(f"There is no card folder {folder}. Write one with: reben card")
    problems = [problem for problem in check_card(folder) if problem.severity == "error"]
    if problems:
        listed = "; ".join(str(problem) for problem in problems)
        raise CardError(
            f"{folder} does not pass the check, so nothing was pushed: {listed}. Write it again "
            "with reben card, or see: reben card --check"
        )


def require_writer(api: "HfApi") -> None:
    """Check that the token may write at all, as far as it tells."""
    told = ask(api.whoami, "Asking the Hub whose token this is")
    token = told.get("auth", {}).get("accessToken", {})
    if token.get("role") == "read":
        raise HubAuthError(
            f"The token of {told.get('name')} may only read. Nothing was pushed. Create one with "
            f"write access at {api.endpoint}/settings/tokens, and log in with: hf auth login"
        )
