"""A record with files on loopback, served as badly as a test asks for."""

import hashlib
import json
import re
import struct
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SO_LINGER, SOL_SOCKET


class Record:
    """What is served and how.

    Faults: a list of words, one for each request of a file, in order; then all is well.
    ``drop`` sends half of what was asked for and closes; ``wrong`` sends other bytes;
    ``503`` answers so, ``503 10`` asks to wait so long; ``no-range`` ignores the range; ``empty``
    closes without a byte; ``shift`` sends what starts 7 bytes later; ``reset`` sends 100 kB and
    cuts the connection; a word with ``:`` is an address that it leads to.
    """

    def __init__(self, files):
        self.files = files
        self.faults = []
        self.ranges = []
        self.md5 = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
        self.sizes = {name: len(content) for name, content in files.items()}
        self.status = 200
        self.url = ""

    def json(self):
        return {
            "files": [
                {
                    "key": name,
                    "size": self.sizes[name],
                    "checksum": f"md5:{self.md5[name]}",
                    "links": {"self": f"{self.url}/files/{name}"},
                }
                for name in self.files
            ]
        }


class Handler(BaseHTTPRequestHandler):
    record = None

    def do_GET(self):
        record = self.record
        if self.path == "/record":
            listed = record.json()
            content = listed if isinstance(listed, bytes) else json.dumps(listed).encode()
            self.answer(content, record.status)
        else:
            self.send_part(record.files[self.path.rsplit("/", 1)[-1]])

    def send_part(self, content):
        record = self.record
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        record.ranges.append(asked and int(asked[1]))
        fault = record.faults.pop(0) if record.faults else ""
        if fault[:3].isdigit():
            return self.answer(b"later", int(fault[:3]), {"Retry-After": fault[4:]})
        if ":" in fault:
            return self.answer(b"", 302, {"Location": fault})
        if fault == "wrong":
            content = bytes(byte ^ 255 for byte in content)
        first = int(asked[1]) if asked and fault != "no-range" else 0
        first += 7 if fault == "shift" else 0
        body = content[first:]
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body)))
        if first:
            end, size = len(content) - 1, len(content)
            self.send_header("Content-Range", f"bytes {first}-{end}/{size}")
        self.end_headers()
        if fault == "reset":
            self.wfile.write(body[:100_000])
            time.sleep(0.05)
            self.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            return self.connection.close()
        half = {"drop": len(body) // 2, "empty": 0}.get(fault, len(body))
        self.wfile.write(body[:half])
        return None

    def answer(self, body, status, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def serve(record):
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"record": record}))
    record.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield record
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
