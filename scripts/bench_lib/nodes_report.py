"""The part of the page that scripts/bench-nodes writes."""

import math

from .report import machine, table

BEGIN, END = "<!-- bench-nodes -->", "<!-- /bench-nodes -->"
# The longest that the old content may be seen after a purge was sent, in ms, of 99 in 100 purges.
SOON = 10

INTRODUCTION = """## Several nodes

By `{command}`, which writes this part of the page. Three Larders (nodes A, B and C) with one configuration
(`scripts/bench_lib/nodes.yaml`), one Redis for the purge log and the levels, an application that answers with 1 KiB, and whoever asks share
all cores of the machine, over loopback. So waiting for a core is part of all times, and a network is not.
"""

LATENCY = """One request at a time over one connection, of 1 KiB, in turn; what every answer says of its source is checked. Times are to the last byte of the
answer. Node A fetched what is a hit, node B is asked. "Comes into memory": each key is asked for once."""

LOAD = """wrk with 64 connections at node A, {keys} keys in turn (a miss: each once). CPU is user and system time. All share the cores, so rates say
how the kinds compare, and nothing else. "Without the level": operations that the node did without, to a request, because Redis took longer than `timeout` (50 ms), or had done so too often."""

PURGES = """{purges} purges of one URL at node A (`wait: all`), while one reader each at nodes B and C asks for it without pause ({reads} reads). Each time
the application changes first; then the purge is sent. An old answer is one with the content from before the change."""

OVERLAP = """What is promised is that no read which *begins* after the acknowledgement gets the old content. {across} of the reads began before
an acknowledgement and ended after it with the old content: at most {overlap} ms after it. These are not stale by the promise. The line "promise" is the
time from the acknowledgement to the beginning of the last read that got the old content, where that began later; 0: none did. Where the three lines of old answers say 0, none came after the purge was sent."""

CROWD = """{clients} clients, spread over the three nodes, ask for one key at once that nobody has; the application takes 300 ms. Every client has its connection before.
Times are from the first request that is sent to the last byte of an answer."""


def quantile(times, share):
    ordered = sorted(times)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def quantiles(times):
    """p50, p99 and the longest, of times in µs."""
    return [quantile(times, share) for share in (0.5, 0.99, 1)]


def targets(found):
    rows = []
    if "purges" in found:
        purges = found["purges"]
        soon = quantile(purges["last_ended"], 0.99) / 1000
        rows.append(("reads that began after an acknowledgement and got the old content", "none", f"{purges['broken']:,}", not purges["broken"]))
        rows.append(("p99 from sending a purge to the last old answer at another node", f"under {SOON} ms", f"{soon:.2f} ms", soon < SOON))
    if "crowd" in found:
        most = max(requests for requests, *_ in found["crowd"])
        rows.append(("requests to the application for a key that three nodes want at once", "1", f"{most}", most == 1))
    judged = [(*row, "met" if met else "**not met**") for *row, met in rows]
    return table(["target", "wanted", "measured", ""], judged)


def latency(found, _bench):
    rows = [(name, *(f"{each:,.0f}" for each in quantiles(times))) for name, times in found.items()]
    return ["### One request at a time", LATENCY, table(["", "p50, µs", "p99, µs", "longest, µs"], rows)]


def load(found, _bench):
    rows = [
        (name, f"{rate:,.0f}", f"{node:.1f}", f"{redis:.1f}", f"{100 * failed:.2f} %")
        for name, (rate, node, redis, failed) in found.items()
    ]
    head = ["", "requests/s", "CPU µs per request, node", "CPU µs per request, Redis", "without the level"]
    return ["### Under load", LOAD.format(keys=f"{1000:,}"), table(head, rows)]


def purges(found, bench):
    lines = {
        "from sending the purge to its acknowledgement": found["acknowledged"],
        "from sending to the end of the last old answer, at B or C": found["last_ended"],
        "from sending to the beginning of the last read that got one": found["last_began"],
        "promise: from the acknowledgement to the beginning of such a read": found["promise"],
    }
    rows = [(name, *(f"{each / 1000:.2f}" for each in quantiles(times))) for name, times in lines.items()]
    return [
        "### Purges beside reads at other nodes",
        PURGES.format(purges=f"{bench.purges:,}", reads=f"{found['reads']:,}"),
        table(["", "p50, ms", "p99, ms", "longest, ms"], rows),
        OVERLAP.format(across=f"{found['across']:,}", overlap=f"{max(found['overlap']) / 1000:.2f}"),
    ]


def crowd(found, _bench):
    rows = [
        (number, requests, f"{middle / 1000:,.0f}", f"{slowest / 1000:,.0f}")
        for number, (requests, slowest, middle) in enumerate(found, 1)
    ]
    head = ["", "requests to the application", "p50, ms", "slowest, ms"]
    return ["### A thousand clients and one cold key", CROWD.format(clients="1,000"), table(head, rows)]


def page(bench, found):
    rounds = f"{bench.turns} turns of {bench.count:,} requests, and of {bench.seconds} s under load"
    parts = [INTRODUCTION.format(command=bench.command).rstrip("\n"), table(["", ""], machine(bench, bench.versions(), rounds))]
    if "purges" in found or "crowd" in found:
        parts.append(targets(found))
    for part in (latency, load, purges, crowd):
        if part.__name__ in found:
            parts += part(found[part.__name__], bench)
    commands = "\n".join(f"{name}: {command}" for name, command in bench.commands.items())
    return "\n\n".join([*parts, "### Commands of several nodes", f"```text\n{commands}\n```"])
