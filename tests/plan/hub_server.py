"""A model hub on loopback that speaks as much of the hub's protocol as a download needs."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serve(models: Mapping[str, Mapping[str, bytes]], gated: str = "") -> Iterator[tuple[str, list[str]]]:
    """Its address and the paths that were asked for; the model ``gated`` is refused."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def log_message(self, *_: object) -> None: ...

        def _answer(self, body: bool) -> None:
            path = self.path.partition("?")[0]
            asked.append(f"{self.command} {path}")
            name = "/".join(path.removeprefix("/api/models/").strip("/").split("/")[:2])
            if name == gated:
                return self._send(403, b"{}", {"X-Error-Code": "GatedRepo"}, body)
            if name not in models:
                return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body)
            files = models[name]
            if path.startswith("/api/models/"):
                info = {"id": name, "modelId": name, "sha": COMMIT, "private": False, "tags": [], "downloads": 0,
                        "siblings": [{"rfilename": file} for file in files]}  # fmt: skip
                tree = [
                    {"type": "file", "path": f, "size": len(c), "oid": hashlib.sha1(c).hexdigest()}
                    for f, c in files.items()
                ]
                return self._send(200, json.dumps(tree if "/tree/" in path else info).encode(), {}, body)
            content = files[path.partition(f"/resolve/{COMMIT}/")[2] or path.partition("/resolve/main/")[2]]
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            return self._send(200, content, {"ETag": etag, "X-Repo-Commit": COMMIT}, body)

        def _send(self, status: int, content: bytes, headers: Mapping[str, str], body: bool) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
