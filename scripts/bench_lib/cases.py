"""The cases: what is started, what is asked, and what has to come back."""

import dataclasses

from . import servers
from .ask import FIELDS, Contender, Request
from .generators import H2load, Load, Wrk, WrkOnItsCores
from .measure import Case, rounds
from .servers import BOTH, SERVER, Stage

# Keys and draws of the Zipf case.
KEYS, DRAWS = 100_000, 1_000_000
# Further apart than the requests of one round.
APART = 10_000_000
# The keys of the case with many routes.
ROUTED_KEYS = 10_000
# How long the closed loop is measured that says what half load is; ten thousand connections take a part of it.
CLOSED_SECONDS = 5


def finish(bench, name, title, contenders, generator, base, note=""):
    """Measures in turn what has been started and primed."""
    bench.say(f"{name}: {title}")
    last = contenders[-1]
    command = bench.told(generator.command(last, 0, bench.seconds))
    rows = rounds(contenders, generator, bench.turns, bench.seconds, bench.say)
    return Case(name, title, rows, base, note, command)


def hit(bench, name, title, length):
    with Stage(bench) as stage:
        application = stage.application(length)
        larder, nginx = stage.larder(application), stage.nginx(application)
        contenders = four(stage, larder, nginx, stage.varnish(application), length=length)
        return finish(bench, name, title, contenders, Wrk(), "floor")


def four(stage, larder, nginx, varnish, **wanted):
    """The floor and the three caches, primed."""
    caches = [Contender("nginx", nginx, **wanted), Contender("Varnish", varnish, **wanted), Contender("Larder", larder, **wanted)]
    for cache in caches:
        cache.prime()
    floor = stage.floor_like(larder, caches[-1].request)
    return [Contender("floor", floor, **wanted), *caches]


def tenant(bench):
    """A token must be verified, or known; the key holds the tenant."""
    with Stage(bench) as stage:
        application = stage.application(1024)
        larder = stage.larder(application, [servers.BY_TENANT], servers.IDENTITY)
        request = Request(fields=(*FIELDS, ("Authorization", f"Bearer {servers.token()}")))
        contenders = [
            Contender("nginx", stage.nginx(application)),
            Contender("Larder", larder, request),
        ]
        for contender in contenders:
            contender.prime()
        contenders.insert(0, Contender("floor", stage.floor_like(larder, request), request))
        note = "The floor gets the same requests, with the token; nginx gets them without, and shares one answer among all."
        return finish(bench, "tenant", "1 KiB hit, shared by tenant, with a JWT (HS256)", contenders, Wrk(), "floor", note)


def conditional(bench):
    with Stage(bench) as stage:
        application = stage.application(1024)
        plain = Request()
        request = Request(fields=(*FIELDS, ("If-None-Match", servers.ETAG)))
        larder = stage.larder(application)
        caches = [
            Contender("nginx", stage.nginx(application), request, 304, 0),
            Contender("Varnish", stage.varnish(application), request, 304, 0),
            Contender("Larder", larder, request, 304, 0),
        ]
        for cache in caches:
            cache.prime(plain)
        floor = Contender("floor", stage.floor_like(larder, request, "304"), request, 304, 0)
        note = "The floor answers 304 with the fields of Larder's 304, without looking at the request."
        return finish(bench, "conditional", "conditional hit: 304 by `If-None-Match`", [floor, *caches], Wrk(), "floor", note)


def zipf(bench):
    paths = [f"/key/{number}" for number in range(1, KEYS + 1)]
    with Stage(bench) as stage:
        application = stage.application(1024)
        larder = stage.larder(application)
        request = Request(paths[0])
        caches = [
            Contender("nginx", stage.nginx(application), request),
            Contender("Varnish", stage.varnish(application), request),
            Contender("Larder", larder, request),
        ]
        for cache in caches:
            bench.say(f"zipf: storing {KEYS:,} answers in {cache.name}")
            cache.preload(paths)
        contenders = [Contender("floor", stage.floor_like(larder, request), request), *caches]
        generator = Wrk("zipf.lua", lambda turn: (KEYS, DRAWS, turn * DRAWS // max(7, bench.turns)))
        note = (
            "All keys are stored before. The floor has one answer for all: it shows what drawing the keys costs the generator. "
            f"nginx keeps {min(100_000, servers.files() - 64 - 1000):,} files open, as many as the limit of open files lets it."
        )
        case = finish(bench, "zipf", "1 KiB hit, 100,000 distinct keys, Zipf 0.99", contenders, generator, "floor", note)
        for cache in caches:
            cache.check_some(paths)
        return case


def passed(bench):
    """What no cache has a part in."""
    request = Request("/pass/x")
    note = "Generator and application share the second core. `busy` says how much of the first the server used."
    return between_nginx_and_larder(bench, "pass", "miss: pass-through, nothing is stored", request, Wrk(), note)


def posted(bench):
    request = Request("/pass/x", "POST", (*FIELDS, ("Content-Type", "application/octet-stream")), b"x" * 256)
    note = (
        "A write is passed by Larder in a task of its own, which ends it even when its client leaves, and it purges the URL "
        "where a route caches it; here none does. nginx reads the body and passes it on."
    )
    return between_nginx_and_larder(bench, "post", "POST of 256 bytes, passed through", request, Wrk("post.lua"), note)


def between_nginx_and_larder(bench, name, title, request, generator, note):
    with Stage(bench) as stage:
        application = stage.application(1024)
        contenders = [
            Contender("nginx", stage.nginx(application), request, verdict=None),
            Contender("Larder", stage.larder(application), request, verdict="BYPASS"),
        ]
        return finish(bench, name, title, contenders, generator, "nginx", note)


@dataclasses.dataclass
class Storing(Contender):
    """What is asked for once is a miss, and then a hit."""

    asked: int = 0

    def check(self):
        self.asked += 1
        request = Request(f"/checked/{self.asked}")
        Contender(self.name, self.server, request, verdict="MISS").check()
        self.prime(request)


def stored(bench):
    with Stage(bench) as stage:
        application = stage.application(1024)
        contenders = [Storing("nginx", stage.nginx(application)), Storing("Larder", stage.larder(application))]
        generator = Wrk("unique.lua", lambda turn: (turn * APART,))
        note = "Every path is asked for once. nginx writes files, in memory where there is a tmpfs; Larder holds 1 GiB and then evicts."
        title = "miss: 1 KiB answers that are stored, distinct keys"
        return finish(bench, "stored", title, contenders, generator, "nginx", note)


def http2(bench):
    with Stage(bench) as stage:
        application = stage.application(1024)
        request, plain = Request(http2=True), Request()
        larder = stage.larder(application)
        caches = [
            Contender("nginx", stage.nginx(application, listen=" http2"), request),
            Contender("Larder", larder, request),
        ]
        for cache in caches:
            cache.prime()
        floor = Contender("floor", stage.floor_like(larder, plain, "http2"), request)
        title = "1 KiB hit over HTTP/2 in clear text"
        return finish(bench, "http2", title, [floor, *caches], H2load(), "floor")


def routes(bench):
    """The same number of keys in both, so that the routes are all that differs."""
    with Stage(bench) as stage:
        application = stage.application(1024)
        contenders = []
        for number in (10, 10_000):
            lines = [f'{{ name: r{n}, path: "/r{n}/{{*rest}}", tier: t, share: public }}' for n in range(number)]
            larder = stage.larder(application, lines, name=f"Larder {number} routes")
            contenders.append(Routed(f"{number:,} routes", larder, Request("/r0/0"), routes=number))
            contenders[-1].preload([f"/r{key % number}/{key}" for key in range(ROUTED_KEYS)])
        title = f"1 KiB hit, 10,000 routes against 10; {ROUTED_KEYS:,} distinct keys in turn"
        return finish(bench, "routes", title, contenders, InTurn(), "10 routes")


@dataclasses.dataclass
class Routed(Contender):
    routes: int = 0


class InTurn(Wrk):
    """Asks each for its own routes."""

    def command(self, contender, turn, seconds):
        return Wrk("in_turn.lua", lambda _: (ROUTED_KEYS, contender.routes)).command(contender, turn, seconds)


def latency(bench, connections):
    with Stage(bench) as stage:
        application = stage.application(1024)
        larder, nginx = stage.larder(application), stage.nginx(application, clients=connections)
        contenders = four(stage, larder, nginx, stage.varnish(application))
        closed = rounds(contenders[1:2], Wrk(connections=connections), 1, CLOSED_SECONDS, bench.say)
        generator = Load(bench.programs["load"], int(closed[0].rate() / 2), connections)
        note = (
            f"{generator.rate:,} requests a second for each server: half of what nginx reaches with so many connections in a "
            "closed loop. Latency counts from when a request was due. `late` is how late the generator was with what it sent, "
            "p99: the measurement is no more precise than that."
        )
        title = f"latency at half load, {connections:,} connections"
        return finish(bench, f"connections-{connections}", title, contenders, generator, "nginx", note)


def two_cores(bench):
    with Stage(bench) as stage:
        application = stage.application(1024)
        contenders = []
        for name, start in (
            ("nginx", lambda workers, **where: stage.nginx(application, workers, " reuseport", **where)),
            ("Larder", lambda workers, **where: stage.larder(application, **where)),
        ):
            for workers, cores in ((1, SERVER), (2, BOTH)):
                label = f"{name}, {workers} worker{'s' * (workers > 1)}"
                contenders.append(Contender(label, start(workers, name=label, cores=cores)))
                contenders[-1].prime()
        note = (
            "There are two cores for both servers and generators. One worker: it and a wrk share the first core. Two workers: "
            "they and two wrk share both; the sum of these. Larder takes as many workers as it has cores."
        )
        return finish(bench, "cores", "1 KiB hit, two workers against one", contenders, WrkOnItsCores(), "1 worker", note)


# By name, in the order of the page.
CASES = {
    "hit-100": lambda bench: hit(bench, "hit-100", "100 B hit", 100),
    "hit-1k": lambda bench: hit(bench, "hit-1k", "1 KiB hit", 1024),
    "hit-32k": lambda bench: hit(bench, "hit-32k", "32 KiB hit", 32 * 1024),
    "hit-1m": lambda bench: hit(bench, "hit-1m", "1 MiB hit", 1024 * 1024),
    "tenant": tenant,
    "conditional": conditional,
    "zipf": zipf,
    "pass": passed,
    "stored": stored,
    "post": posted,
    "http2": http2,
    "routes": routes,
    "connections-1000": lambda bench: latency(bench, 1_000),
    "connections-10000": lambda bench: latency(bench, 10_000),
    "cores": two_cores,
}
