"""One request, and whether its answer is what is being measured."""

import dataclasses
import http.client
import re
import socket
import time

from .processes import Failed, output

# What every request says besides `Host`.
FIELDS = (
    ("Accept-Encoding", "gzip"),
    ("Accept", "*/*"),
    ("User-Agent", "larder-bench/1.0"),
    ("Accept-Language", "en"),
)


@dataclasses.dataclass(frozen=True)
class Request:
    path: str = "/x"
    method: str = "GET"
    fields: tuple = FIELDS
    body: bytes | None = None
    http2: bool = False


@dataclasses.dataclass
class Answer:
    status: int
    fields: list  # of names and values
    length: int

    def field(self, name):
        return next((value for known, value in self.fields if known.lower() == name), None)


def ask(port, request):
    return ask_http2(port, request) if request.http2 else ask_http1(port, request)


def ask_http1(port, request):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.putrequest(request.method, request.path, skip_accept_encoding=True)
        for name, value in request.fields:
            connection.putheader(name, value)
        if request.body is not None:
            connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders(request.body)
        answer = connection.getresponse()
        return Answer(answer.status, answer.getheaders(), len(answer.read()))
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"{request.method} {request.path} on port {port}: {error!r}") from error
    finally:
        connection.close()


def ask_http2(port, request):
    """By nghttp, which prints each field of the answer on a line, and every frame."""
    fields = [part for name, value in request.fields for part in ("-H", f"{name}: {value}")]
    printed = output(["nghttp", "-nv", "--no-dep", *fields, f"http://127.0.0.1:{port}{request.path}"])
    printed = re.sub(r"\x1b\[[0-9;]*m", "", printed)
    found = re.findall(r"recv \(stream_id=\d+\) (:?[\w-]+): (.*)", printed)
    status = next((int(value) for name, value in found if name == ":status"), 0)
    length = sum(int(size) for size in re.findall(r"recv DATA frame <length=(\d+)", printed))
    return Answer(status, [(name, value) for name, value in found if not name.startswith(":")], length)


def ask_all(port, paths, judge, connections=8, batch=32):
    """Asks for all paths over a few connections, in batches without waiting, and lets `judge` see each answer."""
    parts = [paths[number::connections] for number in range(connections)]
    sockets = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in parts]
    files = [each.makefile("rb") for each in sockets]
    head = "".join(f"{name}: {value}\r\n" for name, value in FIELDS) + f"Host: 127.0.0.1:{port}\r\n\r\n"
    try:
        for start in range(0, len(parts[0]), batch):
            for each, part in zip(sockets, parts):
                requests = (f"GET {path} HTTP/1.1\r\n{head}" for path in part[start : start + batch])
                each.sendall("".join(requests).encode())
            for file, part in zip(files, parts):
                for path in part[start : start + batch]:
                    judge(path, read_answer(file))
    finally:
        for each in [*files, *sockets]:
            each.close()


def read_answer(file):
    status, fields = file.readline(), []
    for line in iter(file.readline, b"\r\n"):
        if not line:
            raise Failed("a connection ended while keys were asked for")
        name, _, value = line.decode("latin-1").partition(":")
        fields.append((name, value.strip()))
    answer = Answer(int(status.split()[1]), fields, 0)
    answer.length = len(file.read(int(answer.field("content-length"))))
    return answer


@dataclasses.dataclass
class Contender:
    """A server, what it is asked for, and what it has to answer."""

    name: str
    server: object
    request: Request = Request()
    status: int = 200
    length: int = 1024
    verdict: str | None = "HIT"  # what the server has to say of its cache

    def verify(self, answer, path=None):
        told = self.server.told(answer)
        wanted = self.verdict if self.server.has_cache else None
        if (answer.status, answer.length) != (self.status, self.length) or (wanted and told != wanted):
            raise self.server.failed(
                f"{path or self.request.path} was answered with {answer.status}, {answer.length} bytes and {told}, "
                f"not with {self.status}, {self.length} bytes and {wanted}: {answer.fields}"
            )

    def check(self):
        self.server.check()
        self.verify(ask(self.server.port, self.request))

    def prime(self, request=None):
        """Asks until it is stored."""
        request = request or self.request
        for _ in range(100):
            answer = ask(self.server.port, request)
            if not self.server.has_cache or self.server.told(answer) == "HIT":
                return
            time.sleep(0.02)
        raise self.server.failed(f"{request.path} does not become a hit: {answer.status} {answer.fields}")

    def preload(self, paths):
        """Asks for all of these once, and then for a part of them, which have to be stored."""
        if self.server.has_cache:
            ask_all(self.server.port, paths, lambda path, answer: None)
        self.check_some(paths)

    def check_some(self, paths):
        ask_all(self.server.port, paths[:: max(1, len(paths) // 2000)], lambda path, answer: self.verify(answer, path))
