#!/usr/bin/env python3
"""A hub of one model on this machine, for the tests of fetch-model: as much of the Hugging Face hub as that needs.

    hub.py DIRECTORY PORTFILE

serves the files of DIRECTORY as the model org/name, revision main, and writes its address to PORTFILE. Weights are large files: their
hash is SHA-256 and they are redirected to another path. The file DIRECTORY/.faults, read at each request, can
hold: "cut N" (a large file's connection ends after N bytes), "norange" (no answer in parts), "damage" (a wrong byte),
"escape" (the list names a file outside). DIRECTORY/.requests gets a line for each file asked for.
"""
import hashlib
import http.server
import json
import pathlib
import re
import sys

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROOT = pathlib.Path(sys.argv[1])


def faults():
    path = ROOT / ".faults"
    return path.read_text().split() if path.exists() else []


def is_large(name):
    return name.endswith((".safetensors", ".bin"))


def entry(path):
    data, name = path.read_bytes(), str(path.relative_to(ROOT))
    git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    found = {"rfilename": name, "size": len(data), "blobId": git}
    if is_large(name):
        found["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return found


class Hub(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if match := re.fullmatch(r"/api/models/org/name/revision/(main|v1|" + COMMIT + r")\?blobs=true", self.path):
            siblings = [entry(path) for path in sorted(ROOT.rglob("*")) if path.is_file() and path.name[0] != "."]
            if "escape" in faults():
                siblings.append(siblings[0] | {"rfilename": "additional_chat_templates/../../x.jinja"})
            self.answer(200, json.dumps({"id": "org/name", "sha": COMMIT, "siblings": siblings}).encode())
        elif match := re.fullmatch(r"/org/name/resolve/" + COMMIT + r"/(.+)", self.path):
            name = match[1]
            with open(ROOT / ".requests", "a") as log:
                print(name, self.headers.get("Range", "whole"), self.headers.get("Authorization", "-"), file=log)
            if is_large(name):
                self.answer(302, b"", Location=f"/large/{name}")
            else:
                self.answer(200, (ROOT / name).read_bytes())
        elif match := re.fullmatch(r"/large/(.+)", self.path):
            self.send_large((ROOT / match[1]).read_bytes())
        else:
            self.answer(404, b"")

    def send_large(self, data):
        asked, wrong = self.headers.get("Range"), faults()
        if "damage" in wrong:
            data = data[:-1] + bytes([data[-1] ^ 1])
        start, status, more = 0, 200, {}
        if asked and "norange" not in wrong:
            start, status = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]), 206
            more = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        end = start + int(wrong[wrong.index("cut") + 1]) if "cut" in wrong else len(data)
        self.answer(status, data[start:end], length=len(data) - start, **more)

    def answer(self, status, body, length=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
pathlib.Path(sys.argv[2] + ".new").write_text(f"http://127.0.0.1:{server.server_port}")
pathlib.Path(sys.argv[2] + ".new").rename(sys.argv[2])
server.serve_forever()
