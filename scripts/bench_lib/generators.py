"""The load generators: wrk, h2load and our own `load`. A run gives what was done; errors that they saw end everything."""

import dataclasses
import json
import pathlib
import re
import subprocess

from .processes import Failed, output
from .servers import GENERATOR

HERE = pathlib.Path(__file__).parent


@dataclasses.dataclass
class Round:
    requests: int
    rate: float  # requests a second
    latency: dict | None = None  # of an open loop: what `load` says


def fields(request, flag):
    return [part for name, value in request.fields for part in (flag, f"{name}: {value}")]


def wrk_command(contender, seconds, script=None, arguments=(), connections=64, core=GENERATOR):
    command = ["taskset", "-c", core, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    if script:
        command += ["-s", str(HERE / script)]
    command += fields(contender.request, "-H")
    command += [f"http://127.0.0.1:{contender.server.port}{contender.request.path}"]
    return command + (["--", *map(str, arguments)] if arguments else [])


def read_wrk(printed):
    if "Non-2xx" in printed or "Socket errors" in printed:
        raise Failed(f"wrk saw errors:\n{printed}")
    requests, rate = re.search(r"(\d+) requests in", printed), re.search(r"Requests/sec:\s+([\d.]+)", printed)
    if not (requests and rate and int(requests[1])):
        raise Failed(f"wrk did not measure:\n{printed}")
    return Round(int(requests[1]), float(rate[1]))


class Wrk:
    """A closed loop over HTTP/1.1. `arguments` gives those of the script for a turn."""

    def __init__(self, script=None, arguments=lambda turn: (), connections=64):
        self.script, self.arguments, self.connections = script, arguments, connections

    def command(self, contender, turn, seconds):
        return wrk_command(contender, seconds, self.script, self.arguments(turn), self.connections)

    def run(self, contender, turn, seconds):
        return read_wrk(output(self.command(contender, turn, seconds)))


class WrkOnItsCores:
    """One wrk on each core that the server may use, at once; their sum."""

    def command(self, contender, turn, seconds, core="0"):
        return wrk_command(contender, seconds, core=core)

    def run(self, contender, turn, seconds):
        commands = [self.command(contender, turn, seconds, core) for core in contender.server.cores.split(",")]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        running = []
        try:
            running.extend(subprocess.Popen(command, **pipes) for command in commands)
            rounds = [read_wrk(each.communicate()[0]) for each in running]
        finally:
            for each in running:
                each.kill()
                each.wait()
        return Round(sum(each.requests for each in rounds), sum(each.rate for each in rounds))


class H2load:
    """A closed loop over HTTP/2 in clear text: 16 connections with 10 requests at once."""

    def command(self, contender, turn, seconds):
        command = ["taskset", "-c", GENERATOR, "h2load", "-t1", "-c16", "-m10", f"-D{seconds}"]
        return [*command, *fields(contender.request, "-H"), f"http://127.0.0.1:{contender.server.port}/x"]

    def run(self, contender, turn, seconds):
        printed = output(self.command(contender, turn, seconds))
        rate = re.search(r"finished in .*?, ([\d.]+) req/s", printed)
        statuses = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", printed)
        wrong = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", printed)
        if not (rate and statuses and wrong) or any(map(int, [*statuses.groups()[1:], *wrong.groups()])):
            raise Failed(f"h2load saw errors:\n{printed}")
        return Round(int(statuses[1]), float(rate[1]))


class Load:
    """An open loop: requests are due at a rate, and latency counts from then."""

    def __init__(self, program, rate, connections):
        self.program, self.rate, self.connections = program, rate, connections

    def command(self, contender, turn, seconds):
        request, address = contender.request, f"127.0.0.1:{contender.server.port}"
        command = ["taskset", "-c", GENERATOR, self.program, address, request.path, "--rate", str(self.rate)]
        command += ["--connections", str(self.connections), "--seconds", str(seconds)]
        return command + fields(request, "--header")

    def run(self, contender, turn, seconds):
        figures = json.loads(output(self.command(contender, turn, seconds)))
        if figures["errors"]:
            raise Failed(f"{contender.name}: load saw errors: {figures}")
        # Every connection was asked once before the time began.
        return Round(figures["answered"] + self.connections, figures["achieved"], figures)
