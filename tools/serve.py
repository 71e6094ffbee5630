"""Serve the built book on a free port of this machine, until interrupted."""

from __future__ import annotations

import argparse
import functools
import http.server
from contextlib import suppress

from tools.build import PAGE


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serve files without a line of log for each request."""

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


def main() -> None:
    """Print the address and serve."""
    handler = functools.partial(Handler, directory=str(PAGE.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        print(f"The book: http://127.0.0.1:{server.server_port}/  (Ctrl+C stops)", flush=True)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # takes no options, but --help
    main()
