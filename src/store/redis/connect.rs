//! Connections to one server, to the primary that Sentinels name, or to a Cluster.
//!
//! A primary is asked for anew at each connection, and must say itself that it is one (ROLE): a Sentinel may be behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::RoutingInfo;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ErrorKind, ProtocolVersion, RedisConnectionInfo,
    ServerErrorKind, TlsMode, cmd,
};
use tokio::net::TcpStream;

use super::super::{SharedError, SharedErrorKind};
use super::scripts::Script;
use super::tls::{self, Tls};
use super::value::{Value, failed, too_late, unexpected};
use crate::config::{Password, Redis, RedisServer, Servers};

/// How long connecting may take, whatever an operation may: whoever waits for it gives up at its own time.
const CONNECT: Duration = Duration::from_secs(2);

/// A connection.
#[derive(Clone)]
pub(super) enum Connection {
    /// To one server.
    One(One),
    /// To all nodes of a Cluster.
    Cluster(ClusterConnection),
}

/// A connection to one server, and whether it is over: it was cut, or the server is the primary no more.
#[derive(Clone)]
pub(super) struct One {
    wire: MultiplexedConnection,
    cut: Arc<AtomicBool>,
    left: Arc<AtomicBool>,
}

impl Connection {
    /// Whether it is over, as far as is known. A Cluster's nodes are connected to anew by the client itself.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Self::One(one) => one.cut.load(Ordering::Acquire) || one.left.load(Ordering::Acquire),
            Self::Cluster(_) => false,
        }
    }

    /// Sends a command and waits for its reply. `route` is for a Cluster, where the key does not say which node.
    pub(super) async fn send(
        &mut self,
        cmd: &Cmd,
        route: Option<&RoutingInfo>,
    ) -> Result<Value, SharedError> {
        let reply: redis::RedisResult<redis::Value> = match (self, route) {
            (Self::One(one), _) => cmd.query_async(&mut one.wire).await,
            (Self::Cluster(connection), None) => cmd.query_async(connection).await,
            (Self::Cluster(connection), Some(route)) => {
                connection.route_command(cmd.clone(), route.clone()).await
            }
        };
        Value::try_from(reply.map_err(|error| failed(&error))?)
    }

    /// Runs a script; its source goes along only where the server does not know it.
    pub(super) async fn run(
        &mut self,
        script: &Script,
        keys: &[String],
        args: &[Bytes],
    ) -> Result<Value, SharedError> {
        let sent: redis::RedisResult<redis::Value> = {
            let cmd = call("EVALSHA", script.sha(), keys, args);
            match self {
                Self::One(one) => cmd.query_async(&mut one.wire).await,
                Self::Cluster(connection) => cmd.query_async(connection).await,
            }
        };
        match sent {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.send(&call("EVAL", script.source(), keys, args), None).await
            }
            other => Value::try_from(other.map_err(|error| failed(&error))?),
        }
    }
}

fn call(how: &str, script: &str, keys: &[String], args: &[Bytes]) -> Cmd {
    let mut cmd = cmd(how);
    cmd.arg(script).arg(keys.len());
    for key in keys {
        cmd.arg(key);
    }
    for arg in args {
        cmd.arg(&arg[..]);
    }
    cmd
}

/// Where connections lead to.
pub(super) struct Target {
    config: Redis,
    tls: Option<Tls>,
    primary: Mutex<Primary>,
}

/// The primary that Sentinels named last, and what connections to it look at to know that it was left.
#[derive(Default)]
struct Primary {
    server: Option<RedisServer>,
    left: Arc<AtomicBool>,
}

impl Target {
    /// As configured.
    pub(super) fn new(config: &Redis) -> Result<Self, SharedError> {
        let tls = config.tls.as_ref().map(Tls::new).transpose()?;
        Ok(Self { config: config.clone(), tls, primary: Mutex::default() })
    }

    pub(super) fn config(&self) -> &Redis {
        &self.config
    }

    /// A connection, within [`CONNECT`]. To be called on the runtime of the connections.
    pub(super) async fn connect(&self) -> Result<Connection, SharedError> {
        let connecting = async {
            match &self.config.servers {
                Servers::Cluster(nodes) => self.cluster(nodes).await.map(Connection::Cluster),
                _ => self.primary().await.map(Connection::One),
            }
        };
        tokio::time::timeout(CONNECT, connecting).await.unwrap_or_else(|_| Err(too_late()))
    }

    /// A connection to the one server that has `key`.
    pub(super) async fn connect_to_owner(&self, key: &str) -> Result<Connection, SharedError> {
        let connecting = async {
            match &self.config.servers {
                Servers::Cluster(nodes) => self.owner(nodes, key).await,
                _ => self.primary().await,
            }
        };
        let connection = tokio::time::timeout(CONNECT, connecting).await.unwrap_or_else(|_| Err(too_late()));
        connection.map(Connection::One)
    }

    async fn primary(&self) -> Result<One, SharedError> {
        match &self.config.servers {
            Servers::Sentinel { nodes, service, username, password } => {
                let at_sentinel = login(username.as_deref(), password.as_ref(), 0);
                let server = self.ask_sentinels(nodes, service, &at_sentinel).await?;
                let connection = is_primary(self.redis(&server).await?).await?;
                Ok(One { left: self.is_now(server), ..connection })
            }
            Servers::One(server) => self.redis(server).await,
            Servers::Cluster(_) => {
                Err(SharedError::new(SharedErrorKind::Refused, "a Cluster has no one primary"))
            }
        }
    }

    /// The primary is this server now: connections to another one are over, so that none of them reads or writes there in the
    /// moments before it knows itself that it is no primary any more.
    fn is_now(&self, server: RedisServer) -> Arc<AtomicBool> {
        let mut primary = self.primary.lock().unwrap_or_else(PoisonError::into_inner);
        if primary.server.as_ref() != Some(&server) {
            primary.left.store(true, Ordering::Release);
            *primary = Primary { server: Some(server), left: Arc::default() };
        }
        Arc::clone(&primary.left)
    }

    /// The primary by the first Sentinel that knows it.
    async fn ask_sentinels(
        &self,
        nodes: &[RedisServer],
        service: &str,
        login: &RedisConnectionInfo,
    ) -> Result<RedisServer, SharedError> {
        let mut last = SharedError::new(SharedErrorKind::Io, "no Sentinel");
        // One that hangs must not take the time of all.
        let share = CONNECT / 2 / u32::try_from(nodes.len().max(1)).unwrap_or(1);
        for node in nodes {
            let asking = async {
                let mut sentinel = Connection::One(self.server(node, login).await?);
                let mut question = cmd("SENTINEL");
                question.arg("GET-MASTER-ADDR-BY-NAME").arg(service);
                address(&sentinel.send(&question, None).await?, service)
            };
            match tokio::time::timeout(share, asking).await.unwrap_or_else(|_| Err(too_late())) {
                Ok(server) => return Ok(server),
                Err(error) => last = SharedError { text: format!("Sentinel {node}: {error}"), ..error },
            }
        }
        Err(last)
    }

    /// The node of a Cluster that serves the slot of `key`.
    async fn owner(&self, nodes: &[RedisServer], key: &str) -> Result<One, SharedError> {
        let mut last = SharedError::new(SharedErrorKind::ClusterDown, "no node serves the slot");
        for node in nodes {
            match self.owner_by(node, key).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn owner_by(&self, node: &RedisServer, key: &str) -> Result<One, SharedError> {
        let connection = self.redis(node).await?;
        let mut asked = Connection::One(connection.clone());
        let slot = asked.send(cmd("CLUSTER").arg("KEYSLOT").arg(key), None).await?.int()?;
        let slots = asked.send(cmd("CLUSTER").arg("SLOTS"), None).await?;
        for range in slots.list()? {
            if (range.at(0)?.int()?..=range.at(1)?.int()?).contains(&slot) {
                let host = range.at(2)?.at(0)?.text().unwrap_or_default();
                // A node that does not know its own address says an empty one: it is where we asked.
                let host = if host.is_empty() { node.host.clone() } else { host.to_owned() };
                let port = u16::try_from(range.at(2)?.at(1)?.int()?).map_err(|_| unexpected("a port"))?;
                return self.redis(&RedisServer { host, port }).await;
            }
        }
        Err(SharedError::new(SharedErrorKind::ClusterDown, format!("no node serves the slot {slot}")))
    }

    fn login(&self) -> RedisConnectionInfo {
        login(self.config.username.as_deref(), self.config.password.as_ref(), self.config.database)
    }

    async fn redis(&self, server: &RedisServer) -> Result<One, SharedError> {
        self.server(server, &self.login()).await
    }

    async fn server(&self, server: &RedisServer, login: &RedisConnectionInfo) -> Result<One, SharedError> {
        let stream = TcpStream::connect((server.host.as_str(), server.port)).await;
        let io = |error: std::io::Error| SharedError::new(SharedErrorKind::Io, format!("{server}: {error}"));
        let stream = stream.map_err(io)?;
        stream.set_nodelay(true).map_err(io)?;
        let connection = match &self.tls {
            None => speak(login, stream).await,
            Some(tls) => speak(login, tls.connect(&server.host, stream).await.map_err(io)?).await,
        };
        connection.map_err(|error| SharedError { text: format!("{server}: {error}"), ..error })
    }

    async fn cluster(&self, nodes: &[RedisServer]) -> Result<ClusterConnection, SharedError> {
        let address = |node: &RedisServer| match &self.tls {
            None => ConnectionAddr::Tcp(node.host.clone(), node.port),
            Some(_) => ConnectionAddr::TcpTls {
                host: node.host.clone(),
                port: node.port,
                insecure: false,
                tls_params: None,
            },
        };
        // An operation ends by its own deadline; the client's is for a node that hangs.
        let mut builder = ClusterClientBuilder::new(nodes.iter().map(address))
            .use_protocol(ProtocolVersion::RESP2)
            .retries(3)
            .min_retry_wait(2)
            .max_retry_wait(20)
            .connection_timeout(CONNECT / 2)
            .response_timeout(self.config.timeout.max(CONNECT / 4));
        if let Some(name) = &self.config.username {
            builder = builder.username(name);
        }
        if let Some(password) = &self.config.password {
            builder = builder.password(password.expose());
        }
        if let Some(tls) = &self.config.tls {
            builder = builder.tls(TlsMode::Secure).certs(tls::certificates(tls));
        }
        let client = builder.build().map_err(|error| failed(&error))?;
        client.get_async_connection().await.map_err(|error| failed(&error))
    }
}

fn login(username: Option<&str>, password: Option<&Password>, database: u8) -> RedisConnectionInfo {
    let mut info = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP2)
        .set_skip_set_lib_name()
        .set_db(i64::from(database));
    if let Some(name) = username {
        info = info.set_username(name);
    }
    if let Some(password) = password {
        info = info.set_password(password.expose());
    }
    info
}

/// Logs in over a stream, names the connection, and drives it in a task of its own.
async fn speak<S>(login: &RedisConnectionInfo, stream: S) -> Result<One, SharedError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    // Deadlines are set for each operation.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let made = MultiplexedConnection::new_with_config(login, stream, config).await;
    let (connection, driver) = made.map_err(|error| failed(&error))?;
    let one = One { wire: connection, cut: Arc::default(), left: Arc::default() };
    let cut = Arc::clone(&one.cut);
    tokio::spawn(async move {
        driver.await;
        cut.store(true, Ordering::Release);
    });
    let mut named = Connection::One(one.clone());
    named.send(cmd("CLIENT").arg("SETNAME").arg("larder"), None).await?;
    Ok(one)
}

/// Host and port that a Sentinel gave.
fn address(reply: &Value, service: &str) -> Result<RedisServer, SharedError> {
    if *reply == Value::Nil {
        let text = format!("nothing is known of the service `{service}`");
        return Err(SharedError::new(SharedErrorKind::Refused, text));
    }
    let port = u16::try_from(reply.at(1)?.int()?).map_err(|_| unexpected("a port"))?;
    Ok(RedisServer { host: reply.at(0)?.text()?.to_owned(), port })
}

async fn is_primary(connection: One) -> Result<One, SharedError> {
    let role = Connection::One(connection.clone()).send(&cmd("ROLE"), None).await?;
    match role.at(0)?.text()? {
        "master" => Ok(connection),
        other => {
            let text = format!("the Sentinel's primary says that it is a {other}");
            Err(SharedError::new(SharedErrorKind::ReadOnly, text))
        }
    }
}

/// A target that tasks share.
pub(super) type SharedTarget = Arc<Target>;
