"""A web server of a folder that also speaks a little of S3 and of Google Storage.

Usage: python object_server.py FOLDER LOG. It prints its port. Each folder in FOLDER is
a bucket, addressed by path; that of the name ``private`` answers nobody, and what has a
file ``NAME.fails`` beside it answers with the status in there. The size of each answer
to a GET goes to LOG, one a line.
"""

import hashlib
import json
import re
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class ObjectHandler(SimpleHTTPRequestHandler):
    def place(self):
        """Bucket and key of what is asked for."""
        path = urlsplit(self.path).path
        google = re.fullmatch(r"(?:/upload)?/storage/v1/b/([^/]+)/o/?(.*)", path)
        if google:
            name = parse_qs(urlsplit(self.path).query).get("name", [""])[0]
            return google[1], name or unquote(google[2])
        bucket, _, key = unquote(path).lstrip("/").partition("/")
        return bucket, key

    def refused(self):
        bucket, key = self.place()
        fails = Path(self.directory, bucket, f"{key}.fails")
        if bucket == "private":
            self.fail(403, "AccessDenied")
        elif not Path(self.directory, bucket).exists():
            self.fail(404, "NoSuchBucket")
        elif key and fails.is_file():
            self.fail(int(fails.read_text()), "InternalError")
        else:
            return False
        return True

    def fail(self, status, code):
        self.answer(status, f"<Error><Code>{code}</Code></Error>".encode())

    def answer(self, status, data=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_GET(self):
        if self.refused():
            return
        asked = parse_qs(urlsplit(self.path).query)
        is_google = self.path.startswith("/storage/") and not self.place()[1]
        if "list-type" in asked or is_google:
            self.send_list(asked)
            return
        try:
            data = Path(self.directory, *self.place()).read_bytes()
        except OSError:
            self.fail(404, "NoSuchKey")
            return
        told = {"Accept_Ranges": "bytes", "ETag": f'"{hashlib.md5(data).hexdigest()}"'}
        told |= {"X_Goog_Generation": "1"}
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        status, size = 206 if found else 200, len(data)
        if found:
            if found[1]:
                start, end = int(found[1]), min(int(found[2] or size - 1) + 1, size)
            else:  # so many bytes from the end
                start, end = max(size - int(found[2]), 0), size
            told["Content_Range"] = f"bytes {start}-{end - 1}/{size}"
            data = data[start:end]
        self.answer(status, data, **told)
        if self.command == "GET":
            with open(sys.argv[2], "a") as log:
                print(len(data), file=log)

    do_HEAD = do_GET

    def send_list(self, asked):
        prefix = asked.get("prefix", [""])[0]
        root = Path(self.directory, self.place()[0])
        files = (p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
        keys = sorted(name for name in files if name.startswith(prefix))
        if "list-type" not in asked:
            items = [{"name": key, "size": "1", "generation": "1"} for key in keys]
            self.answer(200, json.dumps({"items": items}).encode())
            return
        items = "".join(f"<Contents><Key>{escape(k)}</Key><Size>1</Size></Contents>"
                        for k in keys)  # fmt: skip
        told = f"<IsTruncated>false</IsTruncated><KeyCount>{len(keys)}</KeyCount>"
        text = f"<ListBucketResult>{told}{items}</ListBucketResult>"
        self.answer(200, text.encode(), Content_Type="application/xml")

    def do_PUT(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.refused():
            return
        path = Path(self.directory, *self.place())
        path.parent.mkdir(parents=True, exist_ok=True)
        asked = parse_qs(urlsplit(self.path).query)
        only_new = asked.get("ifGenerationMatch") == ["0"]
        if only_new or self.headers.get("If-None-Match") == "*":
            try:
                path.open("xb").close()
            except FileExistsError:
                self.fail(412, "PreconditionFailed")
                return
        path.write_bytes(data)
        told = json.dumps({"name": self.place()[1], "generation": "1"}).encode()
        self.answer(200, told, ETag=f'"{hashlib.md5(data).hexdigest()}"')

    do_POST = do_PUT

    def do_DELETE(self):
        if not self.refused():
            Path(self.directory, *self.place()).unlink(missing_ok=True)
            self.answer(204)

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    handler = partial(ObjectHandler, directory=sys.argv[1])
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()
