"""The servers that are measured, and the application behind them, each with its configuration."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import pathlib
import resource
import shutil
import string
import tempfile
import time

from .ask import ask
from .processes import Process

HERE = pathlib.Path(__file__).parent
SECRET = "a secret that signs the tokens of the benchmark"
ETAG = '"0123456789abcdef"'

# What the application's answers say.
APPLICATION_FIELDS = (
    "Content-Type: application/json",
    "Cache-Control: max-age=600",
    f"ETag: {ETAG}",
    "Last-Modified: Fri, 20 Nov 2026 10:00:00 GMT",
    "X-Request-Id: 0123456789abcdef",
)

# How many clients' connections a server may have: the most that a case opens, and some for questions.
CONNECTIONS = 10_500

# Larder's routes, and where it takes an identity from.
ALL = '{ name: all, path: "/{*rest}", tier: t, share: public }'
BY_TENANT = '{ name: all, path: "/{*rest}", tier: t, share: tenant }'
IDENTITY = """identity:
  jwt: { algorithms: [HS256], secret: { env: LARDER_BENCH_SECRET } }
  tenant: [{ jwt: tenant_id }]
  user: [{ jwt: sub }]"""

# The server that is measured has the first core, what measures it the second.
SERVER, GENERATOR, BOTH = "0", "1", "0,1"


class Template(string.Template):
    delimiter = "@"


def write(template, target, **values):
    text = Template((HERE / template).read_text(encoding="utf-8")).substitute(values)
    pathlib.Path(target).write_text(text, encoding="utf-8")
    return str(target)


def token():
    """A token of a tenant's user, good for a day."""

    def part(value):
        raw = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(raw).rstrip(b"=")

    claims = {"tenant_id": "acme", "sub": "user-1", "exp": int(time.time()) + 86_400}
    signed = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(claims)
    return (signed + b"." + part(hmac.digest(SECRET.encode(), signed, hashlib.sha256))).decode()


class Server(Process):
    """A server that says in its answers whether they came from its cache."""

    has_cache = True

    def told(self, answer):
        return answer.field("x-cache")


class Floor(Server):
    """Has no cache, and repeats whatever fields it was given."""

    has_cache = False


class Varnish(Server):
    def told(self, answer):
        """`X-Varnish` names the request, and for a hit the one that filled the cache, too."""
        return "HIT" if len((answer.field("x-varnish") or "").split()) == 2 else "MISS"


class Stage:
    """What runs during one case, in a folder of its own. Whatever ends the case ends all of it."""

    def __init__(self, bench):
        self.bench, self.ports, self.servers = bench, bench.ports, []

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.folder = stack.enter_context(temporary_folder(None))
            self.cache = stack.enter_context(temporary_folder("/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
            stack.callback(self.stop)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def stop(self):
        for server in reversed(self.servers):
            server.stop()

    def start(self, kind, name, command, cores, port, environment=None):
        server = kind(name, command, cores, port, self.folder, environment)
        self.servers.append(server)
        self.bench.note_command(name, server.command, {self.folder: "FOLDER", self.cache: "CACHE"})
        server.wait_until_it_listens()
        return server

    def floor(self, length, fields, *words, name="floor", cores=SERVER):
        port = self.ports.next()
        command = [self.bench.programs["floor"], f"127.0.0.1:{port}", str(length), *words, "--", *fields]
        return self.start(Floor, name, command, cores, port)

    def application(self, length):
        return self.floor(length, APPLICATION_FIELDS, "reads", name="application", cores=GENERATOR)

    def floor_like(self, larder, request, *words):
        """A floor whose answers have the fields of Larder's. `Content-Length` and `Date` are hyper's own matter."""
        answer = ask(larder.port, request)
        given = [f"{name}: {value}" for name, value in answer.fields if name.lower() not in ("content-length", "date")]
        return self.floor(answer.length, given, *words)

    def larder(self, application, routes=(ALL,), identity="", name="Larder", cores=SERVER):
        port = self.ports.next()
        config = write(
            "larder.yaml",
            f"{self.folder}/larder.{port}.yaml",
            port=port,
            application=application.port,
            identity=identity,
            connections=CONNECTIONS,
            routes="\n".join(f"  - {route}" for route in routes),
        )
        command = [self.bench.programs["larder"], "run", "-c", config]
        return self.start(Server, name, command, cores, port, {"LARDER_BENCH_SECRET": SECRET})

    def nginx(self, application, workers=1, listen="", clients=64, sendfile="on", name="nginx", cores=SERVER):
        port = self.ports.next()
        folder, cache = f"{self.folder}/nginx.{port}", f"{self.cache}/nginx.{port}"
        for each in (folder, cache):
            os.mkdir(each)
        config = write(
            "nginx.conf",
            f"{folder}/nginx.conf",
            port=port,
            application=application.port,
            folder=folder,
            cache=cache,
            workers=workers,
            listen=listen,
            sendfile=sendfile,
            connections=CONNECTIONS + 1000,
            open_files=open_files(clients),
        )
        # -e: before the configuration is read.
        return self.start(Server, name, [shutil.which("nginx"), "-e", "stderr", "-c", config], cores, port)

    def varnish(self, application):
        port = self.ports.next()
        vcl = write("default.vcl", f"{self.folder}/default.vcl", application=application.port)
        command = [shutil.which("varnishd"), "-F", "-a", f"127.0.0.1:{port}", "-f", vcl, "-n", f"{self.folder}/varnish"]
        # A thread waits for a while with each connection that it has answered: a hundred are too few for thousands of
        # them, and what finds neither a thread nor a place in the queue is cut off. While ten thousand are opened, the
        # first ones are idle for longer than its default allows.
        command += ["-s", "malloc,1g"]
        for parameter in ("thread_pools=1", "thread_pool_min=1000", "thread_queue_limit=20000", "timeout_idle=60"):
            command += ["-p", parameter]
        return self.start(Varnish, "Varnish", command, SERVER, port)


def temporary_folder(where):
    folder = tempfile.TemporaryDirectory(prefix="larder-bench-", dir=where)
    os.chmod(folder.name, 0o755)  # workers of nginx and Varnish run as users of their own
    return folder


def open_files(clients):
    """How many files of its cache nginx may keep open beside its connections."""
    return min(100_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - clients - 1000)

