//! What a purge answers with.

use std::collections::BTreeSet;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json as value};

use crate::http::Body;
use crate::proxy::audit::whose_text;
use crate::proxy::selection::{Planned, Terms, Wanted};
use crate::purge::{Mode, Nodes, Receipt};

/// What was asked for: `everything`, or lists under the words of `POST /purge`.
pub(super) fn what(wanted: &[Wanted]) -> Value {
    if *wanted == [Wanted::Everything] {
        return value!("everything");
    }
    let mut lists = Map::new();
    for one in wanted {
        let (kind, name) = one.told();
        match one {
            Wanted::Everything => drop(lists.insert(kind.to_owned(), value!(true))),
            _ => {
                if let Value::Array(list) = lists.entry(kind).or_insert_with(|| value!([])) {
                    list.push(value!(name));
                }
            }
        }
    }
    Value::Object(lists)
}

/// A receipt in JSON: the purge's id, its place in the log, its time, whose entries and which it covered.
pub(super) fn receipt(done: &[Receipt], planned: &Planned, terms: &Terms, what: Value) -> Response<Body> {
    // Of several records the last: once it is in force, all are.
    let last = done.last();
    let scopes: Vec<String> = planned.purges.iter().map(|purge| whose_text(&purge.whose)).collect();
    let mut answer = value!({
        "id": last.map(|receipt| &receipt.id),
        "seq": last.map(|receipt| receipt.seq),
        "time": last.map(|receipt| receipt.time.as_secs_f64()),
        "scope": if scopes.is_empty() { whose_text(&terms.whose) } else { scopes.join("; ") },
        "mode": if terms.mode == Mode::Soft { "soft" } else { "hard" },
        "purged": what,
        // Counting would take as long as the stores are large; without a row there is nothing to count.
        "covered": if done.is_empty() { value!(0) } else { value!("not counted") },
    });
    add_nodes(&mut answer, done);
    add_nothing(&mut answer, planned);
    json(StatusCode::OK, &answer)
}

/// Says which nodes obey the purge, where several share the log and it waited for them. Of several records all count: a
/// node that was gone for one of them is not among those that have applied it.
pub(super) fn add_nodes(answer: &mut Value, done: &[Receipt]) {
    let found: Vec<&Nodes> = done.iter().filter_map(|receipt| receipt.nodes.as_ref()).collect();
    let sorted = |names: &mut dyn Iterator<Item = &String>| names.cloned().collect::<BTreeSet<_>>();
    let gone = sorted(&mut found.iter().flat_map(|nodes| &nodes.gone));
    let applied =
        sorted(&mut found.iter().flat_map(|nodes| &nodes.applied).filter(|name| !gone.contains(*name)));
    if !found.is_empty()
        && let Value::Object(map) = answer
    {
        map.insert("nodes".to_owned(), value!({ "applied": applied, "gone": gone }));
    }
}

/// Says what of the purge names nothing that is kept.
pub(super) fn add_nothing(answer: &mut Value, planned: &Planned) {
    for (key, list) in [("not_cached_by_any_route", &planned.uncached), ("not_stored", &planned.unknown)] {
        if !list.is_empty()
            && let Value::Object(map) = answer
        {
            map.insert(key.to_owned(), value!(list));
        }
    }
}

/// A JSON answer that nobody keeps.
pub(super) fn json(status: StatusCode, value: &Value) -> Response<Body> {
    json_text(status, format!("{value}\n"))
}

/// The same of a text that is JSON already.
pub(super) fn json_text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
