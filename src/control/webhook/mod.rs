//! Webhooks: `POST /.larder/webhooks/NAME` on the clients' listeners, signed as in Standard Webhooks.
//!
//! One list, read top to bottom: who is it (name, signed head, window), what is it (body, signature, JSON), did it take
//! effect before, and if not, its purge. Every refusal has its own status and a line in the audit log. Where several nodes
//! share the log of purges it remembers the events of all of them; else this process does.

mod event;
mod journal;
mod memory;
mod sequence;
mod signature;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::Key;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;

use crate::config::Webhook;
use crate::error::{Error, ErrorKind};
use crate::http::Body;
use crate::proxy::audit::whose_text;
use crate::proxy::selection::{Planned, Terms, Wanted};
use crate::proxy::{Shared, rescue};
use crate::purge::{Compared, Mode, Once, Receipt, Recorded, Where, random_id};
use event::Event;
use memory::{EventId, Memory, Outcome};
use sequence::{Counter, Step};
use signature::{REMEMBERED, Signed, keys};

/// What the paths of webhooks begin with.
pub(super) const PREFIX: &str = "/.larder/webhooks/";

/// How often an event is judged anew because its counter moved meanwhile.
const MOST_STEPS: usize = 100;

/// All webhooks of a configuration.
pub(super) struct Webhooks {
    shared: Arc<Shared>,
    hooks: Vec<(Webhook, Vec<Key>)>,
    memory: Memory,
}

impl Webhooks {
    /// Those of the configuration. What took effect before a restart is known where several nodes share the log, or where
    /// `data_dir` is configured.
    ///
    /// # Errors
    /// Where the data directory cannot be used.
    pub(super) fn open(shared: Arc<Shared>) -> std::io::Result<Self> {
        let config = shared.config();
        let hooks: Vec<_> = config.webhooks.iter().map(|hook| (hook.clone(), keys(&hook.secrets))).collect();
        let memory = match &config.data_dir {
            Some(folder) if !hooks.is_empty() && !shared.cache().fence().is_shared() => {
                open_memory(folder, &shared)?
            }
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
        // A sender that leaves must not undo half of it.
        let this = self.clone();
        let run = if self.shared.cache().fence().is_shared() {
            tokio::spawn(async move { this.in_the_log(place, &signed, &body).await })
        } else {
            // Files may be slow.
            tokio::task::spawn_blocking(move || this.here(place, &signed, &body, now))
        };
        run.await.map_err(|_| Error::new(ErrorKind::Internal, "the event was given up"))?
    }

    /// What an event says, and a digest of it.
    fn read(&self, place: usize, body: &[u8]) -> Result<(&Webhook, Event, String), Error> {
        let gone = || Error::new(ErrorKind::Internal, "there is no webhook of this number");
        let (hook, _) = self.hooks.get(place).ok_or_else(gone)?;
        Ok((hook, Event::read(&self.shared, hook, body)?, hex(digest(&SHA256, body).as_ref())))
    }

    /// The purge of a verified event, once, where this process has a log of its own. On a thread that may wait.
    fn here(&self, place: usize, signed: &Signed, body: &[u8], now: u64) -> Result<String, Error> {
        let (hook, event, body) = self.read(place, body)?;
        let known = EventId {
            hook: &hook.name,
            id: &signed.id,
            body,
            number: event.number.map(|number| (event.tenant.as_str(), number)),
        };
        let record = |step| {
            let effect = self.effect(signed, &event, step)?;
            let done = Handle::current().block_on(self.shared.carry_out(&effect.planned, &random_id()))?;
            Ok(self.done(hook, signed, &event, &effect, done.last()))
        };
        match self.memory.once(&known, now, record)? {
            Outcome::Done(receipt) => Ok(receipt),
            Outcome::Before(receipt) => {
                before(hook, signed);
                Ok(receipt)
            }
            Outcome::OtherBody => Err(other_body()),
        }
    }

    /// The same where several nodes share the log, which remembers events and counters for all of them.
    async fn in_the_log(&self, place: usize, signed: &Signed, body: &[u8]) -> Result<String, Error> {
        let (hook, event, body) = self.read(place, body)?;
        let (mut counter, mut was) = (Counter::default(), String::new());
        for _ in 0..MOST_STEPS {
            let (step, next) =
                event.number.map_or((Step::Fits, counter.clone()), |number| counter.step(number));
            let effect = self.effect(signed, &event, step)?;
            let once = Once {
                name: format!("{} {}", hook.name, signed.id),
                body: body.clone(),
                said: Value::Object(effect.told.clone()).to_string(),
                remembered: Duration::from_secs(REMEMBERED),
                counter: event.number.map(|_| Compared {
                    name: format!("{}:{}", hook.name, event.tenant),
                    // As the log has it, whatever it is: else one that is no counter would refuse all events for ever.
                    was: was.clone(),
                    becomes: next.written(),
                }),
            };
            match self.recorded(&effect.planned, once).await? {
                Recorded::Now(receipt) => {
                    return Ok(self.done(hook, signed, &event, &effect, receipt.as_ref()));
                }
                Recorded::Before { body: known, .. } if known != body => return Err(other_body()),
                Recorded::Before { receipt, said, .. } => {
                    before(hook, signed);
                    return Ok(text(serde_json::from_str(&said).unwrap_or_default(), receipt.as_ref()));
                }
                Recorded::Counted(count) => (counter, was) = (Counter::read(&count), count),
            }
        }
        Err(unlogged("other events of the tenant come too fast"))
    }

    async fn recorded(&self, planned: &Planned, once: Once) -> Result<Recorded, Error> {
        let id = random_id();
        let purges = planned.named(&id).map(|(id, purge)| (id, purge.clone())).collect();
        let own = || Error::new(ErrorKind::Internal, "the log is this process's own");
        let recording = self.shared.cache().purge_once(purges, once).ok_or_else(own)?;
        let stopping = |_| unlogged("this node is stopping");
        recording.await.map_err(stopping)?.map_err(|error| unlogged(&error.why))
    }

    /// What an event does: its purge, and where events are missing, everything of its tenant.
    fn effect(&self, signed: &Signed, event: &Event, step: Step) -> Result<Effect, Error> {
        let missed = missed(event, step);
        let mut planned = event.planned.clone();
        if missed.is_some() {
            // The event's own stays: it may concern public responses, which "everything of a tenant" leaves alone. What was
            // missed may have concerned them as well.
            for whose in [Where::Public, event.whose.clone()] {
                let everything = self.shared.plan_purge(&[Wanted::Everything], &Terms::hard(whose))?;
                planned.purges.extend(everything.purges);
            }
        }
        let told = told(signed, event, &planned, missed.as_ref());
        Ok(Effect { planned, missed, told })
    }

    /// Tells the logs, and gives the receipt.
    fn done(
        &self,
        hook: &Webhook,
        signed: &Signed,
        event: &Event,
        effect: &Effect,
        done: Option<&Receipt>,
    ) -> String {
        let (webhook, id) = (&hook.name, &signed.id);
        if let Some(missed) = &effect.missed {
            tracing::warn!(webhook, id, tenant = event.tenant, %missed, "events are missing: everything of the tenant is purged");
        }
        let nothing = done.is_none();
        if nothing {
            tracing::warn!(webhook, id, said = %event.said, "the event matched nothing that could be cached");
        }
        let receipt = text(effect.told.clone(), done);
        tracing::info!(target: "larder::audit", webhook, id, tenant = event.tenant, nothing, receipt = receipt.trim_end(), "webhook purged");
        receipt
    }
}

/// What an event does.
struct Effect {
    planned: Planned,
    /// What its running number says that does not fit.
    missed: Option<Value>,
    /// What its sender is told, but for the receipt of the purge.
    told: Map<String, Value>,
}

fn before(hook: &Webhook, signed: &Signed) {
    let (webhook, id) = (&hook.name, &signed.id);
    tracing::info!(target: "larder::audit", webhook, id, "webhook was sent before: nothing is done");
}

fn other_body() -> Error {
    let why = "an event with this id and another body took effect before: every event has an id of its own";
    Error::new(ErrorKind::Conflict, why)
}

fn unlogged(why: &str) -> Error {
    let what = format!("{why}; it may be in force already: send the event again, with its id");
    Error::new(ErrorKind::PurgeNotLogged, what)
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

fn told(signed: &Signed, event: &Event, planned: &Planned, missed: Option<&Value>) -> Map<String, Value> {
    let nothing = planned.purges.is_empty();
    let mut told = Map::new();
    let mut tell = |name: &str, value| drop(told.insert(name.to_owned(), value));
    tell("webhook_id", json!(signed.id));
    tell("scope", json!(whose_text(&event.whose)));
    tell("mode", json!(if event.mode == Mode::Soft { "soft" } else { "hard" }));
    tell("purged", event.said.clone());
    tell("selectors", json!(event.planned.purges.iter().map(|purge| purge.selectors.len()).sum::<usize>()));
    tell("covered", if nothing { json!(0) } else { json!("not counted") });
    if nothing {
        tell("note", json!("the event matched nothing that could be cached"));
    }
    if let Some(missed) = missed {
        tell("sequence", missed.clone());
        tell("note", json!("events are missing: everything of the tenant was purged"));
    }
    told
}

/// The answer to an event: what its sender is told, and the receipt of its purge.
fn text(mut told: Map<String, Value>, done: Option<&Receipt>) -> String {
    told.insert("id".to_owned(), json!(done.map(|done| &done.id)));
    told.insert("seq".to_owned(), json!(done.map(|done| done.seq)));
    told.insert("time".to_owned(), json!(done.map(|done| done.time.as_secs_f64())));
    let mut told = Value::Object(told);
    super::receipts::add_nodes(&mut told, done.map(std::slice::from_ref).unwrap_or_default());
    format!("{told}\n")
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
