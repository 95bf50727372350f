//! One line per request, written by a thread of its own: the request path hands a record over and goes on.
//! When the writer cannot keep up, lines are dropped and counted, requests are not held up.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use http::{Method, StatusCode};

use super::verdict::Verdict;
use crate::config::Log;

/// What is told of one request.
#[derive(Debug, Clone)]
pub struct Record {
    /// Wall time of its arrival since the Unix epoch.
    pub at: Duration,
    /// The method.
    pub method: Method,
    /// The authority.
    pub host: String,
    /// The path. What of the query selects is in the key.
    pub path: String,
    /// The route's name.
    pub route: Option<String>,
    /// The tenant's name.
    pub tenant: Option<Arc<str>>,
    /// The status.
    pub status: StatusCode,
    /// How it was answered.
    pub verdict: Verdict,
    /// How long the head of the answer took.
    pub took: Duration,
}

/// Where records go.
pub struct AccessLog {
    sender: Option<SyncSender<Record>>,
    every: u64,
    seen: AtomicU64,
    dropped: Arc<AtomicU64>,
}

/// How many records may wait for the writer.
const WAITING: usize = 8_192;

impl AccessLog {
    /// A log as configured, on `output`.
    pub fn new(config: Log, output: impl Write + Send + 'static) -> Self {
        let dropped = Arc::new(AtomicU64::new(0));
        let sender = config.requests.then(|| {
            let (sender, receiver) = sync_channel(WAITING);
            let counter = dropped.clone();
            // Without the thread nothing is logged: the receiver is gone, and sending fails quietly.
            let _ = std::thread::Builder::new()
                .name("larder-log".into())
                .spawn(move || write_all(&receiver, output, config.json, &counter));
            sender
        });
        // A share of 0.25 is every fourth request.
        let every = if config.sample > 0.0 { (1.0 / config.sample).round() as u64 } else { 0 };
        Self { sender, every, seen: AtomicU64::new(0), dropped }
    }

    /// No log.
    pub fn off() -> Self {
        Self { sender: None, every: 0, seen: AtomicU64::new(0), dropped: Arc::default() }
    }

    /// Whether there is one.
    pub fn is_on(&self) -> bool {
        self.sender.is_some()
    }

    /// Whether a request with this status is told of. Errors always are.
    pub fn wants(&self, status: StatusCode) -> bool {
        if self.sender.is_none() {
            return false;
        }
        let nth = self.seen.fetch_add(1, Ordering::Relaxed);
        status.is_server_error() || (self.every > 0 && nth.is_multiple_of(self.every))
    }

    /// Hands a record over.
    pub fn tell(&self, record: Record) {
        if let Some(sender) = &self.sender
            && sender.try_send(record).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_all(records: &Receiver<Record>, output: impl Write, json: bool, dropped: &AtomicU64) {
    let mut output = std::io::BufWriter::new(output);
    let mut told = 0;
    while let Ok(record) = records.recv() {
        // A full disk or a closed pipe costs lines, nothing else.
        let _ = writeln!(output, "{}", line(&record, json));
        records.try_iter().take(WAITING).for_each(|record| drop(writeln!(output, "{}", line(&record, json))));
        let lost = dropped.load(Ordering::Relaxed);
        if lost > told {
            tracing::warn!(lines = lost - told, "the log of requests cannot keep up: lines were dropped");
            told = lost;
        }
        let _ = output.flush();
    }
}

fn line(record: &Record, json: bool) -> String {
    let verdict = &record.verdict;
    let key = verdict.key.as_ref().map(crate::key::CacheKey::describe);
    let millis = i64::try_from(record.at.as_millis()).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(millis).map(|t| t.to_string()).unwrap_or_default();
    let took = record.took.as_micros() as f64 / 1_000.0;
    if json {
        return serde_json::json!({
            "time": time, "method": record.method.as_str(), "host": record.host, "path": record.path,
            "status": record.status.as_u16(), "cache": verdict.x_cache.name(), "reason": verdict.reason.name(),
            "denied": verdict.also.map(crate::policy::Reason::name), "source": verdict.source.name(),
            "route": record.route, "tenant": record.tenant.as_deref(), "key": key, "ms": took,
        })
        .to_string();
    }
    let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    format!(
        "{time} {} {} {}{} {} {} {} {took:.1}ms route={} tenant={} key=\"{}\"",
        record.status.as_u16(),
        record.method,
        record.host.escape_debug(),
        record.path.escape_debug(),
        verdict.x_cache.name(),
        verdict.reason.name(),
        verdict.source.name(),
        or_dash(record.route.as_deref()),
        or_dash(record.tenant.as_deref()).escape_debug(),
        or_dash(key.as_deref()).escape_debug(),
    )
}
