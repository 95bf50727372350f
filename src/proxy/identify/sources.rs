//! The sources of tenant, user and role as the configuration lists them, with what may carry each.

use http::HeaderName;

use super::SetupError;
use super::carriers::{Carrier, Set, Table};
use super::jwt::Wanted;
use crate::config::{self, HostPattern, PathPattern};

/// The sources of one of the three.
#[derive(Debug, Default)]
pub(super) struct List(pub(super) Vec<Source>);

/// One source.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) from: From,
    /// All that may carry it.
    pub(super) carriers: Set,
}

/// Where a name is found.
#[derive(Debug)]
pub(super) enum From {
    /// A name of the token, by its number in [`Wanted::names`].
    Jwt(usize),
    Ask,
    Header(HeaderName),
    Host(HostPattern),
    Path(PathPattern, String),
    Cookie(String),
    Query(String, Option<Entitlement>),
}

/// What makes a named tenant a verified one.
#[derive(Debug)]
pub(super) struct Entitlement {
    /// A list of the token, by its number in [`Wanted::lists`].
    pub(super) list: Option<usize>,
    pub(super) roles: Vec<String>,
}

/// What is being built while the configuration is read.
#[derive(Debug, Default)]
pub(super) struct Builder {
    pub(super) table: Table,
    pub(super) wanted: Wanted,
    /// What may carry the token.
    pub(super) token: Set,
    /// Where the token comes in `Authorization`.
    pub(super) bearer: Set,
    /// What may carry the credential of `ask`.
    pub(super) ask: Set,
}

impl Builder {
    /// Notes what carries tokens and the credential of `ask`.
    pub(super) fn new(config: &config::Identity) -> Result<Self, SetupError> {
        let mut builder = Self::default();
        if let Some(jwt) = &config.jwt {
            builder.bearer = builder.table.set_of(Carrier::Bearer)?;
            builder.token = builder.bearer;
            if let Some(cookie) = &jwt.cookie {
                builder.token |= builder.table.set_of(Carrier::Cookie(cookie.clone()))?;
            }
        }
        if let Some(ask) = &config.ask {
            builder.ask = builder.table.set_of(Carrier::Authorization)?;
            match &ask.cookies {
                None => builder.ask |= builder.table.set_of(Carrier::Cookies)?,
                Some(cookies) => {
                    for cookie in cookies {
                        builder.ask |= builder.table.set_of(Carrier::Cookie(cookie.clone()))?;
                    }
                }
            }
        }
        Ok(builder)
    }

    /// The list of these sources.
    pub(super) fn list(&mut self, sources: &[config::Source]) -> Result<List, SetupError> {
        sources.iter().map(|source| self.source(source)).collect::<Result<_, _>>().map(List)
    }

    fn source(&mut self, source: &config::Source) -> Result<Source, SetupError> {
        let (from, carriers) = match source {
            config::Source::Jwt(claim) => (From::Jwt(number(&mut self.wanted.names, claim)), self.token),
            config::Source::Ask => (From::Ask, self.ask),
            config::Source::Header(name) => {
                (From::Header(name.clone()), self.table.set_of(Carrier::Header(name.clone()))?)
            }
            config::Source::Host(pattern) => (From::Host(pattern.clone()), 0),
            config::Source::Path(pattern, name) => (From::Path(pattern.clone(), name.clone()), 0),
            config::Source::Cookie(name) => {
                (From::Cookie(name.clone()), self.table.set_of(Carrier::Cookie(name.clone()))?)
            }
            config::Source::Query { name, entitled } => {
                let entitled = entitled.as_ref().map(|entitled| Entitlement {
                    list: entitled.jwt.as_ref().map(|claim| number(&mut self.wanted.lists, claim)),
                    roles: entitled.roles.clone(),
                });
                (From::Query(name.clone(), entitled), self.table.set_of(Carrier::Query(name.clone()))?)
            }
        };
        Ok(Source { from, carriers })
    }
}

fn number(all: &mut Vec<String>, one: &str) -> usize {
    all.iter().position(|known| known == one).unwrap_or_else(|| {
        all.push(one.to_owned());
        all.len() - 1
    })
}
