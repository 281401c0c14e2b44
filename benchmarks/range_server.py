"""A web server of a folder that answers byte ranges after a delay, as from far away.

Usage: python range_server.py FOLDER [--latency-ms 30]. It prints its port. ``GET
/.counts`` tells what was asked since the last such question: {"requests", "bytes",
"most_at_once"}. One process and one thread, so that any number of requests wait.
"""

import argparse
import asyncio
import json
import re
from pathlib import Path

STATUS = {200: "OK", 206: "Partial Content", 404: "Not Found"}


class RangeServer:
    """Answers ``GET`` and ``HEAD`` of files, and counts both."""

    def __init__(self, folder, latency_s):
        self.folder, self.latency_s = Path(folder), latency_s
        self.open, self.now = {}, 0
        self._reset()

    def _reset(self):
        self.counts = {"requests": 0, "bytes": 0, "most_at_once": 0}

    async def serve(self, reader, writer):
        """Answers one connection's requests in turn."""
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(request.decode("latin-1"), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, request, writer):
        method, path, _ = request.split(" ", 2)
        if path == "/.counts":
            self._send(writer, 200, json.dumps(self.counts).encode())
            self._reset()
            return
        self.now += 1
        self.counts["most_at_once"] = max(self.now, self.counts["most_at_once"])
        await asyncio.sleep(self.latency_s)
        status, data, size, told = self._find(path.split("?")[0], request)
        sent = b"" if method == "HEAD" else data
        self.counts["requests"] += 1
        self.counts["bytes"] += len(sent)
        self._send(writer, status, sent, size, told)
        await writer.drain()
        self.now -= 1

    def _find(self, path, request):
        file = self.folder / path.lstrip("/")
        if not file.is_file():
            return 404, b"", 0, ""
        if file not in self.open:
            self.open[file] = file.open("rb"), file.stat().st_size
        handle, size = self.open[file]
        asked = re.search(r"(?im)^range: *bytes=(\d*)-(\d*)", request)
        if not asked:
            start, end = 0, size
        elif asked[1]:
            start, end = int(asked[1]), min(int(asked[2] or size - 1) + 1, size)
        else:
            start, end = max(size - int(asked[2]), 0), size
        data = b""
        if not request.startswith("HEAD"):
            handle.seek(start)
            data = handle.read(end - start)
        told = f"Content-Range: bytes {start}-{end - 1}/{size}\r\n" if asked else ""
        return 206 if asked else 200, data, end - start, told

    @staticmethod
    def _send(writer, status, data, size=None, told=""):
        head = (
            f"HTTP/1.1 {status} {STATUS[status]}\r\nContent-Length: "
            f"{len(data) if size is None else size}\r\nAccept-Ranges: bytes\r\n"
            f'ETag: "1"\r\nLast-Modified: Wed, 01 Jan 2025 00:00:00 GMT\r\n{told}\r\n'
        )
        writer.write(head.encode() + data)


async def run(folder, latency_s):
    server = RangeServer(folder, latency_s)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        print(listening.sockets[0].getsockname()[1], flush=True)
        await listening.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--latency-ms", type=float, default=30)
    given = parser.parse_args()
    asyncio.run(run(given.folder, given.latency_ms / 1000))
