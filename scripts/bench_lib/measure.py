"""Rounds in turn, A B C D A B C D …, and what becomes of their figures."""

import dataclasses
import statistics

from .processes import Failed


@dataclasses.dataclass
class Row:
    """The figures of one contender, one for each turn."""

    name: str
    rates: list = dataclasses.field(default_factory=list)
    costs: list = dataclasses.field(default_factory=list)  # processor time of the server per request, in µs
    busy: list = dataclasses.field(default_factory=list)  # processors that the server kept busy
    latencies: list = dataclasses.field(default_factory=list)

    def rate(self):
        return statistics.median(self.rates)

    def cost(self):
        return statistics.median(self.costs)

    def quantile(self, name):
        return statistics.median(latency[name] for latency in self.latencies)

    def to(self, other):
        """The ratio of the rates in each turn: the median, the least and the greatest."""
        return spread(mine / others for mine, others in zip(self.rates, other.rates))


@dataclasses.dataclass
class Case:
    """What was measured, and how."""

    name: str
    title: str
    rows: list
    base: str  # the row that the others are compared with, or the end of the name of one of each server's rows
    note: str = ""
    command: str = ""

    def row(self, name):
        return next(row for row in self.rows if row.name == name)

    def base_of(self, row):
        """What this row is compared with: the base, or that of the same server."""
        server = row.name.split(",")[0]
        return next(each for each in self.rows if each.name in (self.base, f"{server}, {self.base}"))

    def ratio(self, name, base):
        return self.row(name).to(self.row(base))


def spread(values):
    values = list(values)
    return statistics.median(values), min(values), max(values)


def rounds(contenders, generator, turns, seconds, say):
    """Lets each be measured in turn, and checks before and after every round that it answers as it has to."""
    rows = {contender.name: Row(contender.name) for contender in contenders}
    for turn in range(turns):
        for contender in contenders:
            measure(rows[contender.name], contender, generator, turn, seconds)
        say(f"turn {turn + 1} of {turns}: " + ", ".join(f"{row.name} {row.rates[-1]:,.0f}/s" for row in rows.values()))
    return list(rows.values())


def measure(row, contender, generator, turn, seconds):
    contender.check()
    before = contender.server.processor_time()
    done = load(contender, generator, turn, seconds)
    used = contender.server.processor_time() - before
    contender.check()
    row.rates.append(done.rate)
    row.costs.append(used * 1e6 / done.requests)
    row.busy.append(used * done.rate / done.requests)
    if done.latency:
        row.latencies.append(done.latency)


def load(contender, generator, turn, seconds):
    """One run of the generator. If it fails, the server's log may say why."""
    try:
        return generator.run(contender, turn, seconds)
    except Failed as failure:
        contender.server.check()
        raise contender.server.failed(str(failure)) from failure
