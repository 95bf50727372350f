//! Purges that an application asks for by fields of its answers: RFC 9875, `X-Larder-Purge`, `X-LiteSpeed-Purge`, and the
//! `Location` and `Content-Location` of a write (RFC 9111 section 4.4).
//!
//! Keeps: all of it acts within the tenant of the request (and the public and global entries); it is in force before the
//! answer's head goes on; a field that is not understood is logged and purges nothing.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::audit::{self, Asker};
use super::selection::{Terms, Wanted};
use super::shared::Shared;
use super::tags::{GROUP_INVALIDATION, LARDER_PURGE, LITESPEED_PURGE, Said};
use super::visit::Visit;
use super::write::{Carried, is_nobody, whose};
use crate::config::Route;
use crate::http::{fields, reference, structured};
use crate::identity::User;
use crate::purge::{Causer, Handling, Mode, Where, random_id};

/// A request whose answer may purge.
#[derive(Debug, Clone)]
pub(super) struct Purging {
    route: Arc<Route>,
    authority: String,
    path: String,
    query: Option<String>,
    from: Option<IpAddr>,
    whose: Where,
    nobody: bool,
    user: Option<User>,
    by: Option<Causer>,
}

/// One thing to be purged, hard or soft.
type Asked = (Mode, Wanted);

impl Purging {
    pub(super) fn of(visit: &Visit) -> Self {
        Self {
            route: visit.route.clone(),
            authority: visit.about.authority().to_owned(),
            path: visit.parts.uri.path().to_owned(),
            query: visit.parts.uri.query().map(str::to_owned),
            from: visit.about.client,
            whose: whose(visit),
            nobody: is_nobody(visit),
            user: visit.who.identity.user.clone(),
            by: visit.causer(),
        }
    }

    /// The answer to a request with a safe method. Cache groups are ignored here (RFC 9875 section 3).
    pub(super) async fn answered(&self, shared: &Shared, said: &Said) -> Carried {
        if said.purges.is_empty() {
            return Carried::default();
        }
        self.carry_out(shared, self.asked(&said.purges), &self.whose).await
    }

    /// The answer to a write.
    pub(super) async fn written(
        &self,
        shared: &Shared,
        said: &Said,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Carried {
        // As for the written URL itself: a redirect is no sign that nobody's write was accepted.
        let unsure = self.nobody && status.is_redirection();
        let whose = if unsure { &Where::Public } else { &self.whose };
        let located = self.locations(status, headers);
        let mut asked = Vec::new();
        if !said.purges.is_empty() {
            asked.extend(self.groups(&said.purges));
            asked.extend(self.asked(&said.purges));
        }
        let located = self.carry_out(shared, located, whose).await;
        located.and(self.carry_out(shared, asked, &self.whose).await)
    }

    fn asked(&self, purges: &HeaderMap) -> Vec<Asked> {
        let mut asked = self.understood(purges, &LARDER_PURGE, |value| self.larder(value));
        asked.extend(self.understood(purges, &LITESPEED_PURGE, |value| self.litespeed(value)));
        asked
    }

    /// What all lines of a field ask for, or nothing where one of them is not understood.
    fn understood(
        &self,
        purges: &HeaderMap,
        name: &HeaderName,
        read: impl Fn(&str) -> Result<Vec<Asked>, String>,
    ) -> Vec<Asked> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let read: Result<Vec<_>, String> =
            purges.get_all(name).iter().map(|value| read(&text(value))).collect();
        read.map(|asked| asked.concat()).unwrap_or_else(|why| {
            self.not_understood(name, &why);
            Vec::new()
        })
    }

    fn not_understood(&self, field: &HeaderName, why: &str) {
        let (route, path) = (&self.route.name, &self.path);
        tracing::warn!(%field, why, route, path, "a field of the application's answer is not understood: it purges nothing");
    }

    /// RFC 9875 section 3. Groups belong to one origin.
    fn groups(&self, purges: &HeaderMap) -> Vec<Asked> {
        let Some(names) = structured::strings(purges, &GROUP_INVALIDATION) else {
            self.not_understood(&GROUP_INVALIDATION, "it is not a list of strings (RFC 9875)");
            return Vec::new();
        };
        let group = |name| (Mode::Hard, Wanted::Group(self.authority.clone(), name));
        names.into_iter().map(group).collect()
    }

    /// RFC 9111 section 4.4: only of the same origin, only where the write was not refused.
    fn locations(&self, status: StatusCode, headers: &HeaderMap) -> Vec<Asked> {
        if !(status.is_success() || status.is_redirection()) {
            return Vec::new();
        }
        let values = [LOCATION, CONTENT_LOCATION].map(|name| headers.get(name));
        let texts = values.into_iter().flatten().filter_map(|value| value.to_str().ok());
        let resolved = texts.filter_map(|text| reference::resolve(&self.path, self.query.as_deref(), text));
        resolved
            .filter(|target| target.authority.as_ref().is_none_or(|other| *other == self.authority))
            .map(|target| (Mode::Hard, Wanted::Target(self.authority.clone(), target.path, target.query)))
            .collect()
    }

    /// `X-Larder-Purge`: a list of `tag NAME`, `pattern PATTERN`, `url URL`, `route NAME`, `store NAME` and `everything`,
    /// each perhaps after `soft`. A value with a comma stands in double quotes.
    fn larder(&self, value: &str) -> Result<Vec<Asked>, String> {
        fields::members(value.as_bytes())
            .map(|member| self.directive(&String::from_utf8_lossy(member)))
            .collect()
    }

    fn directive(&self, text: &str) -> Result<Asked, String> {
        let (mode, rest) = match text.strip_prefix("soft").filter(|rest| rest.starts_with([' ', '\t'])) {
            Some(rest) => (Mode::Soft, rest.trim_start()),
            None => (Mode::Hard, text),
        };
        let (word, value) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        let value = unquoted(value.trim()).ok_or_else(|| format!("`{text}` has quotes that do not match"))?;
        let wanted = match (word, value.is_empty()) {
            ("everything", true) => Wanted::Everything,
            ("tag", false) => Wanted::Tag(value),
            ("pattern", false) => Wanted::Pattern(value),
            ("url", false) => self.url(&value)?,
            ("route", false) => Wanted::Route(value),
            ("store", false) => Wanted::Store(value),
            _ => {
                let words =
                    "`tag NAME`, `pattern PATTERN`, `url URL`, `route NAME`, `store NAME` or `everything`";
                return Err(format!("`{text}` is none of {words}"));
            }
        };
        Ok((mode, wanted))
    }

    fn url(&self, reference: &str) -> Result<Wanted, String> {
        let target = reference::resolve(&self.path, self.query.as_deref(), reference);
        let target = target.ok_or_else(|| format!("`{reference}` is not a URL"))?;
        let authority = target.authority.unwrap_or_else(|| self.authority.clone());
        Ok(Wanted::Target(authority, target.path, target.query))
    }

    /// `X-LiteSpeed-Purge`: parts between semicolons, each for the `public` (by default) or the `private` cache, perhaps
    /// `stale`, then tags (`tag=NAME`, or bare), URLs (they begin with `/`), or `*`. Private is what belongs to the user.
    fn litespeed(&self, value: &str) -> Result<Vec<Asked>, String> {
        let parts = value.split(';').map(|part| self.litespeed_part(part));
        Ok(parts.collect::<Result<Vec<_>, _>>()?.concat())
    }

    fn litespeed_part(&self, part: &str) -> Result<Vec<Asked>, String> {
        let (mut mode, mut private) = (Mode::Hard, false);
        let mut wanted = Vec::new();
        for word in part.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word {
                "public" => private = false,
                "private" => private = true,
                "stale" => mode = Mode::Soft,
                "*" | "tag=*" => wanted.push(Wanted::Everything),
                url if url.starts_with('/') => wanted.push(self.url(url)?),
                tag => match tag.strip_prefix("tag=").unwrap_or(tag).trim() {
                    "" => return Err(format!("`{part}` has a tag without a name")),
                    name => wanted.push(Wanted::Tag(name.to_owned())),
                },
            }
        }
        if private && !wanted.is_empty() {
            // Tags of private responses are not kept apart: all that belongs to the user goes.
            wanted = self.user.iter().cloned().map(Wanted::User).collect();
        }
        Ok(wanted.into_iter().map(|wanted| (mode, wanted)).collect())
    }

    async fn carry_out(&self, shared: &Shared, asked: Vec<Asked>, whose: &Where) -> Carried {
        let mut carried = Carried::default();
        for mode in [Mode::Hard, Mode::Soft] {
            let wanted: Vec<Wanted> =
                asked.iter().filter(|(m, _)| *m == mode).map(|(_, wanted)| wanted.clone()).collect();
            if wanted.is_empty() {
                continue;
            }
            let terms = Terms { whose: whose.clone(), mode, by: self.by };
            match shared.plan_purge(&wanted, &terms) {
                Ok(planned) => {
                    let started = shared.start(&planned, &random_id(), Handling::Insist);
                    for (purge, underway) in planned.purges.iter().zip(started) {
                        if let Some(receipt) = carried.wait(underway).await {
                            audit::purged(&self.asker(), &audit::what(&wanted), &purge.whose, mode, &receipt);
                        }
                    }
                }
                Err(error) => {
                    audit::refused(&self.asker(), &audit::what(&wanted), &error);
                    self.not_understood(&LARDER_PURGE, error.detail());
                }
            }
        }
        carried
    }

    fn asker(&self) -> Asker {
        Asker { who: Some(format!("route {}", self.route.name)), from: self.from, way: "answer" }
    }
}

/// The text, without the double quotes around it where it has them. `None`: they do not match.
fn unquoted(text: &str) -> Option<String> {
    let Some(inner) = text.strip_prefix('"') else { return Some(text.to_owned()) };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(out),
            '\\' => out.push(chars.next()?),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PathPattern;
    use crate::identity::Kind;
    use proptest::prelude::*;

    fn user() -> User {
        User { name: "ann".into(), issuer: "idp".into(), kind: Kind::Verified }
    }

    fn purging() -> Purging {
        let route = Route {
            name: "items".to_owned(),
            index: 0,
            hosts: Vec::new(),
            path: PathPattern::parse("/{*rest}").unwrap(),
            methods: Vec::new(),
            origin: 0,
            purge_on_any: false,
            caching: None,
        };
        Purging {
            route: Arc::new(route),
            authority: "shop.example".to_owned(),
            path: "/items/7".to_owned(),
            query: None,
            from: None,
            whose: Where::All,
            nobody: false,
            user: Some(user()),
            by: None,
        }
    }

    fn here(path: &str) -> Wanted {
        Wanted::Target("shop.example".to_owned(), path.to_owned(), None)
    }

    fn tag(name: &str) -> Wanted {
        Wanted::Tag(name.to_owned())
    }

    #[test]
    fn f4_x_larder_purge_is_a_list_of_directives() {
        let value = r#"tag a, soft pattern dash:*, url ../x,route pages , tag "b, \"c\"", store api, soft everything"#;
        let (hard, soft) = (Mode::Hard, Mode::Soft);
        assert_eq!(
            purging().larder(value).unwrap(),
            [
                (hard, tag("a")),
                (soft, Wanted::Pattern("dash:*".to_owned())),
                (hard, here("/x")),
                (hard, Wanted::Route("pages".to_owned())),
                (hard, tag("b, \"c\"")),
                (hard, Wanted::Store("api".to_owned())),
                (soft, Wanted::Everything),
            ]
        );
        for wrong in
            ["tag", "tags a", "everything now", "soft", "url mailto:x@y", "tag \"a", "tag \"a\"b", "tag a, b"]
        {
            assert!(purging().larder(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn f4_x_litespeed_purge_in_its_own_syntax() {
        let read = |value: &str| purging().litespeed(value).unwrap();
        let (hard, soft) = (Mode::Hard, Mode::Soft);
        assert_eq!(read("*"), [(hard, Wanted::Everything)]);
        assert_eq!(read("tag=a, tag=b"), [(hard, tag("a")), (hard, tag("b"))]);
        assert_eq!(read("public,c,/x"), [(hard, tag("c")), (hard, here("/x"))]);
        assert_eq!(
            read("public, stale, tag=a; private, tag=b, tag=c"),
            [(soft, tag("a")), (hard, Wanted::User(user()))]
        );
        assert_eq!(read("private, *"), [(hard, Wanted::User(user()))]);
        assert_eq!(read("private"), []);
        assert!(purging().litespeed("tag=").is_err());
        let nobody = Purging { user: None, ..purging() };
        assert_eq!(nobody.litespeed("private, *").unwrap(), []);
    }

    #[test]
    fn rfc9111_4_4_locations_of_the_same_origin_only() {
        let located = |status: u16, name: &'static str, value: &str| {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())]);
            purging().locations(StatusCode::from_u16(status).unwrap(), &headers)
        };
        assert_eq!(located(201, "location", "/items/8"), [(Mode::Hard, here("/items/8"))]);
        assert_eq!(located(303, "location", "https://SHOP.example/"), [(Mode::Hard, here("/"))]);
        assert_eq!(located(200, "content-location", "8"), [(Mode::Hard, here("/items/8"))]);
        assert_eq!(located(201, "location", "http://evil.example/items/8"), []);
        assert_eq!(located(422, "location", "/items/8"), []);
    }

    proptest! {
        #[test]
        fn any_value_is_read_without_a_panic(value in "\\PC{0,60}") {
            let _ = purging().larder(&value);
            let _ = purging().litespeed(&value);
        }
    }
}
