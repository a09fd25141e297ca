"""A STAC API on loopback: item search over items in memory, by GET and POST, page by page."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

CORE = "https://api.stacspec.org/v1.0.0/core"
SEARCH = "https://api.stacspec.org/v1.0.0/item-search"
QUERY = "https://api.stacspec.org/v1.0.0/item-search#query"


class StacApi:
    """What it knows, and what it was asked.

    Args:
        items: The items; their addresses are not changed.
        page: How many stand on a page.
        post: Whether it can be searched by POST, too.
        conforms_to: What it says of itself.
        endless: Whether the last page leads to itself.
    """

    def __init__(self, items, *, page=2, post=True, conforms_to=(CORE, SEARCH, QUERY)):
        self.items, self.page, self.post = items, page, post
        self.conforms_to = list(conforms_to)
        self.endless = False
        self.status = 200
        self.asked = []  # (method, parameters)
        self.url = ""

    def answer(self, method, path, parameters):
        if path == "/":
            return self.root()
        if path.startswith("/collections/"):
            return self.collection(path.rpartition("/")[2])
        if path == "/search":
            self.asked.append((method, parameters))
            return self.found(method, parameters)
        return None

    def root(self):
        methods = ("GET", "POST") if self.post else ("GET",)
        links = [{"rel": "self", "href": f"{self.url}/"}, {"rel": "root", "href": f"{self.url}/"}]
        links += [
            {"rel": "search", "href": f"{self.url}/search", "method": method,
             "type": "application/geo+json"} for method in methods
        ]  # fmt: skip
        root = {"type": "Catalog", "stac_version": "1.0.0", "id": "api", "description": "Made up"}
        return {**root, "conformsTo": self.conforms_to, "links": links}

    def collection(self, name):
        return {
            "type": "Collection", "stac_version": "1.0.0", "id": name, "description": "Made up",
            "license": "other", "links": [{"rel": "root", "href": "/"}],
            "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]},
                       "temporal": {"interval": [[None, None]]}},
        }  # fmt: skip

    def found(self, method, asked):
        first = int(asked.get("token", 0))
        wanted = [item for item in self.items if matches(item, asked)]
        shown = wanted[first : first + self.page]
        links = []
        if first + self.page < len(wanted) or self.endless:
            token = first if self.endless else first + self.page
            link = {"rel": "next", "method": method, "href": f"{self.url}/search"}
            if method == "POST":
                link |= {"body": {**asked, "token": token}}
            else:
                query = "&".join(f"{k}={v}" for k, v in (asked | {"token": token}).items())
                link["href"] += f"?{query}"
            links.append(link)
        return {"type": "FeatureCollection", "features": shown, "links": links}


def matches(item, asked):
    box, time = asked.get("bbox"), item["properties"]["datetime"]
    box = [float(n) for n in box.split(",")] if isinstance(box, str) else box
    collections = asked.get("collections")
    collections = collections.split(",") if isinstance(collections, str) else collections
    ids = asked.get("ids")
    ids = ids.split(",") if isinstance(ids, str) else ids
    begin, _, end = asked.get("datetime", "../..").partition("/")
    most = asked.get("query", {})
    most = (json.loads(most) if isinstance(most, str) else most).get("eo:cloud_cover", {})
    west, south, east, north = item["bbox"]
    return (
        (not box or (west <= box[2] and east >= box[0] and south <= box[3] and north >= box[1]))
        and (not collections or item["collection"] in collections)
        and (not ids or item["id"] in ids)
        and (begin == ".." or time >= begin)
        and (end == ".." or time <= end)
        and item["properties"].get("eo:cloud_cover", 0) <= most.get("lte", 100)
    )


@contextmanager
def serve_api(api):
    """Serve an API at ``api.url`` while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
            self.reply("GET", parts.path, asked)

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.reply("POST", urlsplit(self.path).path, json.loads(body))

        def reply(self, method, path, asked):
            found = api.answer(method, path, asked) if api.status == 200 else None
            body = json.dumps(found).encode() if found is not None else b""
            self.send_response(200 if found is not None else max(api.status, 404))
            self.send_header("Content-Type", "application/geo+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
