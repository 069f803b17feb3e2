"""Serves the guest images to the nodes: `python -m berth_dev.imageserver ADDRESS FOLDER`.

A program of its own, so that it outlives the command that made the cluster.
"""

import sys
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PORT = 80


class _ImageRequest(SimpleHTTPRequestHandler):
    """Files of one folder, and no listing of it."""

    protocol_version = "HTTP/1.1"

    def list_directory(self, path: Any) -> None:
        """Refuse."""
        del path
        self.send_error(HTTPStatus.NOT_FOUND)


def main(address: str, folder: str) -> None:
    """Serve until killed."""
    ThreadingHTTPServer((address, PORT), partial(_ImageRequest, directory=folder)).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
