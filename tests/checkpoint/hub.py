"""A model hub on this machine, for the tests of the download."""

import hashlib
import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".pt", ".model")  # kept outside git: sha256, served by redirection from another origin


@dataclass
class Hub:
    """Repositories, each a list of commits (the last one is main), and what is to go wrong.

    `faults[file]` is used up by the GETs of that file: a status to answer, "cut" in the middle, "flip" one byte, or
    "hang" in the middle. `requests` are "METHOD file" and the request's headers, "LIST repository" for the API.
    """

    repositories: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=lambda: defaultdict(dict))
    claimed_sizes: dict[str, int] = field(default_factory=dict)
    faults: dict[str, list[int | str]] = field(default_factory=lambda: defaultdict(list))
    gated_by: str | None = None  # the token that may fetch files
    requests: list[tuple[str, Any]] = field(default_factory=list)
    hanging: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, repo_id: str, files: dict[str, bytes]) -> str:
        """Adds a commit; its hash."""
        commit = hashlib.sha1(repr((repo_id, sorted(files.items()))).encode()).hexdigest()
        self.repositories[repo_id][commit] = files
        return commit

    def asked(self, method: str) -> list[str]:
        """The files that were asked for by a method, in order."""
        return [what.split()[1] for what, _ in self.requests if what.startswith(f"{method} ")]

    def commit(self, repo_id: str, revision: str) -> str | None:
        commits = self.repositories[repo_id]
        return revision if revision in commits else list(commits)[-1] if revision == "main" else None


def git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        if path.startswith("api/models/"):
            repo_id, _, revision = path.removeprefix("api/models/").partition("/revision/")
            self.list(repo_id, revision)
        elif path.startswith("storage/"):
            _, name, digest = path.split("/")
            contents = [
                f for commits in self.hub.repositories.values() for files in commits.values() for f in files.values()
            ]
            self.content(name, next(c for c in contents if hashlib.sha256(c).hexdigest() == digest), {})
        elif "/resolve/" in path:
            repo_id, _, rest = path.partition("/resolve/")
            self.resolve(repo_id, *rest.split("/", 1))
        else:
            self.note("UNKNOWN", path)
            self.answer(404)

    def list(self, repo_id: str, revision: str) -> None:
        self.note("LIST", repo_id)
        if self.hub.faults["LIST"]:
            self.answer(int(self.hub.faults["LIST"].pop(0)))
        elif repo_id not in self.hub.repositories:
            self.answer(404, {"X-Error-Code": "RepoNotFound"})
        elif (commit := self.hub.commit(repo_id, revision)) is None:
            self.answer(404, {"X-Error-Code": "RevisionNotFound"})
        else:
            files = self.hub.repositories[repo_id][commit]
            siblings = [self.sibling(name, content) for name, content in files.items()]
            body = json.dumps({"id": repo_id, "sha": commit, "siblings": siblings}).encode()
            self.answer(200, {"Content-Type": "application/json"}, body)

    def sibling(self, name: str, content: bytes) -> dict[str, Any]:
        size = self.hub.claimed_sizes.get(name, len(content))
        sibling = {"rfilename": name, "size": size, "blobId": git_blob(content)}
        if name.endswith(LARGE):
            sibling["lfs"] = {"size": size, "sha256": hashlib.sha256(content).hexdigest(), "pointerSize": 134}
        return sibling

    def resolve(self, repo_id: str, commit: str, name: str) -> None:
        content = self.hub.repositories[repo_id][commit][name]
        digest = hashlib.sha256(content).hexdigest()
        headers = {"X-Repo-Commit": commit, "ETag": f'"{git_blob(content)}"'}
        if self.hub.gated_by and self.headers["Authorization"] != f"Bearer {self.hub.gated_by}":
            self.note(self.command, name)
            self.answer(401, {"X-Error-Code": "GatedRepo"})
        elif name.endswith(LARGE):
            self.note(self.command, name)
            where = f"http://localhost:{self.hub.port}/storage/{name}/{digest}"
            linked = {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{digest}"', "Location": where}
            self.answer(302, headers | linked)
        else:
            self.content(name, content, headers)

    def content(self, name: str, content: bytes, headers: dict[str, str]) -> None:
        self.note(self.command, name)
        fault = self.hub.faults[name].pop(0) if self.command == "GET" and self.hub.faults[name] else None
        if isinstance(fault, int):
            self.answer(fault)
            return
        if fault == "flip":
            content = content[:-1] + bytes([content[-1] ^ 1])
        wanted = self.headers["Range"]
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if wanted:
            headers = headers | {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        stop = len(content) // 2 if fault in ("cut", "hang") else len(content)
        self.answer(206 if wanted else 200, headers, content[start:], stop - start)
        if fault == "hang":
            self.hub.hanging.set()
            self.hub.released.wait(30)

    def note(self, method: str, what: str) -> None:
        self.hub.requests.append((f"{method} {what}", self.headers))

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"", n_sent: int = -1) -> None:
        self.send_response(status)
        for name, value in ((headers or {}) | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            sent = body if n_sent < 0 else body[:n_sent]
            self.wfile.write(sent)
            self.wfile.flush()
            self.close_connection = len(sent) < len(body)


@contextmanager
def serving() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    hub.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
