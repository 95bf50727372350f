"""Reads the command line, runs the cases, prints and writes what came of them. scripts/bench starts it."""

import argparse
import datetime
import os
import pathlib
import re
import resource
import shlex
import subprocess
import sys
import tempfile

from . import report
from .cases import CASES, run
from .processes import Failed, Ports, output, stop_on_signals

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs" / "performance.md"


class Bench:
    """What the cases share: how long to measure, the programs, and what was started how."""

    def __init__(self, turns, seconds, quick):
        self.turns, self.seconds, self.quick = turns, seconds, quick
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "release"
        self.programs = {name: str(target / name) for name in ("larder", "floor", "load", "nodes")}
        self.ports, self.commands = Ports(), {}
        self.load = " ".join(pathlib.Path("/proc/loadavg").read_text(encoding="utf-8").split()[:3])
        self.date = datetime.datetime.now(datetime.timezone.utc).strftime("%-d %B %Y, %H:%M UTC")
        self.command = "scripts/bench " + shlex.join(sys.argv[1:]) if sys.argv[1:] else "scripts/bench"

    @staticmethod
    def say(text):
        print(text, file=sys.stderr, flush=True)

    def told(self, command, names=()):
        """A command as the page shows it: with no names of this machine's folders."""
        text = shlex.join(command)
        programs = os.path.dirname(self.programs["load"])
        for folder, name in {**dict(names), f"{programs}/": "", f"{ROOT}/": ""}.items():
            text = text.replace(folder, name)
        return re.sub(r"Bearer [\w.-]+", "Bearer TOKEN", text)

    def note_command(self, name, command, names):
        self.commands.setdefault(name, self.told(command, names))

    @staticmethod
    def wrk_version():
        """wrk says its version with an exit code of 1."""
        return subprocess.run(["wrk", "-v"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout

    @staticmethod
    def commit():
        commit = output(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT).strip()
        changed = output(["git", "status", "--porcelain", "--", "src", "benches", "Cargo.toml", "Cargo.lock"], cwd=ROOT)
        return f"commit {commit}" + (", with changes that are not committed" if changed else "")

    def extras(self):
        """What is measured without load."""
        times, figures = "5" if self.quick else "30", {}
        for routes in (10, 10_000):
            self.say(f"start-up with {routes:,} routes")
            printed = output([str(ROOT / "scripts" / "start-up"), self.programs["larder"], times, str(routes)])
            figures[f"start-{routes}"] = float(re.search(r"answer: ([\d.]+) ms", printed)[1])
        figures["binary"] = self.stripped_size() / 2**20
        return figures

    def stripped_size(self):
        """The size of the release binary, also where it was built with symbols, in bytes."""
        with tempfile.NamedTemporaryFile() as copy:
            output(["strip", "-o", copy.name, self.programs["larder"]])
            return os.path.getsize(copy.name)


def read_command_line():
    about = "Measures Larder beside a bare server, nginx and Varnish."
    parser = argparse.ArgumentParser(prog="scripts/bench", description=about)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each case (7)")
    parser.add_argument("--seconds", type=int, default=2, help="seconds of each round (2)")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 s, to see that everything works")
    names = [*CASES, "start-up"]
    parser.add_argument("--only", nargs="+", metavar="CASE", choices=names, help="some of " + ", ".join(names))
    return parser.parse_args()


def main():
    options = read_command_line()
    stop_on_signals()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    bench = Bench(2 if options.quick else options.rounds, 1 if options.quick else options.seconds, options.quick)
    wanted = options.only or [*CASES, "start-up"]
    cases = {name: run(bench, name) for name in CASES if name in wanted}
    extras = bench.extras() if "start-up" in wanted else {}
    text = report.page(bench, cases, extras)
    print(text)
    if options.quick or options.only:
        bench.say(f"{PAGE.relative_to(ROOT)} stays as it is: it is written by a whole run")
    else:
        report.write(PAGE, text)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"scripts/bench: {failure}")
