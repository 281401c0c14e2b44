"""A server on this machine that holds files, breaks off, and knows ranges."""

import http.server
import threading

import pytest


class Served(http.server.BaseHTTPRequestHandler):
    """Serves ``files``; breaks off once after ``break_after`` bytes."""

    files = None
    break_after = None
    ranges = True
    requests = ()

    def do_GET(self):
        asked = self.headers.get("Range") if self.ranges else None
        type(self).requests += ((self.path, asked),)
        if self.path not in self.files:
            self.send_error(404)
            return
        content = self.files[self.path]
        start = int(asked[6:-1]) if asked else 0
        if start >= len(content) > 0:
            self.send_error(416)
            return
        body = content[start:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.break_after is not None:
            body, type(self).break_after = body[: self.break_after], None
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def served():
    """The class that serves: set ``files``; ``url`` is where they are."""
    Served.files, Served.break_after = {}, None
    Served.ranges, Served.requests = True, ()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Served) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        Served.url = f"http://127.0.0.1:{httpd.server_port}"
        yield Served
        httpd.shutdown()
