//! Which routes can never match, because routes before them take every request.
//!
//! The patterns before a route live in a trie over path segments; its leaves say for which hosts and methods. So the
//! cost follows the length of a pattern, not the number of routes.

use std::collections::HashMap;

use http::Method;

use super::super::pattern::Segment;
use super::super::{HostPattern, PathPattern};

/// The hosts and methods of the routes that end at one place of the trie.
#[derive(Debug, Default)]
struct Leaf {
    hosts: HashMap<HostKey, Methods>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum HostKey {
    Any,
    Exact(String),
    /// One label before this suffix.
    Label(String),
}

/// Which route takes a method first.
#[derive(Debug, Default)]
struct Methods {
    any: Option<usize>,
    some: HashMap<Method, usize>,
}

#[derive(Debug, Default)]
struct Level {
    fixed: HashMap<String, usize>,
    param: Option<usize>,
    rest: Leaf,
    end: Leaf,
}

/// The patterns of the routes so far.
#[derive(Debug)]
pub(super) struct Reach {
    levels: Vec<Level>,
    /// How many places of the trie were looked at, over all questions.
    visited: usize,
}

impl Default for Reach {
    fn default() -> Self {
        Self { levels: vec![Level::default()], visited: 0 }
    }
}

impl Reach {
    /// A route before that takes what this one would match, if there is one for each of its hosts and methods.
    /// Otherwise the route is added to those that later ones are checked against.
    pub(super) fn covered_by(
        &mut self,
        hosts: &[HostPattern],
        path: &PathPattern,
        methods: &[Method],
        route: usize,
    ) -> Option<usize> {
        let hosts: Vec<HostKey> = match hosts {
            [] => vec![HostKey::Any],
            some => some.iter().map(HostKey::of).collect(),
        };
        let wanted: Vec<Option<&Method>> = match methods {
            [] => vec![None],
            some => some.iter().map(Some).collect(),
        };
        let found = self.find(path, &hosts, &wanted);
        if found.is_none() {
            self.insert(hosts, path, methods, route);
        }
        found
    }

    fn find(&mut self, path: &PathPattern, hosts: &[HostKey], wanted: &[Option<&Method>]) -> Option<usize> {
        let leaves = leaves(&self.levels, path.segments(), &mut self.visited);
        let mut found = None;
        for host in hosts {
            for method in wanted {
                let here = leaves.iter().find_map(|leaf| leaf.find(host, *method))?;
                found = found.max(Some(here));
            }
        }
        found
    }

    fn insert(&mut self, hosts: Vec<HostKey>, path: &PathPattern, methods: &[Method], route: usize) {
        let mut at = 0;
        let mut rest = false;
        for segment in path.segments() {
            let fresh = self.levels.len();
            let Some(level) = self.levels.get_mut(at) else { return };
            at = match segment {
                Segment::Static(text) => *level.fixed.entry(text.clone()).or_insert(fresh),
                Segment::Param(_) => *level.param.get_or_insert(fresh),
                Segment::Rest(_) => {
                    rest = true;
                    break;
                }
            };
            if at == fresh {
                self.levels.push(Level::default());
            }
        }
        let Some(level) = self.levels.get_mut(at) else { return };
        let leaf = if rest { &mut level.rest } else { &mut level.end };
        for host in hosts {
            leaf.hosts.entry(host).or_default().add(methods, route);
        }
    }
}

/// The leaves of all patterns that take every path of this one.
fn leaves<'a>(levels: &'a [Level], segments: &[Segment], visited: &mut usize) -> Vec<&'a Leaf> {
    let mut found = Vec::new();
    let mut here: Vec<&Level> = levels.first().into_iter().collect();
    for segment in segments {
        *visited += here.len();
        found.extend(here.iter().map(|level| &level.rest));
        let follow = |level: &&'a Level| -> [Option<&'a Level>; 2] {
            let fixed = match segment {
                Segment::Static(text) => level.fixed.get(text),
                _ => None,
            };
            // A parameter takes no empty segment, and the rest may be empty.
            let param = match segment {
                Segment::Static(text) if text.is_empty() => None,
                Segment::Rest(_) => None,
                _ => level.param.as_ref(),
            };
            [fixed, param].map(|next| next.and_then(|next| levels.get(*next)))
        };
        here = here.iter().flat_map(follow).flatten().collect();
    }
    *visited += here.len();
    found.extend(here.iter().map(|level| &level.end));
    found
}

impl Leaf {
    fn find(&self, host: &HostKey, method: Option<&Method>) -> Option<usize> {
        let label = match host {
            HostKey::Exact(host) => host.find('.').map(|dot| HostKey::Label(host[dot..].to_owned())),
            _ => None,
        };
        [Some(HostKey::Any), Some(host.clone()), label]
            .into_iter()
            .flatten()
            .find_map(|key| self.hosts.get(&key)?.find(method))
    }
}

impl Methods {
    fn add(&mut self, methods: &[Method], route: usize) {
        if methods.is_empty() {
            self.any.get_or_insert(route);
        }
        for method in methods {
            self.some.entry(method.clone()).or_insert(route);
        }
    }

    fn find(&self, method: Option<&Method>) -> Option<usize> {
        self.any.or_else(|| self.some.get(method?).copied())
    }
}

impl HostKey {
    fn of(host: &HostPattern) -> Self {
        match host {
            HostPattern::Exact(host) => Self::Exact(host.clone()),
            HostPattern::Label { suffix, .. } => Self::Label(suffix.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_covered(routes: &[(&str, &str, &str)]) -> Option<(usize, usize)> {
        let mut reach = Reach::default();
        for (index, (hosts, path, methods)) in routes.iter().enumerate() {
            let hosts: Vec<_> = hosts.split_whitespace().map(|h| HostPattern::parse(h).unwrap()).collect();
            let methods: Vec<_> = methods.split_whitespace().map(|m| m.parse().unwrap()).collect();
            if let Some(by) = reach.covered_by(&hosts, &PathPattern::parse(path).unwrap(), &methods, index) {
                return Some((index, by));
            }
        }
        None
    }

    #[test]
    fn a_route_behind_a_wider_one_is_covered() {
        assert_eq!(first_covered(&[("", "/{*r}", ""), ("", "/a", "")]), Some((1, 0)));
        assert_eq!(first_covered(&[("", "/{x}", ""), ("", "/a", "GET")]), Some((1, 0)));
        assert_eq!(first_covered(&[("", "/a/{*r}", ""), ("a.b", "/a/{x}/{*q}", "")]), Some((1, 0)));
        assert_eq!(first_covered(&[("*.b.c", "/a", ""), ("x.b.c", "/a", "")]), Some((1, 0)));
        assert_eq!(
            first_covered(&[("a", "/p", "GET"), ("", "/p", "POST"), ("a", "/p", "GET POST")]),
            Some((2, 1))
        );
    }

    #[test]
    fn a_route_that_still_matches_something_is_not() {
        for routes in [
            [("", "/a", ""), ("", "/{*r}", "")],
            [("", "/s/{*r}", ""), ("", "/s", "")],
            [("", "/s/{x}", ""), ("", "/s/", "")],
            [("", "/s/{x}", ""), ("", "/s/{*r}", "")],
            [("", "/a", "GET"), ("", "/a", "")],
            [("", "/a", "GET"), ("", "/a", "GET POST")],
            [("a.b", "/a", ""), ("", "/a", "")],
            [("*.b.c", "/a", ""), ("x.y.b.c", "/a", "")],
            [("a", "/a", ""), ("a b", "/a", "")],
        ] {
            assert_eq!(first_covered(&routes), None, "{routes:?}");
        }
    }

    #[test]
    fn the_cost_follows_the_length_of_the_patterns_not_the_number_of_routes() {
        let mut reach = Reach::default();
        for n in 0..10_000 {
            let path = match n % 4 {
                0 => format!("/api/{n}/{{id}}/detail"),
                1 => format!("/api/{{kind}}/x{n}"),
                2 => format!("/t/{{tenant}}/p{n}/{{*rest}}"),
                _ => "/same".into(),
            };
            let host = [HostPattern::parse(&format!("h{n}.example")).unwrap()];
            let hosts: &[HostPattern] = if n % 4 == 3 { &host } else { &[] };
            assert_eq!(reach.covered_by(hosts, &PathPattern::parse(&path).unwrap(), &[], n), None);
        }
        assert!(reach.visited < 10_000 * 10, "{} places looked at", reach.visited);
    }
}
