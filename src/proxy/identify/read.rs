//! Reads the sources of one request, in the order of the configuration: the first that yields wins.
//!
//! Invariants: a source that does not win is among the losers; two verified sources of one list that both yield agree,
//! or the request is refused (names that one and the same proof gives do not contradict each other); an empty value is
//! never an identity; what can be read in more than one way is no identity.

use std::borrow::Cow;
use std::sync::Arc;

use super::ask::Told;
use super::carriers::Set;
use super::jwt::Verified;
use super::sources::{Entitlement, From, List, Source};
use super::value::{Said, said, said_by_field, said_decoded};
use super::{Seen, Stop};
use crate::config::PathPattern;
use crate::config::pattern::Segment;
use crate::error::{Error, ErrorKind};
use crate::http::cookies::{self, Found};
use crate::http::query;
use crate::identity::Kind;

/// Which of the three a list is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Tenant,
    User,
    Role,
}

/// What is known of a request when its sources are read.
pub(super) struct Evidence<'a> {
    pub(super) seen: &'a Seen<'a>,
    /// The token, and what carried it.
    pub(super) token: Option<(&'a Verified, Set)>,
    /// What the origin said, if it was asked.
    pub(super) asked: Option<Option<&'a Told>>,
    /// The role, once it is known.
    pub(super) role: Option<&'a Picked<'a>>,
}

/// Who was found in a list.
#[derive(Debug, Clone)]
pub(super) struct Picked<'a> {
    pub(super) name: Name<'a>,
    pub(super) issuer: Issuer<'a>,
    pub(super) kind: Kind,
    /// What carried it.
    pub(super) carriers: Set,
    /// What proved it.
    pub(super) proof: Proof,
}

/// What proves an identity. Two names that one proof gives do not contradict each other: the order decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nothing: it is claimed.
    None,
    Token,
    /// The origin's word.
    Ask,
    /// A field of a trusted proxy.
    Header,
}

impl Proof {
    fn contradicts(self, other: Self) -> bool {
        self != other || self == Self::Header // two fields are two proofs
    }
}

/// A name that is shared already, or still lies in the request.
#[derive(Debug, Clone)]
pub(super) enum Name<'a> {
    Shared(&'a Arc<str>),
    Text(Cow<'a, str>),
}

impl Name<'_> {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Shared(name) => name,
            Self::Text(name) => name,
        }
    }

    pub(super) fn to_arc(&self) -> Arc<str> {
        match self {
            Self::Shared(name) => (*name).clone(),
            Self::Text(name) => Arc::from(&**name),
        }
    }
}

/// Who gave a name: the token's issuer, or a kind of source.
#[derive(Debug, Clone, Copy)]
pub(super) enum Issuer<'a> {
    Token(&'a Arc<str>),
    Kind(&'static str),
}

/// What one source says.
enum Yield<'a> {
    Nothing,
    /// Something is there that is no identity: it must not reach the origin as if it were one.
    Unusable,
    Is(Picked<'a>),
}

impl List {
    /// Reads the list. The second value is what lost.
    pub(super) fn pick<'a>(
        &'a self,
        which: Which,
        evidence: &Evidence<'a>,
    ) -> Result<(Option<Picked<'a>>, Set), Stop> {
        let (mut winner, mut lost) = (None::<Picked<'a>>, 0);
        for source in &self.0 {
            match &winner {
                None => match source.read(which, evidence)? {
                    Yield::Nothing => {}
                    Yield::Unusable => lost |= source.carriers,
                    Yield::Is(picked) => {
                        lost |= source.carriers; // of a token's carriers one won; the winners are taken off later
                        winner = Some(picked);
                    }
                },
                Some(winner) => {
                    lost |= source.carriers;
                    source.agree(which, evidence, winner)?;
                }
            }
        }
        Ok((winner, lost))
    }
}

impl Source {
    fn read<'a>(&'a self, which: Which, evidence: &Evidence<'a>) -> Result<Yield<'a>, Stop> {
        let seen = evidence.seen;
        Ok(match &self.from {
            From::Jwt(number) => return self.read_token(*number, evidence),
            From::Ask => self.told(which, evidence.asked.ok_or(Stop::NeedsAnswer)?),
            From::Header(name) => match said_by_field(seen.headers, name) {
                Said::Unusable => return Err(Stop::Invalid),
                Said::Nothing => Yield::Nothing,
                Said::Name(text) => self.verified(Name::Text(text.into()), "header", Proof::Header),
            },
            From::Host(pattern) => {
                let label = pattern.capture(seen.host).unwrap_or("");
                self.claimed(said(label.as_bytes()).map(Cow::Borrowed), "host")
            }
            From::Path(pattern, name) => match capture(pattern, name, seen.uri.path()) {
                Some(part) => self.claimed(said_decoded(query::decode_path(part)), "path"),
                None => Yield::Nothing,
            },
            From::Cookie(name) => match cookies::find(seen.headers, name) {
                Found::Absent => Yield::Nothing,
                Found::Several => Yield::Unusable,
                Found::Once(value) => self.claimed(said(value).map(Cow::Borrowed), "cookie"),
            },
            From::Query(name, entitled) => return self.read_query(name, entitled.as_ref(), evidence),
        })
    }

    fn read_token<'a>(&self, number: usize, evidence: &Evidence<'a>) -> Result<Yield<'a>, Stop> {
        let Some((token, carriers)) = evidence.token else { return Ok(Yield::Nothing) };
        match token.names.get(number) {
            Some(Said::Name(name)) => Ok(Yield::Is(Picked {
                name: Name::Shared(name),
                issuer: Issuer::Token(&token.issuer),
                kind: Kind::Verified,
                carriers,
                proof: Proof::Token,
            })),
            Some(Said::Unusable) => Err(Stop::Invalid),
            _ => Ok(Yield::Nothing),
        }
    }

    fn told<'a>(&self, which: Which, told: Option<&'a Told>) -> Yield<'a> {
        let name = told.and_then(|told| match which {
            Which::Tenant => told.tenant.as_ref(),
            Which::User => told.user.as_ref(),
            Which::Role => told.role.as_ref(),
        });
        let Some(name) = name else { return Yield::Nothing };
        self.verified(Name::Shared(name), "ask", Proof::Ask)
    }

    /// A parameter that comes twice is read by one application as its first, by another as its last.
    fn read_query<'a>(
        &self,
        name: &str,
        entitled: Option<&Entitlement>,
        evidence: &Evidence<'a>,
    ) -> Result<Yield<'a>, Stop> {
        let said = match query::find(evidence.seen.uri.query().unwrap_or(""), name) {
            Found::Absent => return Ok(Yield::Nothing),
            Found::Several => Said::Unusable,
            Found::Once(value) => said_decoded(query::decode(value)),
        };
        let Some(entitled) = entitled else { return Ok(self.claimed(said, "query")) };
        match said {
            Said::Nothing => Ok(Yield::Unusable),
            Said::Unusable => Err(Stop::Refused(Error::new(
                ErrorKind::BadRequest,
                format!("the query parameter `{name}` must name one tenant, once"),
            ))),
            Said::Name(tenant) => {
                let (carriers, proof) = entitled.by(&tenant, evidence).ok_or_else(|| not_entitled(name))?;
                Ok(Yield::Is(Picked {
                    name: Name::Text(tenant),
                    issuer: Issuer::Kind("query"),
                    kind: Kind::Verified,
                    carriers: self.carriers | carriers,
                    proof,
                }))
            }
        }
    }

    /// Checks that a later source does not contradict the winner.
    fn agree(&self, which: Which, evidence: &Evidence<'_>, winner: &Picked<'_>) -> Result<(), Stop> {
        let verified = match &self.from {
            From::Jwt(_) | From::Header(_) => true,
            From::Ask => evidence.asked.is_some(), // it is not asked only to be compared
            From::Query(name, Some(_)) => !says_the_same(name, evidence.seen, winner),
            _ => false,
        };
        if !verified || winner.kind != Kind::Verified {
            return Ok(());
        }
        match self.read(which, evidence)? {
            Yield::Is(other)
                if other.name.as_str() != winner.name.as_str() && other.proof.contradicts(winner.proof) =>
            {
                Err(Stop::Refused(Error::new(
                    ErrorKind::IdentityConflict,
                    "two proofs of identity in the request name different ones",
                )))
            }
            _ => Ok(()),
        }
    }

    fn verified<'a>(&self, name: Name<'a>, issuer: &'static str, proof: Proof) -> Yield<'a> {
        let (issuer, kind) = (Issuer::Kind(issuer), Kind::Verified);
        Yield::Is(Picked { name, issuer, kind, carriers: self.carriers, proof })
    }

    /// An empty cookie or parameter is there and no identity.
    fn claimed<'a>(&self, said: Said<Cow<'a, str>>, issuer: &'static str) -> Yield<'a> {
        match said {
            Said::Nothing | Said::Unusable => Yield::Unusable,
            Said::Name(name) => Yield::Is(Picked {
                name: Name::Text(name),
                issuer: Issuer::Kind(issuer),
                kind: Kind::Claimed,
                carriers: self.carriers,
                proof: Proof::None,
            }),
        }
    }
}

impl Entitlement {
    /// What proves that the tenant may be named, if anything does, and what carries that.
    fn by(&self, tenant: &str, evidence: &Evidence<'_>) -> Option<(Set, Proof)> {
        let role = evidence.role.filter(|role| role.kind == Kind::Verified);
        if let Some(role) = role.filter(|role| self.roles.iter().any(|known| known == role.name.as_str())) {
            return Some((role.carriers, role.proof));
        }
        let (token, carriers) = evidence.token?;
        let tenants = token.lists.get(self.list?)?;
        tenants.iter().any(|known| &**known == tenant).then_some((carriers, Proof::Token))
    }
}

fn not_entitled(name: &str) -> Stop {
    let detail = format!("the credential is not entitled to the tenant that `{name}` names");
    Stop::Refused(Error::new(ErrorKind::Forbidden, detail))
}

fn says_the_same(name: &str, seen: &Seen<'_>, winner: &Picked<'_>) -> bool {
    let Found::Once(value) = query::find(seen.uri.query().unwrap_or(""), name) else { return false };
    query::decode(value).is_some_and(|value| value == winner.name.as_str())
}

/// What one name of a pattern stands for, where the path matches. (`PathPattern::captures` would collect all of them.)
fn capture<'a>(pattern: &PathPattern, name: &str, path: &'a str) -> Option<&'a str> {
    let mut rest = Some(path.strip_prefix('/')?);
    let mut found = None;
    for segment in pattern.segments() {
        let left = rest?;
        let (part, after) = left.split_once('/').map_or((left, None), |(part, after)| (part, Some(after)));
        let (stands_for, after) = match segment {
            Segment::Static(text) if text == part => (part, after),
            Segment::Param(_) if !part.is_empty() => (part, after),
            Segment::Rest(_) => (left, None),
            _ => return None,
        };
        if segment.name() == Some(name) {
            found = Some(stands_for);
        }
        rest = after;
    }
    if rest.is_none() { found } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn one_capture_is_what_all_captures_say(
            pattern in "(/(a|\\{x\\}|\\{y\\}|)){1,4}(/\\{\\*r\\})?",
            path in "(/[ab]{0,2}){0,5}",
        ) {
            if let Ok(pattern) = PathPattern::parse(&pattern) {
                let all = pattern.captures(&path);
                for name in ["x", "y", "r"] {
                    let expected = all.as_ref().and_then(|all| all.iter().find(|(n, _)| *n == name)).map(|(_, v)| *v);
                    prop_assert_eq!(capture(&pattern, name, &path), expected);
                }
            }
        }
    }
}
