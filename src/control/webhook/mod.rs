//! Webhooks: `POST /.larder/webhooks/NAME` on the clients' listeners, signed as in Standard Webhooks.
//!
//! One list, read top to bottom: who is it (name, signed head, window), what is it (body, signature, JSON), did it take
//! effect before, and if not, its purge. Every refusal has its own status and a line in the audit log.

mod event;
mod journal;
mod memory;
mod sequence;
mod signature;

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::Key;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::config::Webhook;
use crate::error::{Error, ErrorKind};
use crate::http::Body;
use crate::proxy::audit::whose_text;
use crate::proxy::selection::{Planned, Terms, Wanted};
use crate::proxy::{Shared, rescue};
use crate::purge::{Mode, Receipt, Where, random_id};
use event::Event;
use memory::{EventId, Memory, Outcome};
use sequence::Step;
use signature::{Signed, keys};

/// What the paths of webhooks begin with.
pub(super) const PREFIX: &str = "/.larder/webhooks/";

/// All webhooks of a configuration.
pub(super) struct Webhooks {
    shared: Arc<Shared>,
    hooks: Vec<(Webhook, Vec<Key>)>,
    memory: Memory,
}

impl Webhooks {
    /// Those of the configuration. What took effect before a restart is known where `data_dir` is configured.
    ///
    /// # Errors
    /// Where the data directory cannot be used.
    pub(super) fn open(shared: Arc<Shared>) -> std::io::Result<Self> {
        let config = shared.config();
        let hooks: Vec<_> = config.webhooks.iter().map(|hook| (hook.clone(), keys(&hook.secrets))).collect();
        let memory = match &config.data_dir {
            Some(folder) if !hooks.is_empty() => open_memory(folder, &shared)?,
            _ => Memory::default(),
        };
        Ok(Self { hooks, memory, shared })
    }

    /// Answers a request whose path begins with [`PREFIX`].
    pub(super) async fn answer(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let name = request.uri().path().strip_prefix(PREFIX).unwrap_or_default().to_owned();
        let id = request.headers().get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or("").to_owned();
        match self.taken(&name, request).await {
            Ok(receipt) => answered(receipt),
            Err(error) => {
                let (status, reason) = (error.kind().status().as_u16(), error.kind().name());
                let detail = error.detail();
                tracing::warn!(target: "larder::audit", webhook = ?name, ?id, status, reason, detail, "webhook refused");
                refused(&error)
            }
        }
    }

    async fn taken(self: Arc<Self>, name: &str, request: Request<Body>) -> Result<String, Error> {
        let (mut parts, body) = request.into_parts();
        self.shared.sanitized(&mut parts, &body)?;
        let place = self.hooks.iter().position(|(hook, _)| hook.name == name);
        let unknown = || Error::new(ErrorKind::NoRoute, "there is no webhook of this name");
        let place = place.ok_or_else(unknown)?;
        let (hook, keys) = self.hooks.get(place).ok_or_else(unknown)?;
        if parts.method != Method::POST {
            return Err(Error::new(ErrorKind::MethodNotAllowed, "events are sent with POST"));
        }
        let now = || self.shared.cache().clock().now().unix_seconds();
        Signed::read(&parts.headers, now())?;
        let body = whole(&parts.headers, body, hook.body_limit).await?;
        // Once more: a body that comes slowly must not keep an old event fresh.
        let now = now();
        let signed = Signed::read(&parts.headers, now)?;
        signed.verify(keys, &body)?;
        // On a thread of its own: files may be slow, and a sender that leaves must not undo half of it.
        let this = self.clone();
        let run = tokio::task::spawn_blocking(move || this.run(place, &signed, &body, now));
        run.await.map_err(|_| Error::new(ErrorKind::Internal, "the event was given up"))?
    }

    /// The purge of a verified event, once.
    fn run(&self, place: usize, signed: &Signed, body: &[u8], now: u64) -> Result<String, Error> {
        let gone = || Error::new(ErrorKind::Internal, "there is no webhook of this number");
        let (hook, _) = self.hooks.get(place).ok_or_else(gone)?;
        let event = Event::read(&self.shared, hook, body)?;
        let known = EventId {
            hook: &hook.name,
            id: &signed.id,
            body: hex(digest(&SHA256, body).as_ref()),
            number: event.number.map(|number| (event.tenant.as_str(), number)),
        };
        let record = |step| self.purge(hook, signed, &event, step);
        match self.memory.once(&known, now, record)? {
            Outcome::Done(receipt) => Ok(receipt),
            Outcome::Before(receipt) => {
                let (webhook, id) = (&hook.name, &signed.id);
                tracing::info!(target: "larder::audit", webhook, id, "webhook was sent before: nothing is done");
                Ok(receipt)
            }
            Outcome::OtherBody => {
                let why = "an event with this id and another body took effect before: every event has an id of its own";
                Err(Error::new(ErrorKind::Conflict, why))
            }
        }
    }

    /// Purges, tells the logs, and gives the receipt.
    fn purge(&self, hook: &Webhook, signed: &Signed, event: &Event, step: Step) -> Result<String, Error> {
        let (webhook, id) = (&hook.name, &signed.id);
        let missed = missed(event, step);
        if let Some(missed) = &missed {
            tracing::warn!(webhook, id, tenant = event.tenant, %missed, "events are missing: everything of the tenant is purged");
        }
        let done = self.record(event, missed.is_some())?;
        let nothing = done.is_none();
        if nothing {
            tracing::warn!(webhook, id, said = %event.said, "the event matched nothing that could be cached");
        }
        let receipt = told(signed, event, done.as_ref(), missed.as_ref());
        tracing::info!(target: "larder::audit", webhook, id, tenant = event.tenant, nothing, %receipt, "webhook purged");
        Ok(format!("{receipt}\n"))
    }

    /// The purge of an event, and where events are missing, everything of its tenant. `None`: it matched nothing.
    fn record(&self, event: &Event, missed: bool) -> Result<Option<Receipt>, Error> {
        // The event's own also then: it may concern public responses, which "everything of a tenant" leaves alone.
        let own = self.carry_out(&event.planned)?;
        if !missed {
            return Ok(own);
        }
        // What was missed may have concerned public responses as well.
        let everything = |whose| {
            let planned = self.shared.plan_purge(&[Wanted::Everything], &Terms::hard(whose))?;
            self.carry_out(&planned)
        };
        everything(Where::Public)?;
        Ok(everything(event.whose.clone())?.or(own))
    }

    /// On a thread that may wait.
    fn carry_out(&self, planned: &Planned) -> Result<Option<Receipt>, Error> {
        let done = Handle::current().block_on(self.shared.carry_out(planned, &random_id()))?;
        Ok(done.into_iter().next_back())
    }
}

fn open_memory(folder: &Path, shared: &Shared) -> std::io::Result<Memory> {
    let now = shared.cache().clock().now().unix_seconds();
    Memory::open(folder, now)
        .map_err(|error| std::io::Error::new(error.kind(), format!("data_dir {}: {error}", folder.display())))
}

/// The whole body, if it is within the limit.
async fn whole(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Error> {
    let too_large =
        || Error::new(ErrorKind::ContentTooLarge, format!("the body is larger than {limit} bytes"));
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    match Limited::new(body, limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(Error::new(ErrorKind::BadRequest, "the body broke off")),
    }
}

/// What a running number says that does not fit.
fn missed(event: &Event, step: Step) -> Option<Value> {
    let (expected, what) = match step {
        Step::Fits => return None,
        Step::Gap { expected } => (expected, "gap"),
        Step::Back { expected } => (expected, "counts anew"),
    };
    Some(json!({ "found": what, "expected": expected, "number": event.number }))
}

fn told(signed: &Signed, event: &Event, done: Option<&Receipt>, missed: Option<&Value>) -> Value {
    let mut told = json!({
        "webhook_id": signed.id,
        "id": done.map(|done| &done.id),
        "seq": done.map(|done| done.seq),
        "scope": whose_text(&event.whose),
        "mode": if event.mode == Mode::Soft { "soft" } else { "hard" },
        "purged": event.said,
        "selectors": event.planned.purges.iter().map(|purge| purge.selectors.len()).sum::<usize>(),
        "time": done.map(|done| done.time.as_secs_f64()),
        "covered": if done.is_some() { json!("not counted") } else { json!(0) },
    });
    super::receipts::add_nodes(&mut told, done.map(std::slice::from_ref).unwrap_or_default());
    if done.is_none() {
        told["note"] = json!("the event matched nothing that could be cached");
    }
    if let Some(missed) = missed {
        told["sequence"] = missed.clone();
        told["note"] = json!("events are missing: everything of the tenant was purged");
    }
    told
}

fn answered(receipt: String) -> Response<Body> {
    super::receipts::json_text(StatusCode::OK, receipt)
}

fn refused(error: &Error) -> Response<Body> {
    let mut response = rescue(error).0;
    if error.kind() == ErrorKind::MethodNotAllowed {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
