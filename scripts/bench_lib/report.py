"""The page: what was measured, on what, and which targets are met."""

import os
import pathlib
import platform
import re
import statistics

from .processes import output

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"


class Target:
    """What the ratio of a case has to be at least."""

    def __init__(self, text, case, name, base, least):
        self.text, self.case, self.name, self.base, self.least = text, case, name, base, least

    def judge(self, cases, _extras):
        if self.case not in cases:
            return None
        ratio, low, high = cases[self.case].ratio(self.name, self.base)
        return self.text, f"at least {self.least:g}", f"{ratio:.2f} ({low:.2f} to {high:.2f})", ratio >= self.least


class Latency:
    """Whether Larder's p99 is not above nginx's."""

    def __init__(self, connections):
        self.connections = connections

    def judge(self, cases, _extras):
        case = cases.get(f"connections-{self.connections}")
        if case is None:
            return None
        mine, theirs = case.row("Larder").quantile("p99"), case.row("nginx").quantile("p99")
        text = f"p99 at half load, {self.connections:,} connections"
        return text, f"at most nginx's {theirs:,.0f} µs", f"{mine:,.0f} µs", mine <= theirs


class Below:
    """What a figure besides the cases has to be below."""

    def __init__(self, text, name, limit, unit):
        self.text, self.name, self.limit, self.unit = text, name, limit, unit

    def judge(self, _cases, extras):
        if self.name not in extras:
            return None
        figure = extras[self.name]
        return self.text, f"under {self.limit} {self.unit}", f"{figure:.1f} {self.unit}", figure < self.limit


TARGETS = [
    Target("1 KiB hit to the floor", "hit-1k", "Larder", "floor", 0.95),
    Target("1 KiB hit to nginx", "hit-1k", "Larder", "nginx", 1.4),
    Target("1 KiB hit to Varnish", "hit-1k", "Larder", "Varnish", 2.5),
    Target("32 KiB hit to nginx", "hit-32k", "Larder", "nginx", 1.2),
    Target("tenant-and-JWT hit to the floor", "tenant", "Larder", "floor", 0.85),
    Target("miss (passed) to nginx `proxy_pass`", "pass", "Larder", "nginx", 0.9),
    Latency(1_000),
    Latency(10_000),
    Target("two cores to one", "cores", "Larder, 2 workers", "Larder, 1 worker", 1.8),
    Below("start to first answer, 10 routes", "start-10", 50, "ms"),
    Below("start to first answer, 10,000 routes", "start-10000", 300, "ms"),
    Below("release binary, stripped", "binary", 15, "MiB"),
]


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def targets(cases, extras):
    judged = [found for target in TARGETS if (found := target.judge(cases, extras))]
    rows = [(text, wanted, measured, "met" if met else "**not met**") for text, wanted, measured, met in judged]
    return table(["target", "wanted", "measured", ""], rows)


def case_table(case):
    rows = latency_rows(case) if case.rows[0].latencies else rate_rows(case)
    return f"### {case.title}\n\n{table(*rows)}\n" + (f"\n{case.note}\n" if case.note else "")


def rate_rows(case):
    base = "the floor" if case.base == "floor" else case.base
    head = ["", "requests/s", f"to {base} (range)", "CPU µs per request", "busy"]
    rows = []
    for row in case.rows:
        base = case.base_of(row)
        ratio, low, high = row.to(base)
        told = "" if row is base else f"{ratio:.3f} ({low:.2f} to {high:.2f})"
        rows.append((row.name, f"{row.rate():,.0f}", told, f"{row.cost():.2f}", f"{100 * statistics.median(row.busy):.0f} %"))
    return head, rows


def latency_rows(case):
    quantiles = ["p50", "p90", "p99", "p99.9", "max"]
    head = ["", *(f"{name}, µs" for name in quantiles), "late, µs"]
    rows = []
    for row in case.rows:
        figures = [f"{row.quantile(name):,.0f}" for name in [*quantiles, "late_p99"]]
        rows.append((row.name, *figures))
    return head, rows


def versions(bench):
    return [
        output(["nginx", "-v"]).strip().replace("nginx version: ", ""),
        re.search(r"varnish-[\d.]+", output(["varnishd", "-V"]))[0],
        re.search(r"wrk \S+", bench.wrk_version())[0],
        output(["h2load", "--version"]).strip(),
        " ".join(output(["rustc", "--version"]).split()[:2]),
    ]


def machine(bench, versions, rounds):
    """What the figures are of."""
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    profile = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("CARGO_PROFILE_")]
    return [
        ("date", bench.date),
        ("machine", f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}"),
        ("load average when it began", bench.load),
        ("Larder", bench.commit()),
        ("versions", ", ".join(versions)),
        ("release profile", "`Cargo.toml`'s" + "".join(f", with {each}" for each in profile)),
        ("rounds", rounds),
    ]


INTRODUCTION = """## Beside a bare server, nginx and Varnish

By `{command}`, which writes this part of the page. Each server is pinned to the first core, load generator and
application to the second, unless a table says otherwise; the servers are measured in turn, A B C D A B C D …. Rates are
medians of the rounds. A ratio is the median over the turns, each round to the other server's of the same turn, with the
range of all turns. CPU is user and system time of all of a server's processes. `busy` is its share of the time: near 100 %
the server was the limit, and not the load generator. The floor is a bare hyper server (`benches/floor`) whose answers have
the fields of Larder's. Before and after every round each server's answer is checked: status, length, and that it is a hit
where hits are measured.
"""


def page(bench, cases, extras):
    return "\n".join(
        [
            INTRODUCTION.format(command=bench.command),
            table(["", ""], machine(bench, versions(bench), f"{bench.turns} turns, {bench.seconds} s each")) + "\n",
            targets(cases, extras) + "\n",
            *(case_table(case) for case in cases.values()),
            "### Commands\n",
            "The servers, with the files of `scripts/bench_lib/` as their configuration (`@name` is filled in), and each case's",
            "generator for the last of its servers:\n",
            "```text",
            *(f"{name}: {command}" for name, command in bench.commands.items()),
            *(f"{case.name}: {case.command}" for case in cases.values()),
            "```",
        ]
    )


def write(path, text, begin=BEGIN, end=END):
    """Puts the text between the markers; without markers, before the second heading, behind the introduction."""
    whole = path.read_text(encoding="utf-8")
    part = f"{begin}\n{text}\n{end}"
    if begin in whole:
        whole = whole[: whole.index(begin)] + part + whole[whole.index(end) + len(end) :]
    else:
        at = whole.index("\n## ") + 1
        whole = whole[:at] + part + "\n\n" + whole[at:]
    path.write_text(whole, encoding="utf-8")
