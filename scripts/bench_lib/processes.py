"""Processes that are pinned to cores, watched, and ended by their id."""

import os
import signal
import socket
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """The run cannot go on. Its text says why."""


def stop_on_signals():
    """Whatever ends the run, it ends in order: what was started is ended, folders are removed."""

    def end(number, _frame):
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(f"ended by {signal.Signals(number).name}")

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, end)


def output(command, **options):
    """What a short command prints; Failed if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stdout}")
    return done.stdout


class Ports:
    """Ports below those that clients' connections get, so that ten thousand of these are not in the way."""

    def __init__(self):
        self.last = 20_000

    def next(self):
        while True:
            self.last += 1
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", self.last))
                    return self.last
                except OSError:
                    continue


class Process:
    """A server on the cores that it is pinned to. Its output goes into a file."""

    def __init__(self, name, command, cores, port, folder, environment=None):
        self.name, self.cores, self.port = name, cores, port
        self.command = ["taskset", "-c", cores, *command]
        self.log = os.path.join(folder, f"{name.replace(' ', '-')}.{port}.log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # Ctrl-C is for us; we end it
            )

    def failed(self, what):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            lines = log.read().splitlines()[-40:]
        return Failed(f"{self.name}: {what}; its log ends with:\n" + "\n".join(lines))

    def check(self):
        if self.process.poll() is not None:
            raise self.failed(f"ended with {self.process.returncode}")

    def wait_until_it_listens(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            self.check()
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return
            except OSError:
                time.sleep(0.01)
        raise self.failed("does not listen")

    def family(self):
        """The process and all below it: pid to processor time, in seconds."""
        parents, times = {}, {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents[int(pid)], times[int(pid)] = int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS
        members = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in members} - members:
            members |= more
        return {pid: times[pid] for pid in members if pid in times}

    def processor_time(self):
        """User and system time of all its processes and threads, in seconds."""
        return sum(self.family().values())

    def stop(self):
        family = self.family()
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            for pid in family:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.wait()
