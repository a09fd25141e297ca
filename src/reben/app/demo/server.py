"""Serving the page: where it listens and writes, and what it never asks for."""

import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reben.errors import ConfigError

if TYPE_CHECKING:
    import gradio

    from reben.app.demo.handlers import PageState

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts that only this machine reaches."""
_MAX_FILE_BYTES = 64 << 20
_WAITING, _AT_ONCE, _SESSIONS = 16, 2, 100
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
    """ASGI middleware: tells browsers to ask no other host, and fetches nothing for them.

    Args:
        app: The application behind it.
    """

    def __init__(self, app: Callable[[_Message, _Receive, _Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # Gradio would fetch these addresses from the server's own place in the network.
        if "file=http" in scope["path"].lower() or "/proxy=" in scope["path"].lower():
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b"Not here."})
            return

        async def send_with_policy(message: _Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await self.app(scope, receive, send_with_policy)


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
    page.queue(max_size=_WAITING, default_concurrency_limit=_AT_ONCE, api_open=False)
    middleware = [Middleware(OnlyHere)]
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
            max_file_size=_MAX_FILE_BYTES,
            max_threads=8,
            state_session_capacity=_SESSIONS,
            app_kwargs={"middleware": middleware},
            **look(),
        )
    except OSError as error:
        raise ConfigError(f"Cannot listen on {host}, port {port or 'any'}: {error}") from None
    return page, address
