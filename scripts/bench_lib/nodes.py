"""Three Larders with one cache over a Redis: what a hit costs at each level, how soon a purge binds all, and a crowd at a cold
key. scripts/bench-nodes starts it."""

import argparse
import contextlib
import json
import os
import re
import secrets
import shlex
import statistics
import sys
import time
import urllib.request

from . import nodes_report
from .__main__ import PAGE, ROOT, Bench
from .generators import read_wrk
from .nodes_report import quantile
from .processes import Failed, Process, output, stop_on_signals
from .report import write as write_page
from .servers import HERE, temporary_folder, write

CLIENTS = 1_000
# Keys that wrk asks for in turn: what several want at once is brought once, and that is not measured here.
KEYS = 1_000
HOST = "Host: shop.example"
PARTS = ("latency", "load", "purges", "crowd")


class Stage:
    """An application, a Redis and the nodes, on all cores. Whatever ends the run ends all of them."""

    def __init__(self, bench):
        self.bench, self.number = bench, 0

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.stack = stack
            self.folder = stack.enter_context(temporary_folder(None))
            self.start_all()
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def start_all(self):
        bench = self.bench
        self.application = self.start("application", lambda port: [bench.programs["nodes"], "application", local(port)])
        nothing_saved = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", self.folder]
        self.redis = self.start("Redis", lambda port: ["redis-server", "--port", str(port), *nothing_saved])
        self.token = secrets.token_hex(16)
        self.nodes = [self.node(f"node {name}") for name in "ABC"]
        for node in self.nodes:
            self.wait_for_hits(node)

    def start(self, name, command, environment=None):
        port = self.bench.ports.next()
        cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        server = Process(name, command(port), cores, port, self.folder, environment)
        self.stack.callback(server.stop)
        self.bench.note_command(name, server.command, {self.folder: "FOLDER"})
        server.wait_until_it_listens()
        return server

    def node(self, name):
        admin = self.bench.ports.next()
        node = self.start(name, lambda port: self.larder(port, admin), {"LARDER_BENCH_TOKEN": self.token})
        node.admin = admin
        return node

    def larder(self, port, admin):
        config = write(
            "nodes.yaml",
            f"{self.folder}/larder.{port}.yaml",
            port=port,
            admin=admin,
            application=self.application.port,
            redis=self.redis.port,
        )
        return [self.bench.programs["larder"], "run", "-c", config]

    def wait_for_hits(self, node):
        """Until the node knows the log, and its store takes something."""
        deadline = time.monotonic() + 30
        while self.asked(node, "/memory/first", 1, 0, "; hit;")["others"]:
            if time.monotonic() > deadline:
                raise node.failed("does not answer from the cache")
            time.sleep(0.02)

    def part(self, *words):
        """A part of benches/nodes, to its end."""
        command = [self.bench.programs["nodes"], *map(str, words)]
        printed = output(command, env={**os.environ, "LARDER_BENCH_TOKEN": self.token})
        return json.loads(printed.splitlines()[-1])

    def asked(self, server, path, count, first, word):
        return self.part("latency", local(server.port), path, count, first, word)

    def failed(self, node):
        """How many operations the node's levels did without so far, because they took too long or too many before them had."""
        fields = {"Authorization": f"Bearer {self.token}"}
        with urllib.request.urlopen(urllib.request.Request(f"http://{local(node.admin)}/stat", headers=fields)) as answer:
            levels = [store["redis"] for store in json.load(answer)["stores"] if store.get("redis")]
        return sum(level["failures"] + level["refused"] for level in levels)

    def numbers(self, count):
        """The first of so many numbers that nobody had yet."""
        self.number += count
        return self.number - count


def local(port):
    return f"127.0.0.1:{port}"


# By name: the path ({} is a number that nobody had before), whether node A fetches it first, and what node B then says.
KINDS = {
    "the application itself": ("/local/own", False, ""),
    "hit from memory": ("/memory/one", True, "detail=fresh_memory"),
    "hit from Redis, no memory (`memory: off`)": ("/redis/one", True, "detail=fresh_redis"),
    "hit from Redis, which comes into memory": ("/memory/{}", True, "detail=fresh_redis"),
    "miss, store in memory alone": ("/local/{}", False, "fwd=uri-miss"),
    "miss, store in memory and Redis": ("/miss/{}", False, "fwd=uri-miss"),
}


def latency(stage):
    """In turn, A B C A B C …; every round of a kind has its own numbers."""
    bench, found = stage.bench, {name: [] for name in KINDS}
    node_a, node_b = stage.nodes[:2]
    for turn in range(bench.turns):
        for name, (path, is_stored, word) in KINDS.items():
            first = stage.numbers(bench.count)
            server = node_b if word else stage.application
            if is_stored:
                stage.asked(node_a, path, bench.count if "{}" in path else 2, first, "")
            if is_stored and "{}" not in path:
                stage.asked(server, path, 2, first, "")
            told = stage.asked(server, path, bench.count, first, word)
            if told["others"] > bench.count // 100:
                raise Failed(f"{name}: {told['others']} of {bench.count} were answered otherwise, the last:\n{told['other']}")
            found[name] += told["times"]
        bench.say(f"latency, turn {turn + 1} of {bench.turns}")
    return found


def load(stage):
    """By name: requests a second, and processor time per request of the node and of Redis in µs, failed operations per request. Medians of the rounds."""
    bench, node = stage.bench, stage.nodes[0]
    for prefix in ("/memory/k", "/redis/k"):
        stage.asked(node, prefix + "{}", KEYS, 0, "")
    kinds = {
        "hit from memory": ("/memory/k", lambda: 0, KEYS, "detail=fresh_memory"),
        "hit from Redis, no memory (`memory: off`)": ("/redis/k", lambda: 0, KEYS, "detail=fresh_redis"),
        "miss, store in memory and Redis": ("/miss/k", lambda: stage.numbers(10**7), 10**7, "fwd=uri-miss"),
    }
    rounds = {name: [] for name in kinds}
    for turn in range(bench.turns):
        for name, (prefix, first, count, word) in kinds.items():
            rounds[name].append(load_round(stage, node, prefix, first(), count))
            bench.say(f"load, turn {turn + 1} of {bench.turns}: {name} {rounds[name][-1][0]:,.0f}/s")
            last = stage.asked(node, prefix + "{}", KEYS, stage.numbers(10**7) if "miss" in name else 0, word)
            if last["others"] > KEYS // 10:
                raise Failed(f"{name} was answered otherwise, the last:\n{last['other']}")
    return {name: tuple(map(statistics.median, zip(*figures))) for name, figures in rounds.items()}


def load_round(stage, node, prefix, first, count):
    command = ["wrk", "-t1", "-c64", f"-d{stage.bench.seconds}s", "--timeout", "10s", "-s", str(HERE / "distinct.lua")]
    command += ["-H", HOST, f"http://{local(node.port)}/", "--", prefix, str(first), str(count)]
    stage.bench.note_command("load", command, {})
    servers, failed = (node, stage.redis), stage.failed(node)
    before = [server.processor_time() for server in servers]
    done = read_wrk(output(command))
    used = [server.processor_time() - start for server, start in zip(servers, before)]
    return done.rate, *(each * 1e6 / done.requests for each in used), (stage.failed(node) - failed) / done.requests


def purges(stage):
    bench, addresses = stage.bench, [local(node.port) for node in stage.nodes]
    bench.say(f"{bench.purges:,} purges at node A, nodes B and C are read")
    return stage.part("purges", local(stage.application.port), *addresses, "/memory/page", bench.purges)


def crowd(stage):
    """For each time: the application's requests, and the slowest and the median answer in µs."""
    found, addresses = [], [local(node.port) for node in stage.nodes]
    for _ in range(stage.bench.crowds):
        path = f"/slow/{stage.numbers(1)}"
        times = stage.part("crowd", *addresses, path, CLIENTS)["times"]
        with urllib.request.urlopen(f"http://{local(stage.application.port)}/asked{path}") as answer:
            requests = int(answer.read())
        found.append((requests, quantile(times, 1), quantile(times, 0.5)))
        stage.bench.say(f"{CLIENTS:,} clients, {found[-1][0]} requests, slowest {found[-1][1] / 1000:,.0f} ms")
    return found


class NodesBench(Bench):
    def __init__(self, quick):
        super().__init__(2 if quick else 5, 1 if quick else 2, quick)
        self.count, self.purges, self.crowds = (200, 200, 2) if quick else (2_000, 2_000, 5)
        self.command = "scripts/bench-nodes " + shlex.join(sys.argv[1:]) if sys.argv[1:] else "scripts/bench-nodes"

    def versions(self):
        redis = re.search(r"v=([\d.]+)", output(["redis-server", "--version"]))
        wrk = re.search(r"wrk \S+", self.wrk_version())
        return [f"Redis {redis[1]}", wrk[0], " ".join(output(["rustc", "--version"]).split()[:2])]


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench-nodes", description="Measures three Larders with one cache.")
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that it works")
    parser.add_argument("--only", nargs="+", metavar="PART", choices=PARTS, help="some of " + ", ".join(PARTS))
    options = parser.parse_args()
    stop_on_signals()
    bench = NodesBench(options.quick)
    found = {}
    with Stage(bench) as stage:
        for part in (latency, load, purges, crowd):
            if not options.only or part.__name__ in options.only:
                found[part.__name__] = part(stage)
    text = nodes_report.page(bench, found)
    print(text)
    if options.quick or options.only:
        bench.say(f"{PAGE.relative_to(ROOT)} stays as it is: it is written by a whole run")
    else:
        write_page(PAGE, text, nodes_report.BEGIN, nodes_report.END)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"scripts/bench-nodes: {failure}")
