"""The measurement of `scripts/callgrind-hit`: runs Larder under callgrind, and reads what it counted."""

import base64
import collections
import dataclasses
import hashlib
import hmac
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

FEW, MANY = 500, 3500
BODY = b"x" * 1024
HEAD = (
    b"GET /some/page?a=1 HTTP/1.1\r\n"
    b"Host: shop.example\r\n"
    b"User-Agent: measure/1.0\r\n"
    b"Accept: */*\r\n"
    b"Accept-Encoding: gzip\r\n"
    b"Accept-Language: en\r\n"
)
CONFIG = """
listen: 127.0.0.1:{larder}
origins: {{ app: {{ url: "http://127.0.0.1:{origin}" }} }}
tiers: {{ t: {{ ttl: 1h }} }}
log: {{ requests: false }}
"""
PUBLIC = 'routes: [{{ name: all, path: "/{{*rest}}", tier: t, share: public }}]\n'
PASSED = 'routes: [{{ name: all, path: "/{{*rest}}" }}]\n'
TENANT = """
identity:
  jwt: {{ algorithms: [HS256], secret: {{ env: JWT_SECRET }} }}
  tenant: [{{ jwt: tenant_id }}]
  user: [{{ jwt: sub }}]
routes: [{{ name: all, path: "/{{*rest}}", tier: t, share: tenant }}]
"""
SECRET = "a secret of thirty-two bytes, why"

# What a case may cost more than its committed figure before the check fails.
LIMIT = 1.03
BASELINE = "benches/callgrind.json"


def token():
    """A token of a tenant's user, which holds for a day."""
    part = lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=")  # noqa: E731
    claims = {"sub": "ann", "tenant_id": "acme", "exp": int(time.time()) + 86_400}
    text = b".".join(part(json.dumps(said).encode()) for said in ({"alg": "HS256", "typ": "JWT"}, claims))
    return text + b"." + part(hmac.new(SECRET.encode(), text, hashlib.sha256).digest())


@dataclasses.dataclass
class Case:
    """What is asked, and how every answer but the first has to come."""

    about: str
    config: str
    request: bytes
    x_cache: bytes = b"hit"


def cases():
    """All that can be measured; the first one is what is measured without a name."""
    return {
        "hit": Case("a hit of 1 KiB", PUBLIC, HEAD + b"Cookie: sid=abcdef\r\n\r\n"),
        "tenant": Case(
            "a hit of 1 KiB, shared by tenant, with a JWT",
            TENANT,
            HEAD + b"Authorization: Bearer " + token() + b"\r\n\r\n",
        ),
        "not-modified": Case("a 304 by its entity tag", PUBLIC, HEAD + b'If-None-Match: "abc"\r\n\r\n'),
        "passed": Case("a request that is passed on, and its answer of 1 KiB", PASSED, HEAD + b"\r\n", b"bypass"),
    }


class Application(http.server.BaseHTTPRequestHandler):
    """The application: one page."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one write

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Cache-Control", "max-age=600")
        self.send_header("ETag", '"abc"')
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connect(port, process):
    """Waits until Larder listens."""
    begun = time.monotonic()
    while time.monotonic() - begun < 100:
        if process.poll() is not None:
            sys.exit("Larder ended before it listened")
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=30)
        except OSError:
            time.sleep(0.05)
    sys.exit("Larder does not listen")


def ask(connection, case, times):
    """Asks so often, one request after the other."""
    answers = connection.makefile("rb")
    for number in range(times):
        connection.sendall(case.request)
        status = answers.readline()
        head = b"".join(iter(answers.readline, b"\r\n")).lower()
        length = re.search(rb"content-length: (\d+)", head)
        content = answers.read(int(length[1])) if length else b""
        right = b" 200 " in status and content == BODY or b" 304 " in status and b"If-None-Match" in case.request
        if not right or not (b"x-cache: " + case.x_cache in head or number == 0):
            sys.exit(f"request {number} was answered with {status + head}")


def run(program, folder, origin, case, times):
    """Lets Larder answer so many requests under callgrind, and gives what was counted."""
    port, out = free_port(), os.path.join(folder, f"counts.{times}")
    config = os.path.join(folder, f"larder.{times}.yaml")
    with open(config, "w", encoding="utf-8") as file:
        file.write((CONFIG + case.config).format(larder=port, origin=origin))
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", program, "run", "-c", config]
    with open(os.path.join(folder, "log"), "ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "JWT_SECRET": SECRET})
    try:
        with connect(port, process) as connection:
            ask(connection, case, times)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return read(out)


def read(path):
    """A file of callgrind: instructions of each function alone, and of each pair of caller and called."""
    names, alone, calls = {}, collections.Counter(), collections.Counter()

    def name(text):
        number, known = re.fullmatch(r"\((\d+)\)(?: (.*))?", text).groups()
        return names.setdefault(number, known)

    function = called = None
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            key, _, value = line.rstrip("\n").partition("=")
            if key == "fn":
                function = name(value)
            elif key == "cfn":
                callee = name(value)
            elif key == "calls":
                called = callee
            elif line[0] in "0123456789+-*":
                cost = int(line.split()[1])
                if called is None:
                    alone[function] += cost
                else:
                    calls[function, called] += cost
                    called = None
    return alone, calls


def without(fewer, more):
    """What one of the requests cost that only the second run answered."""
    return collections.Counter({key: (more[key] - fewer[key]) / (MANY - FEW) for key in more})


def checking(calls):
    """What the filter spends on looking at bytes: all that its reader is called for from outside."""
    ours = ("server::framing::scan::", "server::framing::quick::")

    def is_ours(name):
        return any(part in name for part in ours)

    return sum(count for (caller, called), count in calls.items() if is_ours(called) and not is_ours(caller))


def reading(alone, calls):
    """What is spent between hyper and the socket's own read: the filter, and the adapter that it is compiled into."""
    between = {name for name in alone if "server::framing::" in name and "AsyncWrite" not in name}
    between |= {name for name in alone if "TokioIo" in name and name.endswith("Read>::poll_read")}
    cost = sum(alone[name] for name in between)
    for (caller, called), count in calls.items():
        if caller in between and called not in between and "poll_read" not in called:
            cost += count
    return cost


def measure(program, case):
    """What one request of a case costs, by function and by call; and what the start and the end cost."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        fewer = run(program, folder, server.server_port, case, FEW)
        more = run(program, folder, server.server_port, case, MANY)
    server.shutdown()
    alone, calls = without(fewer[0], more[0]), without(fewer[1], more[1])
    return alone, calls, sum(fewer[0].values()) - FEW * sum(alone.values())


def show(program, name, top):
    """Prints where a request of this case spends its instructions."""
    case = cases()[name]
    alone, calls, start = measure(program, case)
    whole = collections.Counter(alone)
    for (caller, called), count in calls.items():
        whole[called] += count if caller != called else 0
    total = sum(alone.values())
    fields = case.request.count(b": ")
    print(f"{case.about}; the request has {len(case.request)} bytes and {fields} fields")
    print(f"one request:                {total:8.0f} instructions")
    for what, count in [("the filter's check", checking(calls)), ("between hyper and socket", reading(alone, calls))]:
        print(f"  {what:26}{count:8.0f} ({100 * count / total:.1f} %)")
    print(f"start and end:              {start:,.0f} instructions")
    for function, count in whole.most_common(top):
        print(f"{count:8.0f} {alone[function]:8.0f}  {function[:140]}")


def check(program, write):
    """Holds every case against its committed figure, or writes the figures anew."""
    with open(BASELINE, encoding="utf-8") as file:
        known = json.load(file)
    found = {name: round(sum(measure(program, case)[0].values())) for name, case in cases().items()}
    for name, count in found.items():
        before = known.get(name)
        change = f"{100 * (count / before - 1):+.1f} %" if before else "new"
        print(f"{name:14}{count:8} instructions, {before or '-':>8} committed ({change})")
    if write:
        with open(BASELINE, "w", encoding="utf-8") as file:
            file.write(json.dumps(found, indent=2) + "\n")
    elif set(known) != set(found):
        sys.exit(f"{BASELINE} has other cases than there are: write it anew with --write")
    elif dearer := [name for name, count in found.items() if count > LIMIT * known[name]]:
        sys.exit(f"dearer by more than {LIMIT - 1:.0%}: {', '.join(dearer)}. Find out why with TOP=60; if it has to be, --write")


def main(program, what, top):
    if what in ("--check", "--write"):
        check(program, what == "--write")
    elif what in cases():
        show(program, what, top)
    else:
        sys.exit(f"there is no case `{what}`; there are: {', '.join(cases())}")


if __name__ == "__main__":
    # Ended from outside, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
