//! Routes: their names, where they go, and whether they can match at all.

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use super::super::{HostPattern, Route};
use super::identity::origin_of;
use super::names::Names;
use super::reach::Reach;
use super::route_words::{PurgeOn, RawRoute};
use super::section::{At, Slot};
use super::sources::Facts;
use super::storage::Tiers;
use super::who::Defaults;
use super::words::RawConfig;
use super::{Cx, caching};

/// Reads the routes, in the order of the file; at least one.
pub(super) fn read(
    raw: &RawConfig,
    origins: &Names<'_>,
    tiers: &Tiers<'_>,
    facts: &Facts,
    cx: &mut Cx<'_>,
) -> Option<Vec<Arc<Route>>> {
    let list = raw.routes.given()?;
    if list.0.is_empty() {
        let help = "add at least one that passes everything: `- { name: all, path: \"/{*rest}\" }`";
        cx.error(list.pos, "there are no routes", help);
    }
    unique_names(&list.0, cx);
    let defaults = Defaults::read(raw, facts, cx);
    let mut reach = Reach::default();
    let mut routes = Vec::new();
    for (index, item) in list.0.iter().enumerate() {
        reachable(item, index, &list.0, &mut reach, cx);
        let origin = origin_of(&item.origin, item.pos, "the route", origins, cx);
        let caching = caching::read(item, tiers, &defaults, facts, cx);
        routes.extend(route(item, index, origin, caching));
    }
    Some(routes)
}

fn route(
    raw: &RawRoute,
    index: usize,
    origin: Option<usize>,
    caching: Option<Option<super::super::Caching>>,
) -> Option<Arc<Route>> {
    Some(Arc::new(Route {
        name: raw.name.get()?.0.clone(),
        index,
        hosts: hosts(raw)?,
        path: raw.path.get()?.0.clone(),
        methods: methods(raw)?,
        origin: origin?,
        purge_on_any: *raw.purge_on.get()? == PurgeOn::Any,
        caching: caching?.map(std::sync::Arc::new),
    }))
}

fn unique_names(routes: &[At<RawRoute>], cx: &mut Cx<'_>) {
    let mut seen = HashMap::new();
    for name in routes.iter().filter_map(|route| route.name.given()) {
        if let Some(first) = seen.insert(name.0.as_str(), name.pos) {
            let help = format!("line {} has it too: give each route a name of its own", first.line);
            cx.error(name.pos, format!("two routes have the name `{}`", name.0), help);
        }
    }
}

fn hosts(raw: &RawRoute) -> Option<Vec<HostPattern>> {
    match &raw.host {
        Slot::Absent => Some(Vec::new()),
        Slot::Bad => None,
        Slot::Given(list) => Some(list.0.iter().map(|host| host.0.clone()).collect()),
    }
}

fn methods(raw: &RawRoute) -> Option<Vec<Method>> {
    match &raw.methods {
        Slot::Absent => Some(Vec::new()),
        Slot::Bad => None,
        Slot::Given(list) => Some(list.0.iter().map(|method| method.0.clone()).collect()),
    }
}

fn reachable(raw: &At<RawRoute>, index: usize, all: &[At<RawRoute>], reach: &mut Reach, cx: &mut Cx<'_>) {
    let (Some(hosts), Some(path), Some(methods)) = (hosts(raw), raw.path.given(), methods(raw)) else {
        return;
    };
    let Some(by) = reach.covered_by(&hosts, &path.0, &methods, index).and_then(|by| all.get(by)) else {
        return;
    };
    let name = by.name.get().map_or("another", |name| name.0.as_str());
    let message =
        format!("this route can never match: `{name}` (line {}) takes every request before it", by.pos.line);
    cx.error(path.pos, message, "the first match wins: move this route up, or remove it");
}
