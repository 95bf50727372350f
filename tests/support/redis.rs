//! Real Redis servers for tests: stand-alone, with Sentinel, and a Cluster, each on free ports under a folder of its own.
//!
//! A server does not outlive its test: dropped, it is killed by its own id, also when the test fails, and its folder goes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::wait;

/// How long a server may take to start.
const START: Duration = Duration::from_secs(30);

/// One process, which is killed when it is dropped.
struct Server {
    child: Child,
}

impl Server {
    fn start(program: &str, args: &[String], folder: &Path) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(folder.join("output")).unwrap();
        let mut command = Command::new(program);
        command.args(args).current_dir(folder).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("{program} does not start ({error}): run scripts/test, or `apt-get install redis-server redis-tools`")
        });
        Self { child }
    }

    fn signal(&self, signal: &str) {
        let status =
            Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success(), "no signal {signal}");
    }

    /// Whether the kernel says that the process stands still.
    fn stands_still(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Certificates of an authority and of a server at 127.0.0.1 and localhost, in PEM.
#[derive(Clone)]
pub struct Certificates {
    /// The authority's own certificate.
    pub ca: String,
    /// The server's certificate.
    pub cert: String,
    /// The server's private key.
    pub key: String,
}

impl Certificates {
    /// New ones.
    pub fn new() -> Self {
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        // Another name than the server's: issued by its own name, a certificate counts as its own issuer.
        params.distinguished_name.push(rcgen::DnType::CommonName, "authority of the tests");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = params.self_signed(&ca_key).unwrap();
        let issuer = rcgen::Issuer::from_params(&params, &ca_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let cert = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        Self { ca: ca.pem(), cert: cert.pem(), key: key.serialize_pem() }
    }
}

/// How a server is to be started.
#[derive(Default)]
pub struct Setup {
    args: Vec<String>,
    file: Option<String>,
    certificates: Option<Certificates>,
    password: Option<String>,
}

impl Setup {
    /// One more option, as on the command line: `--maxmemory`, `10mb`. Older servers want each word by itself.
    pub fn option(mut self, name: &str, value: impl ToString) -> Self {
        self.args.push(format!("--{name}"));
        self.args.extend(value.to_string().split(' ').map(str::to_owned));
        self
    }

    /// The password of the default user.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.option("requirepass", password)
    }

    /// What its file of configuration says; options come on top of it.
    pub fn file(mut self, text: &str) -> Self {
        self.file = Some(text.to_owned());
        self
    }

    /// TLS only, with new certificates: [`Redis::certificates`].
    pub fn tls(self) -> Self {
        self.tls_with(Certificates::new())
    }

    /// TLS only, also among servers.
    pub fn tls_with(mut self, certificates: Certificates) -> Self {
        self.certificates = Some(certificates);
        self.option("tls-cluster", "yes").option("tls-replication", "yes")
    }

    /// Starts it and returns once it answers.
    pub fn start(self) -> Redis {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut args = self.args;
        let certificates = self.certificates;
        let options = match &certificates {
            None => vec![("port", port.to_string())],
            Some(made) => {
                std::fs::write(folder.path().join("ca.pem"), &made.ca).unwrap();
                std::fs::write(folder.path().join("cert.pem"), &made.cert).unwrap();
                std::fs::write(folder.path().join("key.pem"), &made.key).unwrap();
                vec![
                    ("port", "0".to_owned()),
                    ("tls-port", port.to_string()),
                    ("tls-cert-file", "cert.pem".to_owned()),
                    ("tls-key-file", "key.pem".to_owned()),
                    ("tls-ca-cert-file", "ca.pem".to_owned()),
                    ("tls-auth-clients", "no".to_owned()),
                ]
            }
        };
        args.extend(options.into_iter().flat_map(|(name, value)| [format!("--{name}"), value]));
        if let Some(text) = &self.file {
            std::fs::write(folder.path().join("redis.conf"), text).unwrap();
            args.insert(0, "redis.conf".to_owned());
        }
        for (name, value) in [("bind", "127.0.0.1"), ("save", ""), ("appendonly", "no")] {
            args.extend([format!("--{name}"), value.to_owned()]);
        }
        let server = Server::start("redis-server", &args, folder.path());
        let redis = Redis { server, args, port, folder, certificates, password: self.password };
        redis.wait_until_it_answers();
        redis
    }
}

/// A running server. It keeps nothing: restarted, it is empty.
pub struct Redis {
    server: Server,
    args: Vec<String>,
    port: u16,
    folder: TempDir,
    certificates: Option<Certificates>,
    password: Option<String>,
}

impl Redis {
    /// A plain server.
    pub fn start() -> Self {
        Setup::default().start()
    }

    /// A server with options.
    pub fn with() -> Setup {
        Setup::default()
    }

    /// The port that clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL, as the configuration takes it.
    pub fn url(&self) -> String {
        let scheme = if self.certificates.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// The certificates of a server with TLS.
    pub fn certificates(&self) -> &Certificates {
        self.certificates.as_ref().expect("this server has no TLS")
    }

    /// A file in the server's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Stops it in the middle of whatever it does (SIGSTOP); returns once it stands still.
    pub fn pause(&mut self) {
        self.server.signal("STOP");
        assert!(wait::blocking(START, || self.server.stands_still()), "redis-server does not stand still");
    }

    /// Lets it go on.
    pub fn resume(&mut self) {
        self.server.signal("CONT");
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Kills it and starts it again on the same port, empty; returns once it answers.
    pub fn restart(&mut self) {
        self.server.kill();
        self.server = Server::start("redis-server", &self.args, self.folder.path());
        self.wait_until_it_answers();
    }

    /// What `redis-cli` prints to these arguments, without the line break at its end.
    pub fn cli(&self, args: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string(), "--no-auth-warning"]);
        if self.certificates.is_some() {
            command.arg("--tls").arg("--cacert").arg(self.folder.path().join("ca.pem"));
        }
        if let Some(password) = &self.password {
            command.args(["-a", password]);
        }
        cli(command.args(args))
    }

    /// The names of all keys of a database, sorted.
    pub fn keys(&self, database: u8) -> Vec<String> {
        let mut keys: Vec<String> =
            self.cli(&["-n", &database.to_string(), "--scan"]).lines().map(str::to_owned).collect();
        keys.sort();
        keys
    }

    fn wait_until_it_answers(&self) {
        let answers = || {
            let answer = self.cli(&["PING"]);
            answer == "PONG" || answer.starts_with("NOAUTH") || answer.starts_with("NOPERM")
        };
        if !wait::blocking(START, answers) {
            let output = std::fs::read_to_string(self.folder.path().join("output")).unwrap_or_default();
            panic!("redis-server does not answer:\n{output}");
        }
    }
}

fn cli(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| {
        panic!("redis-cli does not start ({error}): run scripts/test, or `apt-get install redis-tools`")
    });
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).trim_end().to_owned()
}

/// A port that nobody listens on, nor on the one that a Cluster's node takes beside it.
pub fn free_port() -> u16 {
    for _ in 0..1_000 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let bus = port.checked_add(10_000).map(|bus| std::net::TcpListener::bind(("127.0.0.1", bus)));
        if matches!(bus, Some(Ok(_))) {
            return port;
        }
    }
    panic!("no free port")
}

/// A primary, replicas, and three Sentinels that watch over them as `larder`.
pub struct Sentinels {
    sentinels: Vec<(Server, u16)>,
    servers: Vec<Redis>,
    _folders: Vec<TempDir>,
}

impl Sentinels {
    /// The name of the service.
    pub const SERVICE: &'static str = "larder";

    /// Starts all, with servers like this one, and returns once the Sentinels know each other and the replicas.
    pub fn start(replicas: usize, like: impl Fn() -> Setup) -> Self {
        let primary = like().start();
        let port = primary.port().to_string();
        let mut servers = vec![primary];
        for _ in 0..replicas {
            servers.push(like().option("replicaof", format!("127.0.0.1 {port}")).start());
        }
        let mut this = Self { sentinels: Vec::new(), servers, _folders: Vec::new() };
        for _ in 0..3 {
            this.add_sentinel(&port);
        }
        let ready = || {
            this.sentinels.iter().all(|(_, sentinel)| {
                let state = this.ask(*sentinel, &["SENTINEL", "MASTER", Self::SERVICE]);
                let field = |name: &str| {
                    let mut lines = state.lines().skip_while(|line| *line != name);
                    lines.nth(1).unwrap_or_default().to_owned()
                };
                field("num-slaves") == replicas.to_string() && field("num-other-sentinels") == "2"
            })
        };
        assert!(wait::blocking(START, ready), "the Sentinels do not find each other");
        this
    }

    fn add_sentinel(&mut self, primary: &str) {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let name = Self::SERVICE;
        let file = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor {name} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {name} 1000\nsentinel failover-timeout {name} 5000\n"
        );
        std::fs::write(folder.path().join("sentinel.conf"), file).unwrap();
        let args = ["sentinel.conf".to_owned(), "--sentinel".to_owned()];
        self.sentinels.push((Server::start("redis-server", &args, folder.path()), port));
        self._folders.push(folder);
    }

    fn ask(&self, sentinel: u16, args: &[&str]) -> String {
        cli(Command::new("redis-cli").args(["-p", &sentinel.to_string()]).args(args))
    }

    /// The Sentinels, as the configuration takes them.
    pub fn nodes(&self) -> Vec<String> {
        self.sentinels.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect()
    }

    /// The port of the primary, as the first Sentinel sees it.
    pub fn primary_port(&self) -> u16 {
        let answer = self.ask(self.sentinels[0].1, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::SERVICE]);
        answer.lines().nth(1).and_then(|port| port.parse().ok()).expect("a Sentinel knows the primary")
    }

    /// The server that is the primary now, as the first Sentinel sees it.
    pub fn primary(&mut self) -> &mut Redis {
        let port = self.primary_port();
        self.servers.iter_mut().find(|server| server.port() == port).expect("the primary is one of ours")
    }

    /// The server on this port.
    pub fn with_port(&mut self, port: u16) -> &mut Redis {
        self.servers.iter_mut().find(|server| server.port() == port).expect("a server of ours")
    }

    /// All servers, the first primary first.
    pub fn servers(&mut self) -> &mut [Redis] {
        &mut self.servers
    }

    /// Asks for a failover, and returns once another server is the primary.
    pub fn fail_over(&self) {
        let before = self.primary_port();
        let moved = || {
            // Refused as long as another one is under way.
            if self.primary_port() == before {
                self.ask(self.sentinels[0].1, &["SENTINEL", "FAILOVER", Self::SERVICE]);
            }
            let after = self.primary_port();
            let role = self.servers.iter().find(|server| server.port() == after).map(|s| s.cli(&["ROLE"]));
            after != before && role.is_some_and(|role| role.starts_with("master"))
        };
        assert!(wait::blocking(Duration::from_secs(60), moved), "no failover");
    }
}

/// A Cluster of three primaries.
pub struct Cluster {
    nodes: Vec<Redis>,
}

impl Cluster {
    /// Starts it with nodes like this one, and returns once all slots are served.
    pub fn start(like: impl Fn() -> Setup) -> Self {
        let node = || like().option("cluster-enabled", "yes").option("cluster-node-timeout", "2000").start();
        let nodes: Vec<Redis> = (0..3).map(|_| node()).collect();
        let mut create = Command::new("redis-cli");
        if nodes[0].certificates.is_some() {
            create.arg("--tls").arg("--cacert").arg(nodes[0].file("ca.pem"));
        }
        create.args(["--cluster", "create"]);
        create.args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())));
        let printed = cli(create.args(["--cluster-yes"]));
        let ready = || {
            let ok = |node: &Redis| node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
            nodes.iter().all(ok)
        };
        assert!(wait::blocking(START, ready), "no Cluster:\n{printed}");
        Self { nodes }
    }

    /// The URLs of all nodes.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The slot of a key.
    pub fn slot(&self, key: &str) -> String {
        self.nodes[0].cli(&["CLUSTER", "KEYSLOT", key])
    }

    /// The number of the node that serves the key.
    pub fn owner(&self, key: &str) -> usize {
        let answers = |node: &Redis| !node.cli(&["GET", key]).starts_with("MOVED");
        self.nodes.iter().position(answers).expect("a node serves the key")
    }

    /// Begins to move a key's slot: the new owner imports, the old one migrates. Returns both.
    pub fn begin_move(&self, key: &str) -> (usize, usize) {
        let from = self.owner(key);
        let to = (from + 1) % self.nodes.len();
        let (slot, source, target) = (self.slot(key), self.id(from), self.id(to));
        self.nodes[to].cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]);
        self.nodes[from].cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]);
        (from, to)
    }

    /// Moves what is in the slot of a key, and gives the slot to the new owner.
    pub fn finish_move(&self, key: &str, (from, to): (usize, usize)) {
        let (slot, target) = (self.slot(key), self.id(to));
        let port = self.nodes[to].port().to_string();
        let names = self.nodes[from].cli(&["CLUSTER", "GETKEYSINSLOT", &slot, "1000"]);
        for name in names.lines().filter(|name| !name.is_empty()) {
            self.nodes[from].cli(&["MIGRATE", "127.0.0.1", &port, name, "0", "5000"]);
        }
        for node in [to, from].into_iter().chain(0..self.nodes.len()) {
            self.nodes[node].cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]);
        }
    }

    fn id(&self, node: usize) -> String {
        self.nodes[node].cli(&["CLUSTER", "MYID"])
    }
}
