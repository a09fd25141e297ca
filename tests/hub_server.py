"""A Hugging Face Hub on loopback, and the real client pointed at it.

`hub_state` is what it knows, `hub_routes` what it answers. Faults are injected with
`FakeHub.fault`; every request is noted in `FakeHub.requests`.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from hub_routes import answer
from hub_state import Answer, FakeHub, Refusal, Request


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def handle_request(self) -> None:
        parts = urlsplit(self.path)
        said = f"{self.command} {parts.path}"
        body = self.read_body()
        self.hub.requests.append(said)
        self.hub.agents.add(self.headers.get("User-Agent", "").split(";")[0])
        if "Authorization" in self.headers:
            self.hub.authorised.append(said)
        self.happen_before(said)
        fault = self.next_fault(said)
        if fault == "drop":
            return
        try:
            if isinstance(fault, int):
                raise Refusal(fault, "Something went wrong here")
            ask = Request(parts.path, parse_qs(parts.query), body, self.who())
            reply = answer(self.hub, said, ask)
        except Refusal as refusal:
            headers = {"X-Error-Message": refusal.message, "Content-Type": "application/json"}
            if refusal.code:
                headers["X-Error-Code"] = refusal.code
            body = json.dumps({"error": refusal.message}).encode()
            reply = Answer(body, headers, refusal.status)
        if fault != "lose":
            self.send(reply, half=fault == "half")

    do_GET = do_HEAD = do_POST = do_PUT = handle_request

    def happen_before(self, said: str) -> None:
        """Let others do what a test has planned for this moment, once."""
        for pattern in [pattern for pattern in self.hub.before if re.search(pattern, said)]:
            self.hub.before.pop(pattern)()

    def next_fault(self, said: str) -> int | str | None:
        for fault in self.hub.faults:
            if fault.times and fault.request.search(said):
                fault.times -= 1
                return fault.what
        return None

    def who(self) -> dict[str, Any] | None:
        header = self.headers.get("Authorization")
        if header is None:
            return None
        token = header.removeprefix("Bearer ")
        if token not in self.hub.tokens:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return self.hub.tokens[token]

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def send(self, reply: Answer, *, half: bool) -> None:
        body, status = reply.body, reply.status
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and status == 200:
            body, status = body[int(asked[1]) :], 206
        self.send_response(status)
        for header, value in reply.headers.items():
            self.send_header(header, value)
        self.send_header("Content-Length", str(len(body)))
        if status == 206:
            whole = len(reply.body)
            self.send_header("Content-Range", f"bytes {whole - len(body)}-{whole - 1}/{whole}")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if half else body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve a hub at ``hub.url`` while the block runs."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def pointed_at(hub: FakeHub, home: Path) -> Iterator[None]:
    """Make the Hub client of this process talk to ``hub`` and keep all that it keeps in ``home``.

    The client reads the environment once, when it is imported, so its constants are set too. The
    environment is for the programs that a test starts. Waits before a retry are left out.
    """
    from huggingface_hub import constants, hf_api
    from huggingface_hub.utils import close_session

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", hub.url)
        template = "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + template)
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HOME", str(home))
        patch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        patch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
        patch.setattr(constants, "HF_STORED_TOKENS_PATH", str(home / "stored_tokens"))
        patch.setattr(hf_api.api, "endpoint", hub.url)
        for module in ("huggingface_hub.utils._http", "huggingface_hub.file_download"):
            patch.setattr(f"{module}.time", SimpleNamespace(sleep=lambda seconds: None))
        patch.setenv("HF_ENDPOINT", hub.url)
        patch.setenv("HF_HOME", str(home))
        patch.setenv("HF_HUB_OFFLINE", "0")
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_CACHE", "HF_TOKEN_PATH"):
            patch.delenv(name, raising=False)
        close_session()
        try:
            yield
        finally:
            close_session()


@contextmanager
def offline() -> Iterator[None]:
    """Set the Hub client offline, and back before a fixture that set it otherwise ends."""
    from huggingface_hub import constants

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        yield
