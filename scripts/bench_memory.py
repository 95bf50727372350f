"""The measurements of `scripts/bench-memory`: Larder's resident memory, filled over HTTP by wrk."""

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

CONFIG = """
listen: 127.0.0.1:{larder}
admin:
  listen: 127.0.0.1:{admin}
  tokens: [{{ name: bench, role: admin, secret: {{ env: BENCH_TOKEN }} }}]
origins: {{ app: {{ url: "http://127.0.0.1:{app}" }} }}
stores: {{ default: {{ memory: {memory} }} }}
tiers: {{ t: {{ ttl: 1h, store: default }} }}
routes: [{{ name: all, path: "/{{*rest}}", origin: app, tier: t, share: public }}]
log: {{ requests: false }}
"""
TOKEN = "a-secret-that-only-this-measurement-knows"

# Each request is for the next number; wrk ends after so many answers.
FILL = """
local next, done = 0, 0
request = function()
    next = next + 1
    return wrk.format("GET", "/api/v1/products/" .. (100000 + next - 1) .. "?lang=de")
end
response = function(status)
    if status ~= 200 then error("answered with " .. status) end
    done = done + 1
    if done == COUNT then os.exit(0) end
end
"""
# Sizes are spread evenly on a logarithmic scale; with HITS, one request in three is for something recent.
CHURN = """
local next = 0
math.randomseed(7)
local function path(n)
    local spread = (n * 7919 % 100003) / 100003
    return "/api/v1/products/" .. n .. "?lang=de&bytes=" .. math.floor(200 * 327.68 ^ spread)
end
request = function()
    if HITS and next > 100 and math.random(3) == 1 then
        return wrk.format("GET", path(next - math.random(100)))
    end
    next = next + 1
    return wrk.format("GET", path(next))
end
"""
MIB = 1 << 20


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def resident(pid):
    """VmRSS and RssAnon, in bytes."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        fields = dict(line.split(":", 1) for line in status)
    return [int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon")]


def size(text):
    units = {"KiB": 1 << 10, "MiB": MIB, "GiB": 1 << 30}
    return int(text[:-3]) * units[text[-3:]]


class Larder:
    """A running Larder with its application."""

    def __init__(self, programs, folder, memory):
        self.port, self.admin, app = free_port(), free_port(), free_port()
        self.base, self.folder = f"http://127.0.0.1:{self.port}", folder
        config = os.path.join(folder, "larder.yaml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(larder=self.port, admin=self.admin, app=app, memory=memory))
        environment = {**os.environ, "BENCH_TOKEN": TOKEN}
        self.log = open(os.path.join(folder, "log"), "ab")
        self.app = subprocess.Popen([programs[1], f"127.0.0.1:{app}"])
        run = [programs[0], "run", "-c", config]
        self.process = subprocess.Popen(run, stdout=self.log, stderr=self.log, env=environment)
        self.pid = self.process.pid
        for port in (app, self.port, self.admin):
            self.wait_for(port)

    def wait_for(self, port):
        for _ in range(200):
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", port), timeout=1).close()
            time.sleep(0.05)
        sys.exit(f"nothing listens: see {self.folder}/log")

    def end(self):
        for process in (self.process, self.app):
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
        self.log.close()

    def wrk(self, script, seconds):
        path = os.path.join(self.folder, "wrk.lua")
        with open(path, "w", encoding="utf-8") as file:
            file.write(script)
        command = ["wrk", "-t1", "-c16", f"-d{seconds}s", "-s", path, self.base]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def ask(self, path, body=None):
        """The admin listener's answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin}{path}", data=body)
        request.add_header("Authorization", f"Bearer {TOKEN}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


def fill(programs, folder, count):
    larder = Larder(programs, folder, "8GiB")
    try:
        time.sleep(1)
        before = resident(larder.pid)
        begun = time.monotonic()
        out, _ = larder.wrk(FILL.replace("COUNT", str(count)), 1800).communicate()
        took = time.monotonic() - begun
        for _ in range(20):
            time.sleep(0.5)
            after = resident(larder.pid)
        hits(larder, count)
        stored = larder.ask("/keys?limit=1")["count"]
        if stored < count or "Non-2xx" in out:
            sys.exit(f"{stored} of {count} are stored\n{out}")
        each = [(b - a) / count for a, b in zip(before, after)]
        print(f"{stored:,} responses of 1 KiB stored in {took:.0f} s; before: {before[0] / MIB:.1f} MiB resident")
        print(f"resident: {after[0] / MIB:.0f} MiB; for each response: {each[0]:.0f} bytes (anonymous: {each[1]:.0f})")
        larder.wrk(FILL.replace("COUNT", str(count)), 1800).communicate()
        time.sleep(2)
        each = (resident(larder.pid)[0] - before[0]) / count
        print(f"after a hit on each of them: {each:.0f} bytes")
    finally:
        larder.end()


def hits(larder, count):
    """A sample of what was stored has to be there."""
    for number in random.Random(7).sample(range(count), min(count, 500)):
        path = f"/api/v1/products/{100000 + number}?lang=de"
        with urllib.request.urlopen(larder.base + path, timeout=10) as answer:
            if answer.headers["x-cache"] != "HIT" or len(answer.read()) != 1024:
                sys.exit(f"{path} is no hit: {answer.headers}")


def churn(programs, folder, minutes, memory, with_hits):
    larder, limit, samples = Larder(programs, folder, memory), size(memory), []
    ended = threading.Event()

    def purge():
        # One response in a hundred at a time; the sweeper frees them.
        for number in range(1 << 30):
            if ended.wait(5):
                return
            body = json.dumps({"tags": [f"group-{number % 100:02}"]}).encode()
            larder.ask("/purge", body)

    try:
        time.sleep(1)
        base = resident(larder.pid)[0]
        script = CHURN.replace("HITS", "true" if with_hits else "false")
        wrk = larder.wrk(script, round(minutes * 60))
        threading.Thread(target=purge, daemon=True).start()
        begun = time.monotonic()
        while wrk.poll() is None:
            time.sleep(1)
            samples.append(resident(larder.pid)[0])
        ended.set()
        out = wrk.communicate()[0]
        requests = next(line.strip() for line in out.splitlines() if "requests in" in line)
        stored = larder.ask("/keys?limit=1")["count"]
        report(limit, base, samples, f"{requests} ({time.monotonic() - begun:.0f} s); {stored:,} kept")
    finally:
        ended.set()
        larder.end()


def report(limit, base, samples, what):
    # Full once it comes within a tenth of where it stays.
    full = next(n for n, sample in enumerate(samples) if sample >= 0.9 * statistics.median(samples))
    full = max(full, min(10, len(samples) - 1))
    kept = samples[full:]
    print(f"limit {limit / MIB:.0f} MiB; {what}; base {base / MIB:.1f} MiB; full after {full} s")
    for name, value in [("min", min(kept)), ("median", statistics.median(kept)), ("max", max(kept)), ("last", kept[-1])]:
        print(f"{name:7}{value / MIB:8.1f} MiB  {value / limit:.3f} of the limit; without the base {(value - base) / limit:.3f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("larder")
    parser.add_argument("application")
    parser.add_argument("part", nargs="?", choices=["fill", "churn"])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--memory", default="256MiB")
    parser.add_argument("--hits", action="store_true")
    args = parser.parse_args()
    programs = (args.larder, args.application)
    with tempfile.TemporaryDirectory() as folder:
        if args.part != "churn":
            fill(programs, folder, args.count)
        if args.part != "fill":
            churn(programs, folder, args.minutes, args.memory, args.hits)


if __name__ == "__main__":
    # Ended from outside, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    main()
