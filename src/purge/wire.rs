//! A purge as it stands in a log that several nodes share: JSON, which people can read.
//!
//! Invariant: a record that this node does not understand, of a later version say, covers everything. Names are written
//! out, not digests of them: every node has digests of its own, and numbers its stores as its file does.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};

use super::coverage::{Mode, Selector, Where};
use super::record::{Causer, Purge};
use crate::identity::{Kind, User};
use crate::key::CacheKey;
use crate::tag::Pattern;

/// The version of the form. What a node of an earlier one would misread needs another.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    v: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    soft: bool,
    whose: Whose,
    /// Who caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<u64>,
    what: Vec<Named>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Whose {
    All,
    Public,
    Tenant(Arc<str>),
    TenantOnly(Arc<str>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Named {
    Everything,
    Url { authority: String, target: String },
    Key(String),
    Route(Arc<str>),
    Store(String),
    Tag(Arc<str>),
    Group { authority: String, name: Arc<str> },
    User { name: Arc<str>, issuer: Arc<str>, verified: bool },
    Pattern(String),
}

/// A purge as text. `stores` are the names of the stores by their numbers.
pub fn written(purge: &Purge, stores: &[String]) -> String {
    let line = Line {
        v: VERSION,
        soft: purge.mode == Mode::Soft,
        whose: match &purge.whose {
            Where::All => Whose::All,
            Where::Public => Whose::Public,
            Where::Tenant(name) => Whose::Tenant(name.clone()),
            Where::TenantOnly(name) => Whose::TenantOnly(name.clone()),
        },
        by: purge.by.map(Causer::number),
        what: purge.selectors.iter().map(|selector| named(selector, stores)).collect(),
    };
    // Strings and numbers only: there is nothing in it that could not be written. If there were, an empty record
    // is not understood by any node, and so covers everything.
    serde_json::to_string(&line).unwrap_or_default()
}

fn named(selector: &Selector, stores: &[String]) -> Named {
    match selector {
        Selector::Everything => Named::Everything,
        Selector::Url { authority, target } => {
            Named::Url { authority: authority.clone(), target: target.clone() }
        }
        Selector::Key(key) => Named::Key(BASE64.encode(key.as_bytes())),
        Selector::Route(name) => Named::Route(name.clone()),
        // A number without a name cannot occur; everything is more than whatever it meant.
        Selector::Store(number) => {
            stores.get(*number).map_or(Named::Everything, |name| Named::Store(name.clone()))
        }
        Selector::Tag(name) => Named::Tag(name.clone()),
        Selector::Group { authority, name } => {
            Named::Group { authority: authority.clone(), name: name.clone() }
        }
        Selector::User(user) => Named::User {
            name: user.name.clone(),
            issuer: user.issuer.clone(),
            verified: user.kind == Kind::Verified,
        },
        Selector::Pattern(pattern) => Named::Pattern(pattern.as_str().to_owned()),
    }
}

/// A purge from its text. What is not understood is a purge of everything.
pub fn read(text: &[u8], stores: &[String]) -> Purge {
    let line = serde_json::from_slice::<Line>(text).ok().filter(|line| line.v == VERSION);
    line.and_then(|line| understood(line, stores)).unwrap_or_else(|| {
        tracing::warn!("a purge in the shared log is not understood by this version: everything is purged");
        Purge::hard(vec![Selector::Everything], Where::All)
    })
}

fn understood(line: Line, stores: &[String]) -> Option<Purge> {
    let whose = match line.whose {
        Whose::All => Where::All,
        Whose::Public => Where::Public,
        Whose::Tenant(name) => Where::Tenant(name),
        Whose::TenantOnly(name) => Where::TenantOnly(name),
    };
    let mut selectors = Vec::with_capacity(line.what.len());
    for named in line.what {
        selectors.push(match named {
            Named::Everything => Selector::Everything,
            Named::Url { authority, target } => Selector::Url { authority, target },
            Named::Key(text) => Selector::Key(CacheKey::read(BASE64.decode(text).ok()?)?),
            Named::Route(name) => Selector::Route(name),
            Named::Store(name) => match stores.iter().position(|known| *known == name) {
                Some(number) => Selector::Store(number),
                // Nothing here lies in a store that this node does not have.
                None => continue,
            },
            Named::Tag(name) => Selector::Tag(name),
            Named::Group { authority, name } => Selector::Group { authority, name },
            Named::User { name, issuer, verified } => {
                let kind = if verified { Kind::Verified } else { Kind::Claimed };
                Selector::User(User { name, issuer, kind })
            }
            Named::Pattern(text) => Selector::Pattern(Pattern::new(&text)),
        });
    }
    let mode = if line.soft { Mode::Soft } else { Mode::Hard };
    Some(Purge { selectors, whose, mode, by: line.by.map(Causer::of_number) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyParts;
    use proptest::prelude::*;

    fn stores() -> Vec<String> {
        vec!["default".to_owned(), "api".to_owned()]
    }

    fn selector() -> impl Strategy<Value = Selector> {
        let text = || "\\PC{0,20}";
        prop_oneof![
            Just(Selector::Everything),
            (text(), text()).prop_map(|(authority, target)| Selector::Url { authority, target }),
            text().prop_map(|path| {
                Selector::Key(CacheKey::new(&KeyParts { path: &path, ..KeyParts::PLAIN }).unwrap())
            }),
            text().prop_map(|name| Selector::Route(name.into())),
            (0..2_usize).prop_map(Selector::Store),
            text().prop_map(|name| Selector::Tag(name.into())),
            (text(), text()).prop_map(|(authority, name)| Selector::Group { authority, name: name.into() }),
            (text(), text(), any::<bool>()).prop_map(|(name, issuer, verified)| {
                let kind = if verified { Kind::Verified } else { Kind::Claimed };
                Selector::User(User { name: name.into(), issuer: issuer.into(), kind })
            }),
            text().prop_map(|text| Selector::Pattern(Pattern::new(&text))),
        ]
    }

    fn whose() -> impl Strategy<Value = Where> {
        prop_oneof![
            Just(Where::All),
            Just(Where::Public),
            "\\PC{0,20}".prop_map(|name| Where::Tenant(name.into())),
            "\\PC{0,20}".prop_map(|name| Where::TenantOnly(name.into())),
        ]
    }

    proptest! {
        #[test]
        fn a_purge_is_read_back_as_it_was_written(
            selectors in prop::collection::vec(selector(), 0..5), whose in whose(), soft in any::<bool>(),
            by in prop::option::of(prop::collection::vec(any::<u8>(), 0..9)),
        ) {
            let mode = if soft { Mode::Soft } else { Mode::Hard };
            let by = by.map(|bytes| Causer::credential(&bytes));
            let purge = Purge { selectors, whose, mode, by };
            prop_assert_eq!(read(written(&purge, &stores()).as_bytes(), &stores()), purge);
        }

        #[test]
        fn no_bytes_make_it_panic_and_what_is_not_understood_covers_everything(
            text in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let purge = read(&text, &stores());
            prop_assert_eq!(purge.selectors, [Selector::Everything]);
        }
    }

    #[test]
    fn a_later_version_and_unknown_words_cover_everything() {
        let everything = Purge::hard(vec![Selector::Everything], Where::All);
        for text in [
            r#"{"v":2,"whose":"all","what":[{"tag":"a"}]}"#,
            r#"{"v":1,"whose":"all","what":[{"colour":"a"}]}"#,
            r#"{"v":1,"whose":"all","what":[{"tag":"a"}],"unless":"x"}"#,
            r#"{"v":1,"whose":"all","what":[{"key":"AAAA"}]}"#,
            "",
        ] {
            assert_eq!(read(text.as_bytes(), &stores()), everything, "{text}");
        }
    }

    #[test]
    fn stores_are_told_by_their_names() {
        let purge = Purge::hard(vec![Selector::Store(1)], Where::All);
        let text = written(&purge, &stores());
        let elsewhere = read(text.as_bytes(), &["api".to_owned()]);
        assert_eq!(elsewhere.selectors, [Selector::Store(0)]);
        assert_eq!(read(text.as_bytes(), &["other".to_owned()]).selectors, []);
    }

    #[test]
    fn who_caused_a_purge_is_known_by_every_node() {
        // The digest must not be keyed with a number of the process: another node has to come to the same.
        assert_eq!(Causer::credential(b"session=1").number(), 0x1dcdab9379140f99);
    }
}
