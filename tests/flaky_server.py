"""A record with files on loopback, served as badly as a test asks for."""

import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Record:
    """What is served and how.

    Faults: a list of words, one for each request of a file, in order; then all is well.
    ``drop`` sends half of what was asked for and closes; ``wrong`` sends other bytes;
    ``503`` answers so; ``no-range`` ignores the range; ``empty`` closes without a byte.
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


@contextmanager
def serve(record):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/record":
                listed = record.json()
                content = listed if isinstance(listed, bytes) else json.dumps(listed).encode()
                self.answer(content, record.status)
            else:
                self.send_part(record.files[self.path.rsplit("/", 1)[-1]])

        def send_part(self, content):
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            record.ranges.append(asked and int(asked[1]))
            fault = record.faults.pop(0) if record.faults else ""
            if fault.isdigit():
                return self.answer(b"later", int(fault))
            if fault == "wrong":
                content = bytes(byte ^ 255 for byte in content)
            first = int(asked[1]) if asked and fault != "no-range" else 0
            body = content[first:]
            self.send_response(206 if first else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            half = {"drop": len(body) // 2, "empty": 0}.get(fault, len(body))
            self.wfile.write(body[:half])
            return None

        def answer(self, body, status):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    record.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield record
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
