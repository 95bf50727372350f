//! `timed_purges`: purges by the clock (C10).

use super::super::TimedPurge;
use super::Cx;
use super::collections::OneOrMany;
use super::section::{At, Slot};
use super::values::Text;
use super::words::{RawConfig, RawTimed};

/// Reads `timed_purges`.
pub(super) fn read(raw: &RawConfig, cx: &mut Cx<'_>) -> Vec<TimedPurge> {
    let items = raw.timed_purges.get().map(|list| list.0.as_slice()).unwrap_or_default();
    items.iter().filter_map(|item| timed(item, cx)).collect()
}

fn timed(raw: &At<RawTimed>, cx: &mut Cx<'_>) -> Option<TimedPurge> {
    let (tags, patterns) = (texts(&raw.tags), texts(&raw.patterns));
    if tags.is_empty() && patterns.is_empty() {
        let help = "say what: `patterns: [report]`, or `tags: [NAME]`";
        cx.error(raw.pos, "a timed purge that purges nothing", help);
        return None;
    }
    Some(TimedPurge {
        every: raw.every.get()?.0,
        tags,
        patterns,
        tenant: raw.tenant.get().map(|tenant| tenant.0.clone()),
        soft: *raw.soft.get()?,
    })
}

fn texts(slot: &Slot<OneOrMany<Text>>) -> Vec<String> {
    slot.get().into_iter().flat_map(|list| &list.0).map(|text| text.0.clone()).collect()
}
