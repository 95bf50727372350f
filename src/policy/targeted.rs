//! Targeted fields (RFC 9213): `Cache-Control` under another name, for some caches only, as a structured field.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::cache_control::{CacheControl, MAX_DELTA, may_name_fields};
use super::field_names::field_names;

/// The directives of a targeted field, and the fields that `no-cache` and `private` name. `None`: it is not there, empty, or
/// not what section 2.1 asks for, and so ignored as a whole.
pub(super) fn read(headers: &HeaderMap, name: &HeaderName) -> Option<(CacheControl, Vec<HeaderName>)> {
    if !headers.contains_key(name) {
        return None;
    }
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let members: Dictionary = Parser::new(&lines.join(&b", "[..])).parse().ok()?;
    let (mut directives, mut named) = (CacheControl::default(), Vec::new());
    for (key, member) in &members {
        directive(key.as_str(), member, &mut directives, &mut named)?;
    }
    (!members.is_empty()).then_some((directives, named))
}

/// Takes one directive over. `None`: its value is not of the type that the directive has (section 2.1).
fn directive(
    key: &str,
    member: &ListEntry,
    cc: &mut CacheControl,
    named: &mut Vec<HeaderName>,
) -> Option<()> {
    let flag = match key {
        "no-store" => &mut cc.no_store,
        "no-cache" => &mut cc.no_cache,
        "private" => &mut cc.private,
        "public" => &mut cc.public,
        "must-revalidate" => &mut cc.must_revalidate,
        "proxy-revalidate" => &mut cc.proxy_revalidate,
        "must-understand" => &mut cc.must_understand,
        "immutable" => &mut cc.immutable,
        _ => return age(key, member, cc),
    };
    match bare(member)? {
        BareItem::Boolean(true) => *flag = true,
        BareItem::String(list) if may_name_fields(key.as_bytes()) => {
            match field_names(list.as_str().as_bytes()) {
                Some(more) => named.extend(more),
                None => *flag = true,
            }
        }
        _ => return None,
    }
    Some(())
}

fn age(key: &str, member: &ListEntry, cc: &mut CacheControl) -> Option<()> {
    let slot = match key {
        "max-age" => &mut cc.max_age,
        "s-maxage" => &mut cc.s_maxage,
        "stale-while-revalidate" => &mut cc.stale_while_revalidate,
        "stale-if-error" => &mut cc.stale_if_error,
        // An unknown directive is ignored, whatever its value.
        _ => return Some(()),
    };
    let BareItem::Integer(seconds) = bare(member)? else { return None };
    let seconds = u64::try_from(i64::from(*seconds)).ok()?;
    *slot = Some(Duration::from_secs(seconds.min(MAX_DELTA)));
    Some(())
}

/// The value without its parameters, which mean nothing here (section 2.1).
fn bare(member: &ListEntry) -> Option<&BareItem> {
    match member {
        ListEntry::Item(item) => Some(&item.bare_item),
        ListEntry::InnerList(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAME: HeaderName = HeaderName::from_static("cdn-cache-control");

    fn parsed(lines: &[&[u8]]) -> Option<(CacheControl, Vec<HeaderName>)> {
        let lines = lines.iter().map(|line| (NAME, HeaderValue::from_bytes(line).unwrap()));
        read(&lines.collect(), &NAME)
    }

    #[test]
    fn rfc9213_2_1_directives_are_members_of_a_dictionary() {
        let (cc, named) =
            parsed(&[b"max-age=60;x=1, foobar, no-cache=\"x-a\"", b"must-revalidate, private"]).unwrap();
        assert_eq!(cc.max_age, Some(Duration::from_secs(60)));
        assert!(cc.must_revalidate && cc.private && !cc.no_cache && named == ["x-a"]);
        let huge = parsed(&[b"max-age=99999999999"]).unwrap().0;
        assert_eq!(huge.max_age, Some(Duration::from_secs(MAX_DELTA)));
        assert!(parsed(&[b"no-cache=\"a b\""]).unwrap().0.no_cache, "no list of fields: the whole");
        assert_eq!(parsed(&[b"none"]).unwrap().0, CacheControl::default());
    }

    #[test]
    fn rfc9213_2_1_what_is_no_dictionary_or_has_a_wrong_type_is_ignored_whole() {
        for wrong in [
            "",
            " ",
            "max-age=10000, &&&&&",
            "max-age=\"10000\"",
            "max-age=1.5",
            "max-age=-1",
            "max-age",
            "MaX-aGe=1",
            "max-age =1",
            "no-store=1",
            "no-store=?0",
            "no-store=x",
            "private=a",
            "max-age=(1 2)",
            "max-age=1,",
        ] {
            assert_eq!(parsed(&[wrong.as_bytes()]), None, "{wrong}");
        }
        assert_eq!(read(&HeaderMap::new(), &NAME), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(value in proptest::collection::vec(0x20_u8..=0xff, 0..64)) {
            if HeaderValue::from_bytes(&value).is_ok() {
                let _ = parsed(&[&value]);
            }
        }
    }
}
