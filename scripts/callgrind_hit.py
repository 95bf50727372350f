"""The measurement of `scripts/callgrind-hit`: runs Larder under callgrind, and reads what it counted."""

import collections
import http.server
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
REQUEST = (
    b"GET /some/page?a=1 HTTP/1.1\r\n"
    b"Host: shop.example\r\n"
    b"User-Agent: measure/1.0\r\n"
    b"Accept: */*\r\n"
    b"Accept-Encoding: gzip\r\n"
    b"Accept-Language: en\r\n"
    b"Cookie: sid=abcdef\r\n\r\n"
)
CONFIG = """
listen: 127.0.0.1:{larder}
origins: {{ app: {{ url: "http://127.0.0.1:{origin}" }} }}
tiers: {{ t: {{ ttl: 1h }} }}
routes: [{{ name: all, path: "/{{*rest}}", tier: t, share: public }}]
log: {{ requests: false }}
"""


class Application(http.server.BaseHTTPRequestHandler):
    """The application: one page."""

    protocol_version = "HTTP/1.1"

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


def ask(connection, times):
    """Asks so often, one request after the other; all answers but the first have to be hits."""
    answers = connection.makefile("rb")
    for number in range(times):
        connection.sendall(REQUEST)
        status = answers.readline()
        head = b"".join(iter(answers.readline, b"\r\n")).lower()
        length = int(re.search(rb"content-length: (\d+)", head)[1])
        hit = b"x-cache: hit" in head
        if b" 200 " not in status or answers.read(length) != BODY or not (hit or number == 0):
            sys.exit(f"request {number} was answered with {status + head}")


def run(program, folder, origin, times):
    """Lets Larder answer so many requests under callgrind, and gives what was counted."""
    port, out = free_port(), os.path.join(folder, f"counts.{times}")
    config = os.path.join(folder, f"larder.{times}.yaml")
    with open(config, "w", encoding="utf-8") as file:
        file.write(CONFIG.format(larder=port, origin=origin))
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", program, "run", "-c", config]
    with open(os.path.join(folder, "log"), "ab") as log:
        environment = {**os.environ, "TOKIO_WORKER_THREADS": "1"}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        with connect(port, process) as connection:
            ask(connection, times)
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


def main(program, top):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        fewer = run(program, folder, server.server_port, FEW)
        more = run(program, folder, server.server_port, MANY)
    server.shutdown()
    alone, calls = without(fewer[0], more[0]), without(fewer[1], more[1])
    whole = collections.Counter(alone)
    for (caller, called), count in calls.items():
        whole[caller] += count if caller != called else 0
    total = sum(alone.values())
    start = sum(fewer[0].values()) - FEW * total
    print(f"request: {len(REQUEST)} bytes, {REQUEST.count(b': ')} fields; answer: {len(BODY)} bytes of content")
    print(f"one hit:                    {total:8.0f} instructions")
    for what, count in [("the filter's check", checking(calls)), ("between hyper and socket", reading(alone, calls))]:
        print(f"  {what:26}{count:8.0f} ({100 * count / total:.1f} %)")
    print(f"start and end:              {start:,.0f} instructions")
    for name, count in whole.most_common(top):
        print(f"{count:8.0f} {alone[name]:8.0f}  {name[:140]}")


if __name__ == "__main__":
    # Ended from outside, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    main(sys.argv[1], int(sys.argv[2]))
