"""Serving the page: where it listens and writes, and what it never asks for."""

import os
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reben.app.demo.limits import (
    AT_ONCE,
    MOST_MESSAGE_BYTES,
    MOST_REQUEST_BYTES,
    MOST_SCENE_BYTES,
    MOST_STORED_BYTES,
    WAITING,
)
from reben.errors import ConfigError, first_line
from reben.support.bounds import MEBIBYTE
from reben.support.numbers import require_whole

if TYPE_CHECKING:
    import gradio

    from reben.app.demo.handlers import PageState

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts that only this machine reaches."""
# The page runs its own scripts and styles only, and shows pictures that were sent with it.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class OnlyHere:
    """ASGI middleware: what other sites and too large requests ask for is refused.

    It also tells browsers to ask no other host, and fetches nothing for them.

    Args:
        app: The application behind it.
        root: The folder of uploads and results.
        most_stored: How many bytes it may hold.
    """

    def __init__(
        self,
        app: Callable[[_Message, _Receive, _Send], Awaitable[None]],
        root: Path,
        most_stored: int = MOST_STORED_BYTES,
    ) -> None:
        self.app = app
        self.root = root
        self.most_stored = most_stored
        self._coming = 0  # bytes of uploads that are being received

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page opens no web socket
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.lower(): value for name, value in scope.get("headers", ())}
        path, size = scope["path"], _size_of_body(scope["method"], headers)
        refused = _fault_of_place(path, headers) or self._fault_of_size(path, size)
        if refused is not None:
            status, said = refused
            plain = [(b"content-type", b"text/plain; charset=utf-8"), *_HEADERS]
            await send({"type": "http.response.start", "status": status, "headers": plain})
            await send({"type": "http.response.body", "body": said.encode()})
            return

        async def send_with_policy(message: _Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        self._coming += size
        try:
            await self.app(scope, receive, send_with_policy)
        finally:
            self._coming -= size

    def _fault_of_size(self, path: str, size: int) -> tuple[int, str] | None:
        """Return status and words for a request that is too large, before any of it is read."""
        if size < 0:
            return 411, "The length of the request is not told."
        is_upload = path.rstrip("/").endswith("/upload")
        most = MOST_REQUEST_BYTES if is_upload else MOST_MESSAGE_BYTES
        if size > most:
            return 413, (
                f"This has {size // MEBIBYTE} MiB; no more than {most // MEBIBYTE} are taken at "
                "once. Choose the files of one patch or scene."
            )
        if is_upload and self._coming + size + _bytes_in(self.root) > self.most_stored:
            return 413, (
                "The page stores no more uploads at present. Try again later, or run reben demo on "
                "your own machine."
            )
        return None


def _size_of_body(method: str, headers: Mapping[bytes, bytes]) -> int:
    """Return the length of a request's body in bytes; -1 if it is not told."""
    told = headers.get(b"content-length", b"").decode("latin-1")
    if told.isascii() and told.isdigit():
        return int(told[:20])
    is_bare = method in ("GET", "HEAD", "OPTIONS") and b"transfer-encoding" not in headers
    return 0 if is_bare and not told else -1


def _fault_of_place(path: str, headers: Mapping[bytes, bytes]) -> tuple[int, str] | None:
    """Return status and words for a request that another site sends, or that asks for one."""
    # Gradio would fetch these addresses from the server's own place in the network.
    if "file=http" in path.lower() or "/proxy=" in path.lower():
        return 404, "Not here."
    origin = headers.get(b"origin")
    own = {headers.get(b"host"), headers.get(b"x-forwarded-host")} - {None}
    if origin is not None and origin.partition(b"://")[2] not in own:
        return 403, "Another site may not use this page."
    return None


def _bytes_in(folder: Path) -> int:
    """Return how much a folder holds."""
    sizes = []
    for path in folder.rglob("*"):
        with suppress(OSError):  # it was removed just now
            sizes.append(path.lstat().st_size)
    return sum(sizes)


def require_port(host: str, port: int | None) -> None:
    """Check that the page can listen where it shall; a ConfigError says what is in the way."""
    if port is not None:
        require_whole("port", port, most=65535)
    try:
        with socket.create_server((host, port or 0), family=_family_of(host)):
            return
    except (OSError, UnicodeError) as error:
        raise _cannot_listen(host, port, error) from None


def _family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _cannot_listen(host: str, port: int | None, error: Exception) -> ConfigError:
    number = getattr(error, "errno", None) or 0
    told = os.strerror(number) if number > 0 else first_line(error)
    where = "any free port" if port is None else f"port {port}"
    cure = "Choose another --port, or none for a free one; --host is an address of this machine."
    return ConfigError(f"The page cannot listen on {host}, {where}: {told}. {cure}")


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield the folder of all uploads and results; it is removed at the end.

    Enter it before Gradio is imported, which reads from the environment where to write.
    """
    before = tempfile.tempdir
    names = ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY")
    known = {name: os.environ.get(name) for name in names}
    with tempfile.TemporaryDirectory(prefix="reben-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        os.environ |= dict(zip(names, (str(folder), "False", "1"), strict=True))
        tempfile.tempdir = str(folder)
        try:
            yield folder
        finally:
            tempfile.tempdir = before
            for variable, value in known.items():
                del os.environ[variable]
                if value is not None:
                    os.environ[variable] = value


def launch(
    state: "PageState", *, host: str = "127.0.0.1", port: int | None = None
) -> "tuple[gradio.Blocks, str]":
    """Start serving the page, and return it with its address.

    Args:
        state: What the page shows; its folder is that of `private_folder`.
        host: Address to listen on; 127.0.0.1 is reached from this machine only.
        port: Port to listen on; by default the first free one from 7860 on.
    """
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from reben.app.demo.page import build, look

    page = build(state)
    page.queue(max_size=WAITING, default_concurrency_limit=AT_ONCE, api_open=False)
    middleware = [Middleware(OnlyHere, root=state.root)]
    if host in LOOPBACK:
        # A page elsewhere cannot reach this one by a name that it makes point to 127.0.0.1.
        hosts = [*LOOPBACK[:2], "[::1]"]
        middleware.append(Middleware(TrustedHostMiddleware, allowed_hosts=hosts))
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            inbrowser=False,
            quiet=True,
            prevent_thread_lock=True,
            show_error=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            enable_monitoring=False,
            max_file_size=MOST_SCENE_BYTES,
            max_threads=8,
            app_kwargs={"middleware": middleware},
            **look(),
        )
    except OSError as error:
        raise _cannot_listen(host, port, error) from None
    return page, address
