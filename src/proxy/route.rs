//! The router: which route a request takes. The first that matches in the order of the file wins.
//!
//! Hosts lie in hash maps (exact names; what follows the first label), paths in tries over their segments. The
//! search keeps the smallest place found so far and leaves every branch that holds no smaller one.
//! Invariants: a lookup allocates nothing; every node of a trie is visited at most once per lookup, because it
//! stands at one depth of one way; so the work is bounded by the routes, never by the path, whatever it holds.

use std::sync::Arc;

use hashbrown::HashMap;
use http::Method;

use crate::config::pattern::{HostPattern, Segment};
use crate::config::{PathPattern, Route};

/// A place in the list of routes.
type Place = u32;

/// No route.
const NONE: Place = Place::MAX;

/// Finds the route of a request. Built once per configuration.
#[derive(Debug)]
pub struct Router {
    routes: Vec<Arc<Route>>,
    /// By the whole host.
    exact: HashMap<String, Trie>,
    /// By what follows the host's first label, with the dot.
    suffix: HashMap<String, Trie>,
    /// The routes for every host.
    any: Trie,
}

impl Router {
    /// A router over `routes`, in their order of precedence.
    pub fn new(routes: &[Arc<Route>]) -> Self {
        let mut router = Self {
            routes: routes.to_vec(),
            exact: HashMap::new(),
            suffix: HashMap::new(),
            any: Trie::default(),
        };
        for (place, route) in (0..NONE).zip(routes) {
            if route.hosts.is_empty() {
                router.any.insert(&route.path, &route.methods, place);
            }
            for host in &route.hosts {
                router.trie_of(host).insert(&route.path, &route.methods, place);
            }
        }
        router
    }

    fn trie_of(&mut self, host: &HostPattern) -> &mut Trie {
        match host {
            HostPattern::Exact(host) => self.exact.entry_ref(host.as_str()).or_default(),
            HostPattern::Label { suffix, .. } => self.suffix.entry_ref(suffix.as_str()).or_default(),
        }
    }

    /// The first route that matches. `host` is in lower case and without a port; `path` is as it came.
    pub fn find(&self, host: &str, path: &str, method: &Method) -> Option<&Arc<Route>> {
        self.search(host, path, method).0
    }

    /// The route, and how many nodes were visited to find it.
    fn search(&self, host: &str, path: &str, method: &Method) -> (Option<&Arc<Route>>, usize) {
        let mut search = Search { method, best: NONE, visited: 0 };
        let Some(path) = path.strip_prefix('/') else { return (None, 0) };
        if let Some(trie) = self.exact.get(host) {
            search.walk(trie, 0, Some(path));
        }
        if let Some(dot) = host.find('.').filter(|&dot| dot > 0)
            && let Some(trie) = self.suffix.get(&host[dot..])
        {
            search.walk(trie, 0, Some(path));
        }
        search.walk(&self.any, 0, Some(path));
        (self.routes.get(search.best as usize), search.visited)
    }
}

/// The paths of one set of hosts: nodes by number; number 0 is the root.
#[derive(Debug)]
struct Trie {
    nodes: Vec<Node>,
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

/// What is known after some segments of a pattern.
#[derive(Debug)]
struct Node {
    /// The smallest place in here and below.
    min: Place,
    /// Children by the segment's bytes.
    fixed: HashMap<String, usize>,
    /// The longest of those segments: a longer one need not be hashed.
    longest: usize,
    /// The child for any segment that is not empty.
    param: Option<usize>,
    /// The routes whose pattern ends here.
    end: Terminal,
    /// The routes whose pattern takes all that is left from here.
    rest: Terminal,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            min: NONE,
            fixed: HashMap::new(),
            longest: 0,
            param: None,
            end: Terminal::default(),
            rest: Terminal::default(),
        }
    }
}

/// The routes of one pattern: for every method, and for some.
#[derive(Debug)]
struct Terminal {
    any: Place,
    some: Vec<(Method, Place)>,
}

impl Default for Terminal {
    fn default() -> Self {
        Self { any: NONE, some: Vec::new() }
    }
}

impl Terminal {
    /// Places come in ascending order, so the first for a method stays.
    fn insert(&mut self, methods: &[Method], place: Place) {
        if methods.is_empty() {
            self.any = self.any.min(place);
        }
        for method in methods {
            if self.any == NONE && !self.some.iter().any(|(known, _)| known == method) {
                self.some.push((method.clone(), place));
            }
        }
    }

    fn find(&self, method: &Method) -> Place {
        let some = self.some.iter().find(|(known, _)| known == method);
        some.map_or(self.any, |(_, place)| self.any.min(*place))
    }
}

impl Trie {
    fn insert(&mut self, pattern: &PathPattern, methods: &[Method], place: Place) {
        let mut at = 0;
        self.nodes[at].min = self.nodes[at].min.min(place);
        for segment in pattern.segments() {
            at = match segment {
                Segment::Static(text) => self.fixed_child(at, text),
                Segment::Param(_) => self.param_child(at),
                Segment::Rest(_) => return self.nodes[at].rest.insert(methods, place),
            };
            self.nodes[at].min = self.nodes[at].min.min(place);
        }
        self.nodes[at].end.insert(methods, place);
    }

    fn fixed_child(&mut self, at: usize, text: &str) -> usize {
        let fresh = self.nodes.len();
        let node = &mut self.nodes[at];
        node.longest = node.longest.max(text.len());
        let child = *node.fixed.entry_ref(text).or_insert(fresh);
        if child == fresh {
            self.nodes.push(Node::default());
        }
        child
    }

    fn param_child(&mut self, at: usize) -> usize {
        let fresh = self.nodes.len();
        let child = *self.nodes[at].param.get_or_insert(fresh);
        if child == fresh {
            self.nodes.push(Node::default());
        }
        child
    }
}

/// One lookup under way.
struct Search<'a> {
    method: &'a Method,
    /// The smallest place found so far.
    best: Place,
    /// How many nodes were visited.
    visited: usize,
}

impl Search<'_> {
    /// Walks down from `at`; `left` is what is left of the path, `None` after its last segment. It calls itself
    /// only where two ways are open, so its depth is bounded by the forks of the trie.
    fn walk(&mut self, trie: &Trie, mut at: usize, mut left: Option<&str>) {
        loop {
            let Some(node) = trie.nodes.get(at).filter(|node| node.min < self.best) else { return };
            self.visited += 1;
            let Some(path) = left else {
                self.best = self.best.min(node.end.find(self.method));
                return;
            };
            self.best = self.best.min(node.rest.find(self.method));
            // On texts so short, a search of the library costs more than the walk.
            let end = path.bytes().position(|b| b == b'/').unwrap_or(path.len());
            let (segment, after) = (path.get(..end).unwrap_or_default(), path.get(end + 1..));
            let fixed = (segment.len() <= node.longest).then(|| node.fixed.get(segment).copied()).flatten();
            let param = node.param.filter(|_| !segment.is_empty());
            at = match (fixed, param) {
                (None, None) => return,
                (Some(one), None) | (None, Some(one)) => one,
                (Some(a), Some(b)) => {
                    let (first, second) = if min_of(trie, a) <= min_of(trie, b) { (a, b) } else { (b, a) };
                    self.walk(trie, first, after);
                    second
                }
            };
            left = after;
        }
    }
}

fn min_of(trie: &Trie, at: usize) -> Place {
    trie.nodes.get(at).map_or(NONE, |node| node.min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn route(index: usize, hosts: &[&str], path: &str, methods: &[&str]) -> Arc<Route> {
        Arc::new(Route {
            name: format!("r{index}"),
            index,
            hosts: hosts.iter().map(|h| HostPattern::parse(h).unwrap()).collect(),
            path: PathPattern::parse(path).unwrap(),
            methods: methods.iter().map(|m| m.parse().unwrap()).collect(),
            origin: 0,
            purge_on_any: false,
            caching: None,
        })
    }

    fn routes(list: &[(&[&str], &str, &[&str])]) -> Vec<Arc<Route>> {
        list.iter().enumerate().map(|(i, (h, p, m))| route(i, h, p, m)).collect()
    }

    fn naive<'a>(
        routes: &'a [Arc<Route>],
        host: &str,
        path: &str,
        method: &Method,
    ) -> Option<&'a Arc<Route>> {
        routes.iter().find(|r| {
            (r.hosts.is_empty() || r.hosts.iter().any(|h| h.capture(host).is_some()))
                && r.path.matches(path)
                && (r.methods.is_empty() || r.methods.contains(method))
        })
    }

    fn found(router: &Router, host: &str, path: &str, method: Method) -> Option<usize> {
        router.find(host, path, &method).map(|r| r.index)
    }

    #[test]
    fn the_first_route_of_the_file_wins_not_the_most_specific() {
        let router = Router::new(&routes(&[
            (&[], "/a/{id}", &[]),
            (&[], "/a/b", &[]),
            (&["shop.example"], "/a/b", &[]),
            (&[], "/{*rest}", &[]),
        ]));
        assert_eq!(found(&router, "shop.example", "/a/b", Method::GET), Some(0));
        assert_eq!(found(&router, "shop.example", "/a/b/c", Method::GET), Some(3));
    }

    #[test]
    fn hosts_match_exactly_by_one_label_or_not_at_all() {
        let router = Router::new(&routes(&[
            (&["shop.example", "www.shop.example"], "/", &[]),
            (&["{tenant}.shop.example"], "/", &[]),
            (&["*.example"], "/", &[]),
        ]));
        assert_eq!(found(&router, "www.shop.example", "/", Method::GET), Some(0));
        assert_eq!(found(&router, "acme.shop.example", "/", Method::GET), Some(1));
        assert_eq!(found(&router, "acme.example", "/", Method::GET), Some(2));
        assert_eq!(found(&router, "a.b.shop.example", "/", Method::GET), None);
        assert_eq!(found(&router, ".shop.example", "/", Method::GET), None);
        assert_eq!(found(&router, "", "/", Method::GET), None);
    }

    #[test]
    fn a_method_that_a_route_does_not_name_goes_on_to_the_next() {
        let router =
            Router::new(&routes(&[(&[], "/x", &["GET", "HEAD"]), (&[], "/x", &["POST"]), (&[], "/x", &[])]));
        assert_eq!(found(&router, "h", "/x", Method::HEAD), Some(0));
        assert_eq!(found(&router, "h", "/x", Method::POST), Some(1));
        assert_eq!(found(&router, "h", "/x", Method::PUT), Some(2));
    }

    #[test]
    fn a_target_that_is_no_path_has_no_route() {
        let router = Router::new(&routes(&[(&[], "/{*rest}", &[])]));
        assert_eq!(found(&router, "h", "*", Method::OPTIONS), None);
        assert_eq!(found(&router, "h", "", Method::GET), None);
    }

    fn visits(count: usize, path: &dyn Fn(usize) -> String) -> usize {
        let list: Vec<_> = (0..count).map(|i| route(i, &[], &path(i), &[])).collect();
        let router = Router::new(&list);
        (0..count)
            .map(|i| {
                let target = path(i).replace("{id}", "7").replace("{tenant}", "acme");
                let (route, visited) = router.search("h", &target, &Method::GET);
                assert_eq!(route.unwrap().index, i);
                visited
            })
            .max()
            .unwrap()
    }

    #[test]
    fn the_cost_is_flat_from_10_to_10_000_routes() {
        for shape in ["/api/r#/{id}", "/{tenant}/r#/list", "/r#", "/a/b/c/{id}/d/r#"] {
            let path = |i: usize| shape.replace('#', &i.to_string());
            assert_eq!(visits(10, &path), visits(10_000, &path), "{shape}");
        }
    }

    #[test]
    fn ten_thousand_hosts_cost_what_ten_cost() {
        for count in [10, 10_000] {
            let list: Vec<_> =
                (0..count).map(|i| route(i, &[&format!("t{i}.example")], "/a/{id}", &[])).collect();
            let router = Router::new(&list);
            let (route, visited) = router.search(&format!("t{}.example", count - 1), "/a/1", &Method::GET);
            assert_eq!(route.unwrap().index, count - 1);
            assert_eq!(visited, 3);
        }
    }

    #[test]
    fn a_hostile_path_costs_no_more_than_the_trie_has_nodes() {
        // Every mixture of a static and a free segment over ten levels, none of which ends with the path's end.
        let list: Vec<_> = (0..1_024_usize)
            .map(|i| {
                let path: String = (0..10)
                    .map(|bit| if i >> bit & 1 == 1 { "/a".to_owned() } else { format!("/{{p{bit}}}") })
                    .collect();
                route(i, &[], &(path + "/end"), &[])
            })
            .collect();
        let router = Router::new(&list);
        let nodes = router.any.nodes.len();
        for path in ["/a".repeat(5_000), "/".repeat(60_000), "/a".repeat(10) + "/x"] {
            let (route, visited) = router.search("h", &path, &Method::GET);
            assert!(route.is_none());
            assert!(visited <= nodes, "{visited} of {nodes}");
        }
    }

    #[test]
    fn a_pattern_of_thousands_of_segments_does_not_exhaust_the_stack() {
        let deep = "/a".repeat(4_000);
        let forked = "/{p}".to_owned() + &"/a".repeat(3_999);
        let router = Router::new(&[route(0, &[], &deep, &["POST"]), route(1, &[], &forked, &[])]);
        assert_eq!(found(&router, "h", &deep, Method::GET), Some(1));
    }

    fn any_path() -> impl Strategy<Value = String> {
        let part = prop_oneof![Just("a"), Just("b"), Just(""), Just("c")];
        proptest::collection::vec(part, 1..5).prop_map(|parts| format!("/{}", parts.join("/")))
    }

    fn any_pattern() -> impl Strategy<Value = String> {
        let part =
            prop_oneof![4 => Just("a"), 3 => Just("b"), 1 => Just(""), 3 => Just("{}"), 1 => Just("{*r}")];
        proptest::collection::vec(part, 1..5).prop_map(|parts| {
            let mut pattern = String::new();
            for (i, part) in parts.iter().enumerate() {
                pattern += "/";
                pattern += &part.replace("{}", &format!("{{p{i}}}"));
                if part.starts_with("{*") {
                    break;
                }
            }
            pattern
        })
    }

    fn any_route() -> impl Strategy<Value = (Vec<&'static str>, String, Vec<&'static str>)> {
        let host = prop_oneof![Just("x.example"), Just("{t}.example"), Just("*.x.example"), Just("example")];
        let method = prop_oneof![Just("GET"), Just("POST"), Just("BREW")];
        (proptest::collection::vec(host, 0..3), any_pattern(), proptest::collection::vec(method, 0..3))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn the_router_finds_what_a_scan_of_the_file_finds(
            list in proptest::collection::vec(any_route(), 0..40),
            asked in proptest::collection::vec((any_path(), 0..6_usize, 0..4_usize), 1..30),
        ) {
            let list: Vec<_> =
                list.iter().enumerate().map(|(i, (h, p, m))| route(i, h, p, m)).collect();
            let router = Router::new(&list);
            let hosts = ["x.example", "y.example", "y.x.example", "example", "", "other"];
            let methods = [Method::GET, Method::POST, Method::PUT, Method::from_bytes(b"BREW").unwrap()];
            for (path, host, method) in &asked {
                let (host, method) = (hosts[*host], &methods[*method]);
                let expected = naive(&list, host, path, method).map(|r| r.index);
                prop_assert_eq!(router.find(host, path, method).map(|r| r.index), expected);
            }
        }
    }
}
