//! Listeners, the admin side door, origins, limits and the log.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderName, header};

use super::super::tree::Pos;
use super::super::{Admin, Listener, Origin, Tls, Token};
use super::section::{At, Slot};
use super::short_words::ScalarOr;
use super::words::{HostMode, LogFormat, RawConfig, RawListener, RawOrigin, RawToken};
use super::{Cx, Limits, Log, files, section_or_default};
use crate::http::fields::is_of_the_way;
use crate::policy::surrogate::FOR_SURROGATES;

/// The clients' listeners, at least one.
pub(super) fn listeners(raw: &RawConfig, cx: &mut Cx<'_>) -> Option<Vec<Listener>> {
    let items = &raw.listen.get()?.0;
    let mut seen = HashMap::new();
    if let Some(admin) = raw.admin.get().and_then(|admin| admin.listen.given()) {
        seen.insert(admin.0, admin.pos);
    }
    let mut listeners = Vec::new();
    for item in items {
        let listener = match &item.value {
            ScalarOr::Short(address) => Some(Listener { addr: address.0, tls: None }),
            ScalarOr::Long(long) => tls_listener(long, cx),
        };
        if let Some(listener) = listener {
            unique_address(listener.addr, item.pos, &mut seen, cx);
            listeners.push(listener);
        }
    }
    Some(listeners)
}

/// Port 0 means any free port, so it is never taken.
fn unique_address(addr: SocketAddr, pos: Pos, seen: &mut HashMap<SocketAddr, Pos>, cx: &mut Cx<'_>) {
    if addr.port() != 0
        && let Some(first) = seen.insert(addr, pos)
    {
        let help = format!("line {} has it too: choose another port", first.line);
        cx.error(pos, format!("two listeners have the address `{addr}`"), help);
    }
}

fn tls_listener(raw: &RawListener, cx: &mut Cx<'_>) -> Option<Listener> {
    let tls = match &raw.tls {
        Slot::Absent => None,
        Slot::Bad => return None,
        Slot::Given(tls) => {
            let (cert, key) = (tls.cert.given()?, tls.key.given()?);
            files::check_certificate(cert, key, cx);
            Some(Tls { cert: files::resolve(cert, cx), key: files::resolve(key, cx) })
        }
    };
    Some(Listener { addr: raw.address.get()?.0, tls })
}

/// The admin listener; `Some(None)`: there is none.
pub(super) fn admin(raw: &RawConfig, cx: &mut Cx<'_>) -> Option<Option<Admin>> {
    let raw = match &raw.admin {
        Slot::Absent => return Some(None),
        Slot::Bad => return None,
        Slot::Given(admin) => admin,
    };
    let mut tokens: Vec<Token> = Vec::new();
    for item in raw.tokens.get().map(|list| list.0.as_slice()).unwrap_or_default() {
        let Some(token) = token(item, cx) else { continue };
        if tokens.iter().any(|other| other.name == token.name) {
            cx.error(
                item.pos,
                format!("two tokens have the name `{}`", token.name),
                "give each a name of its own",
            );
        }
        if let Some(other) = tokens.iter().find(|other| other.secret == token.secret) {
            let message = format!("the tokens `{}` and `{}` have the same secret", other.name, token.name);
            cx.error(item.pos, message, "give each a secret of its own: nobody could tell them apart");
        }
        tokens.push(token);
    }
    Some(Some(Admin { listen: raw.listen.get()?.0, tokens }))
}

fn token(raw: &At<RawToken>, cx: &mut Cx<'_>) -> Option<Token> {
    let secret = files::secret(raw.secret.get()?, cx);
    let tenant = raw.tenant.given().map(|tenant| tenant.0.as_str().into());
    Some(Token { name: raw.name.get()?.0.clone(), role: *raw.role.get()?, tenant, secret: secret? })
}

/// The origins, in the order of the file; at least one.
pub(super) fn origins(raw: &RawConfig, cx: &mut Cx<'_>) -> Option<Vec<Arc<Origin>>> {
    let named = raw.origins.given()?;
    if named.0.is_empty() {
        let help = "name at least one application: `shop: { url: \"http://127.0.0.1:8000\" }`";
        cx.error(named.pos, "there are no origins", help);
    }
    let read = |cx: &mut Cx<'_>, name: &str, raw: &RawOrigin| {
        let ca = match raw.ca.given() {
            Some(ca) => files::certificates(ca, cx).map(|_| files::resolve(ca, cx)),
            None => None,
        };
        let url = raw.url.get()?;
        if let Some(file) = raw.ca.given().filter(|_| !url.0.https) {
            cx.error(
                file.pos,
                "`ca` is for origins that speak TLS",
                "write `https://` in `url`, or remove `ca`",
            );
        }
        Some(Arc::new(Origin {
            name: name.to_owned(),
            https: url.0.https,
            authority: url.0.authority.clone(),
            timeout: raw.timeout.get()?.0,
            body_idle: raw.body_idle.get()?.0,
            keep_alive: raw.keep_alive.get()?.0,
            connections: usize::try_from(raw.connections.get()?.0).ok()?,
            http2: *raw.http2.get()?,
            preserve_host: *raw.host.get()? == HostMode::Preserve,
            ca,
            unsafe_read_to_close: *raw.unsafe_read_to_close.get()?,
        }))
    };
    let entry = |entry: &super::collections::Entry<RawOrigin>| read(cx, &entry.name, entry.value.as_ref()?);
    Some(named.0.iter().filter_map(entry).collect())
}

/// The targeted fields, in their order.
pub(super) fn target_fields(raw: &RawConfig, cx: &mut Cx<'_>) -> Option<Vec<HeaderName>> {
    const MOST: usize = 8;
    let list = &raw.target_fields.get()?.0;
    let mut names: Vec<HeaderName> = Vec::new();
    for item in list {
        let name = &item.value.0;
        let wrong = if names.contains(name) {
            Some(format!("`{name}` is there twice"))
        } else if [header::CACHE_CONTROL, header::EXPIRES].contains(name) || FOR_SURROGATES.contains(name) {
            Some(format!("`{name}` has a meaning of its own: it is looked at after the targeted fields"))
        } else {
            is_of_the_way(name).then(|| format!("`{name}` speaks of one connection, not of a response"))
        };
        match wrong {
            Some(message) => cx.error(item.pos, message, "name fields like `CDN-Cache-Control`, each once"),
            None => names.push(name.clone()),
        }
    }
    if let Some(beyond) = list.get(MOST) {
        cx.error(beyond.pos, format!("there are more than {MOST} targeted fields"), "name fewer");
    }
    Some(names)
}

/// The limits.
pub(super) fn limits(raw: &RawConfig, cx: &mut Cx<'_>) -> Option<Limits> {
    let raw = section_or_default(&raw.limits, cx)?;
    let size = |bytes: u64| usize::try_from(bytes).ok();
    let bounded = |slot: &Slot<super::units::Size>, name: &str, cx: &mut Cx<'_>| {
        let at = slot.given()?;
        if !(1 << 8..=1 << 20).contains(&at.0) {
            cx.error(at.pos, format!("`{name}` is out of range"), "write a size from 256B to 1MiB");
        }
        size(at.0)
    };
    let (uri, header_bytes) = (bounded(&raw.uri, "uri", cx), bounded(&raw.header_bytes, "header_bytes", cx));
    Some(Limits {
        uri: uri?,
        header_bytes: header_bytes?,
        header_count: size(raw.header_count.get()?.0)?,
        header_timeout: raw.header_timeout.get()?.0,
        body_timeout: raw.body_timeout.get()?.0,
        connections: size(raw.connections.get()?.0)?,
        drain: raw.drain.get()?.0,
    })
}

/// The log.
pub(super) fn log(raw: &RawConfig, cx: &mut Cx<'_>) -> Option<Log> {
    let raw = section_or_default(&raw.log, cx)?;
    Some(Log {
        requests: *raw.requests.get()?,
        json: *raw.format.get()? == LogFormat::Json,
        sample: raw.sample.get()?.0,
    })
}
