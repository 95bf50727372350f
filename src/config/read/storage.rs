//! Stores and tiers.

use std::sync::Arc;
use std::time::Duration;

use super::super::tree::Pos;
use super::super::{Capacity, Records, SharedLevel, Store, Tier, Ttl, When, WhenThen};
use super::collections::Entry;
use super::names::Names;
use super::redis_words::OffOr;
use super::route_words::{RawRecords, RawStore, RawTier, RawWhen};
use super::section::{At, Slot};
use super::short_words::ScalarOr;
use super::units::{Lifetime, Size};
use super::words::RawConfig;
use super::{Cx, declared, redis, section_or_default};

/// The longest lifetime of an error.
const MAX_ERROR_TTL: Duration = Duration::from_secs(300);
const MIB: u64 = 1 << 20;

/// The stores, and the names that tiers call them by.
pub(super) struct Stores<'a> {
    pub(super) stores: Vec<Arc<Store>>,
    names: Names<'a>,
}

/// The stores; `default` is the first of them, written or not.
pub(super) fn stores<'a>(raw: &'a RawConfig, cx: &mut Cx<'_>) -> Stores<'a> {
    let entries: &[Entry<RawStore>] = raw.stores.get().map(|named| named.0.as_slice()).unwrap_or_default();
    let is_default = |entry: &&Entry<RawStore>| entry.name.value == "default";
    let default = entries.iter().find(is_default).and_then(|entry| entry.value.clone());
    let default = match default {
        Some(written) => Some(written),
        None => section_or_default(&Slot::Absent, cx),
    };
    let others = entries.iter().filter(|entry| !is_default(entry));
    let mut stores: Vec<_> = default.and_then(|raw| store("default", &raw, cx)).into_iter().collect();
    for entry in others {
        stores.extend(entry.value.as_ref().and_then(|raw| store(&entry.name, raw, cx)));
    }
    places_are_different(&stores, entries, cx);
    let others = declared(raw.stores.get()).filter(|name| *name != "default");
    Stores { stores, names: Names::of("store", std::iter::once("default").chain(others).collect()) }
}

fn store(name: &str, raw: &RawStore, cx: &mut Cx<'_>) -> Option<Arc<Store>> {
    let level = match &raw.redis {
        Slot::Absent => Some(None),
        Slot::Bad => None,
        Slot::Given(at) => redis::level(at, at.pos, cx).map(Some),
    };
    let memory = raw.memory.given()?;
    let capacity = match &memory.value {
        ScalarOr::Short(OffOr::Off) => return in_redis_only(name, raw, memory.pos, level?, cx).map(Arc::new),
        ScalarOr::Short(OffOr::On(size)) => Capacity::Bytes(size.0),
        ScalarOr::Long(entries) => Capacity::Entries(entries.entries.get()?.0),
    };
    let max_object = match (raw.max_object.given(), capacity) {
        (Some(given), Capacity::Bytes(bytes)) if given.0 > bytes => {
            let help = "make `max_object` smaller, or `memory` larger";
            cx.error(given.pos, "`max_object` is larger than the store's `memory`", help);
            return None;
        }
        (Some(given), _) => given.0,
        (None, Capacity::Bytes(bytes)) => (bytes / 8).clamp(1, 64 * MIB),
        (None, Capacity::Entries(_)) => 8 * MIB,
    };
    let memory_ttl = raw.memory_ttl.get().map(|ttl| ttl.0);
    let (eviction, redis) = (*raw.eviction.get()?, level?.map(Arc::new));
    Some(Arc::new(Store { name: name.to_owned(), capacity, max_object, eviction, memory_ttl, redis }))
}

/// A store with `memory: off`.
fn in_redis_only(
    name: &str,
    raw: &RawStore,
    off: Pos,
    level: Option<SharedLevel>,
    cx: &mut Cx<'_>,
) -> Option<Store> {
    let Some(level) = level else {
        cx.error(off, "`memory: off` without `redis` keeps nothing", "add `redis`, or give `memory` a size");
        return None;
    };
    let words = [
        raw.max_object.given().map(|at| ("max_object", at.pos)),
        raw.memory_ttl.given().map(|at| ("memory_ttl", at.pos)),
    ];
    for (word, pos) in words.into_iter().flatten() {
        let help = "remove it; `redis` has words of its own: `ttl`, `max_object`";
        cx.error(pos, format!("`{word}` speaks of memory, and there is none"), help);
    }
    Some(Store {
        name: name.to_owned(),
        capacity: Capacity::Bytes(0),
        max_object: level.max_object,
        eviction: *raw.eviction.get()?,
        memory_ttl: None,
        redis: Some(Arc::new(level)),
    })
}

/// Two stores in one place of one Redis would take each other's entries for their own.
fn places_are_different(stores: &[Arc<Store>], entries: &[Entry<RawStore>], cx: &mut Cx<'_>) {
    for (index, store) in stores.iter().enumerate() {
        let Some(level) = &store.redis else { continue };
        let same = |other: &&Arc<Store>| {
            other.redis.as_ref().is_some_and(|other| other.redis.is_same_place(&level.redis))
        };
        let Some(other) = stores.iter().take(index).find(same) else { continue };
        let entry = entries.iter().find(|entry| entry.name.value == store.name);
        let pos = entry.and_then(|entry| entry.value.as_ref()?.redis.given()).map(|at| at.pos);
        let message =
            format!("the stores `{}` and `{}` have the same place in Redis", other.name, store.name);
        cx.error(pos.unwrap_or_default(), message, "give each a `prefix` or a `database` of its own");
    }
}

/// The tiers by their place in the file; a refused one is `None`.
pub(super) struct Tiers<'a> {
    pub(super) names: Names<'a>,
    pub(super) tiers: Vec<Option<Arc<Tier>>>,
}

/// The tiers.
pub(super) fn tiers<'a>(raw: &'a RawConfig, stores: &Stores<'_>, cx: &mut Cx<'_>) -> Tiers<'a> {
    let entries: &[Entry<RawTier>] = raw.tiers.get().map(|named| named.0.as_slice()).unwrap_or_default();
    let read = |entry: &Entry<RawTier>| tier(&entry.name, entry.value.as_ref()?, stores, cx).map(Arc::new);
    Tiers { tiers: entries.iter().map(read).collect(), names: Names::new("tier", raw.tiers.get()) }
}

fn tier(name: &str, raw: &RawTier, stores: &Stores<'_>, cx: &mut Cx<'_>) -> Option<Tier> {
    let rules = raw.when.get().map(|list| list.0.as_slice()).unwrap_or_default();
    let when: Vec<When> = rules.iter().filter_map(|rule| exception(rule, cx)).collect();
    let store = raw.store.given().and_then(|name| stores.names.find(name, cx));
    let ttl = match &raw.ttl {
        Slot::Absent => Ttl::Origin,
        Slot::Bad => return None,
        Slot::Given(given) => lifetime(given),
    };
    Some(Tier {
        name: name.to_owned(),
        ttl,
        stale_while_revalidate: raw.stale_while_revalidate.get()?.0,
        stale_if_error: raw.stale_if_error.get()?.0,
        store: store?,
        when,
    })
}

fn lifetime(given: &Lifetime) -> Ttl {
    given.0.map_or(Ttl::UntilPurged, Ttl::Fixed)
}

fn exception(raw: &At<RawWhen>, cx: &mut Cx<'_>) -> Option<When> {
    conditions_make_sense(raw, cx);
    let then = match (&raw.ttl, &raw.store) {
        (Slot::Given(ttl), _) => WhenThen::Ttl(lifetime(ttl)),
        (_, Slot::Given(_)) => WhenThen::Never,
        _ => return None,
    };
    let status: Vec<_> = raw.status.get().into_iter().flat_map(|list| &list.0).map(|at| at.value.0).collect();
    let too_long = match then {
        WhenThen::Ttl(Ttl::Fixed(ttl)) => ttl > MAX_ERROR_TTL,
        WhenThen::Ttl(_) => true,
        WhenThen::Never => false,
    };
    if too_long
        && let Some(error) = status.iter().find(|status| status.as_u16() >= 400)
        && let Some(ttl) = raw.ttl.given()
    {
        let message = format!("the error status {} would be kept for longer than `5m`", error.as_u16());
        cx.error(ttl.pos, message, "write a `ttl` of at most `5m`: an error should not outlive its cause");
    }
    let header = match raw.header.get() {
        None => None,
        Some(ScalarOr::Short(name)) => Some((name.0.clone(), None)),
        Some(ScalarOr::Long(field)) => {
            Some((field.name.get()?.0.clone(), Some(field.value.get()?.0.clone())))
        }
    };
    Some(When {
        status,
        min_size: raw.min_size.get().map(|size| size.0),
        max_size: raw.max_size.get().map(|size| size.0),
        content_type: raw.content_type.get().map(|media| media.0.clone()),
        header,
        records: raw.records.given().and_then(|records| self::records(records, cx)),
        then,
    })
}

fn conditions_make_sense(raw: &At<RawWhen>, cx: &mut Cx<'_>) {
    let absent = raw.status.is_absent()
        && raw.min_size.is_absent()
        && raw.max_size.is_absent()
        && raw.content_type.is_absent()
        && raw.header.is_absent()
        && raw.records.is_absent();
    if absent {
        let help = "add `status`, `min_size`, `max_size`, `content_type`, `header` or `records`";
        cx.error(raw.pos, "an exception without a condition", help);
    }
    if let (Some(Size(min)), Some(max)) = (raw.min_size.get(), raw.max_size.given())
        && *min > max.0
    {
        cx.error(max.pos, "`max_size` is smaller than `min_size`", "no body is both: swap them");
    }
}

fn records(raw: &At<RawRecords>, cx: &mut Cx<'_>) -> Option<Records> {
    let (min, max) = (raw.min.get().map(|min| min.0), raw.max.get().map(|max| max.0));
    if raw.min.is_absent() && raw.max.is_absent() {
        cx.error(raw.pos, "`records` without `min` and `max`", "say how many: `{ at: /items, min: 100 }`");
    }
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        cx.error(raw.pos, "`max` is smaller than `min`", "no number is both: swap them");
    }
    let at = match &raw.at {
        Slot::Absent => String::new(),
        Slot::Bad => return None,
        Slot::Given(at) => at.value.0.clone(),
    };
    Some(Records { at, min, max })
}
