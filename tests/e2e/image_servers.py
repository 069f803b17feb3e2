"""An image server that does everything wrong, each under a path of its own."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self


class HostileImageServer:
    """Serves /good, /missing (404), /hang (never answers), /half (ends halfway) and /loopback (redirects there).

    `content` is the tiny image with a sector more: it boots alike, and no node has it in its cache under its digest.
    """

    def __init__(self, address: str, good: Path) -> None:
        self.content = content = good.read_bytes() + bytes(512)
        self._ended = ended = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                match self.path:
                    case "/good":
                        self._send(len(content), content)
                    case "/half":
                        self._send(len(content), content[: len(content) // 2])
                        self.close_connection = True
                    case "/hang":
                        ended.wait(300)
                    case "/loopback":
                        self.send_response(302)
                        self.send_header("Location", "http://127.0.0.1:1/secret")
                        self.end_headers()
                    case _:
                        self.send_error(404)

            def _send(self, length: int, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing: the test's own output is what counts."""

        self._server = ThreadingHTTPServer((address, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def digest(self) -> str:
        """The sha256 of what /good serves, in hex."""
        return hashlib.sha256(self.content).hexdigest()

    def url(self, path: str) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/{path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()
