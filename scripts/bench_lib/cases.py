"""The cases: what is started, what is asked, and what has to come back."""

import dataclasses
import functools

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


@dataclasses.dataclass
class Plan:
    """What has been started and primed, and is measured now."""

    contenders: list
    generator: object
    base: str
    note: str = ""
    afterwards: object = lambda: None  # a last check


# By name, in the order of the page: title, and what starts it on a stage.
CASES = {}


def case(*variants):
    """Each variant is a name, a title, and what the function gets besides the stage."""

    def add(start):
        for name, title, *arguments in variants:
            CASES[name] = (title, functools.partial(start, *arguments))
        return start

    return add


def run(bench, name):
    title, start = CASES[name]
    bench.say(f"{name}: {title}")
    with Stage(bench) as stage:
        plan = start(stage)
        rows = rounds(plan.contenders, plan.generator, bench.turns, bench.seconds, bench.say)
        command = bench.told(plan.generator.command(plan.contenders[-1], 0, bench.seconds))
        plan.afterwards()
    return Case(name, title, rows, plan.base, plan.note, command)


def caches(stage, application, **wanted):
    """The three caches. The floor is told what Larder answers, so it comes after them."""
    return [
        Contender("nginx", stage.nginx(application), **wanted),
        Contender("Varnish", stage.varnish(application), **wanted),
        Contender("Larder", stage.larder(application), **wanted),
    ]


def primed(contenders):
    for contender in contenders:
        contender.prime()
    return contenders


def floor_like(stage, larder, *words):
    """The floor that answers as this contender does, and is asked the same."""
    server = stage.floor_like(larder.server, dataclasses.replace(larder.request, http2=False), *words)
    return dataclasses.replace(larder, name="floor", server=server)


@case(
    ("hit-100", "100 B hit", 100),
    ("hit-1k", "1 KiB hit", 1024),
    ("hit-32k", "32 KiB hit", 32 * 1024),
    ("hit-1m", "1 MiB hit", 1024 * 1024),
)
def hit(length, stage):
    """Debian's nginx.conf turns `sendfile` and `tcp_nopush` on, which is better for large bodies than for small ones."""
    application, name = stage.application(length), "nginx, no sendfile"
    other = Contender(name, stage.nginx(application, sendfile="off", name=name), length=length)
    found = primed([other, *caches(stage, application, length=length)])
    note = "nginx as Debian sets it up: with `sendfile` and `tcp_nopush`. Without, it is better with small bodies."
    return Plan([floor_like(stage, found[-1]), *found], Wrk(), "floor", note)


@case(("tenant", "1 KiB hit, shared by tenant, with a JWT (HS256)"))
def tenant(stage):
    application = stage.application(1024)
    larder = stage.larder(application, [servers.BY_TENANT], servers.IDENTITY)
    request = Request(fields=(*FIELDS, ("Authorization", f"Bearer {servers.token()}")))
    found = primed([Contender("nginx", stage.nginx(application)), Contender("Larder", larder, request)])
    note = "The floor gets the same requests, with the token; nginx gets them without, and shares one answer among all."
    return Plan([floor_like(stage, found[-1]), *found], Wrk(), "floor", note)


@case(("conditional", "conditional hit: 304 by `If-None-Match`"))
def conditional(stage):
    request = Request(fields=(*FIELDS, ("If-None-Match", servers.ETAG)))
    found = caches(stage, stage.application(1024), request=request, status=304, length=0)
    for cache in found:
        cache.prime(Request())
    note = "The floor answers 304 with the fields of Larder's 304, without looking at the request."
    return Plan([floor_like(stage, found[-1], "304"), *found], Wrk(), "floor", note)


@case(("zipf", "1 KiB hit, 100,000 distinct keys, Zipf 0.99"))
def zipf(stage):
    paths = [f"/key/{number}" for number in range(1, KEYS + 1)]
    found = caches(stage, stage.application(1024), request=Request(paths[0]))
    for cache in found:
        stage.bench.say(f"storing {KEYS:,} answers in {cache.name}")
        cache.preload(paths)

    def afterwards():
        for cache in found:
            cache.check_some(paths)

    note = (
        "All keys are stored before. The floor has one answer for all: it shows what drawing the keys costs the generator. "
        f"nginx keeps {servers.open_files(64):,} files open: the limit of open files of this machine allows no more."
    )
    # Each turn begins with another draw, the same for all.
    generator = Wrk("zipf.lua", lambda turn: (KEYS, DRAWS, turn * 143_000 % DRAWS))
    return Plan([floor_like(stage, found[-1]), *found], generator, "floor", note, afterwards)


def nginx_and_larder(stage, request):
    """Both as proxies, with nothing stored."""
    application = stage.application(1024)
    return [
        Contender("nginx", stage.nginx(application), request, verdict=None),
        Contender("Larder", stage.larder(application), request, verdict="BYPASS"),
    ]


@case(("pass", "miss: pass-through, nothing is stored"))
def passed(stage):
    note = "Generator and application share the second core. `busy` says how much of the first the server used."
    return Plan(nginx_and_larder(stage, Request("/pass/x")), Wrk(), "nginx", note)


@case(("post", "POST of 256 bytes, passed through"))
def posted(stage):
    request = Request("/pass/x", "POST", (*FIELDS, ("Content-Type", "application/octet-stream")), b"x" * 256)
    note = (
        "Larder passes a write in a task of its own, which goes on even when the client leaves, and purges the URL where a "
        "route caches it; here none does. nginx reads the body and passes it on."
    )
    return Plan(nginx_and_larder(stage, request), Wrk("post.lua"), "nginx", note)


@dataclasses.dataclass
class Storing(Contender):
    """What it is asked for the first time is a miss, and then a hit."""

    asked: int = 0

    def check(self):
        self.asked += 1
        request = Request(f"/checked/{self.asked}")
        Contender(self.name, self.server, request, verdict="MISS").check()
        self.prime(request)


@case(("stored", "miss: 1 KiB answers that are stored, distinct keys"))
def stored(stage):
    application = stage.application(1024)
    contenders = [Storing("nginx", stage.nginx(application)), Storing("Larder", stage.larder(application))]
    note = (
        "Every path is asked for once. nginx writes files, in memory where there is a tmpfs, up to 2 GiB of them; Larder "
        "holds 1 GiB. What is beyond that is evicted."
    )
    return Plan(contenders, Wrk("unique.lua", lambda turn: (turn * APART,)), "nginx", note)


@case(("http2", "1 KiB hit over HTTP/2 in clear text"))
def http2(stage):
    application, request = stage.application(1024), Request(http2=True)
    found = primed(
        [
            Contender("nginx", stage.nginx(application, listen=" http2"), request),
            Contender("Larder", stage.larder(application), request),
        ]
    )
    return Plan([floor_like(stage, found[-1], "http2"), *found], H2load(), "floor")


@dataclasses.dataclass
class Routed(Contender):
    routes: int = 0


class InTurn(Wrk):
    """Asks each over its own routes."""

    def command(self, contender, turn, seconds):
        return Wrk("in_turn.lua", lambda _: (ROUTED_KEYS, contender.routes)).command(contender, turn, seconds)


@case(("routes", f"1 KiB hit, 10,000 routes against 10; {ROUTED_KEYS:,} distinct keys in turn"))
def routes(stage):
    """The same number of keys in both, so that the routes are all that differs."""
    application, contenders = stage.application(1024), []
    for number in (10, 10_000):
        lines = [f'{{ name: r{n}, path: "/r{n}/{{*rest}}", tier: t, share: public }}' for n in range(number)]
        larder = stage.larder(application, lines, name=f"Larder, {number:,} routes")
        contenders.append(Routed(larder.name, larder, Request("/r0/0"), routes=number))
        contenders[-1].preload([f"/r{key % number}/{key}" for key in range(ROUTED_KEYS)])
    return Plan(contenders, InTurn(), "10 routes")


@case(
    ("connections-1000", "latency at half load, 1,000 connections", 1_000),
    ("connections-10000", "latency at half load, 10,000 connections", 10_000),
)
def latency(connections, stage):
    found = primed(caches(stage, stage.application(1024)))
    nginx = rounds(found[:1], Wrk(connections=connections), 1, CLOSED_SECONDS, stage.bench.say)[0]
    generator = Load(stage.bench.programs["load"], int(nginx.rate() / 2), connections)
    note = (
        f"{generator.rate:,} requests a second for each server: half of what nginx reaches with so many connections in a "
        "closed loop. Latency counts from when a request was due. `late` is the p99 of how late the generator sent what it "
        "had an idle connection for: times are no more precise than that."
    )
    return Plan([floor_like(stage, found[-1]), *found], generator, "nginx", note)


@case(("cores", "1 KiB hit, two workers against one"))
def two_cores(stage):
    application, contenders = stage.application(1024), []
    for server in ("nginx", "Larder"):
        for workers, cores in ((1, SERVER), (2, BOTH)):
            name = f"{server}, {workers} worker{'s' * (workers > 1)}"
            if server == "nginx":
                started = stage.nginx(application, workers, " reuseport", name=name, cores=cores)
            else:
                started = stage.larder(application, name=name, cores=cores)
            contenders.append(Contender(name, started))
    note = (
        "There are two cores for servers and generators. One worker: it and a wrk share the first core. Two workers: they "
        "and two wrk share both; the sum of these. Larder takes as many workers as it may use cores."
    )
    return Plan(primed(contenders), WrkOnItsCores(), "1 worker", note)
