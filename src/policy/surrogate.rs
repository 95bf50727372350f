//! What applications say to surrogates alone: `Surrogate-Control` (the W3C note "Edge Architecture Specification", section
//! 2.2) and `X-Accel-Expires`.
//!
//! Keeps: neither leaves Larder; each is kept beside the stored response, because a 304 that does not repeat it leaves it in
//! force (RFC 9111 section 3.2).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::cache_control::{CacheControl, MAX_DELTA};
use super::date;
use crate::clock::Now;
use crate::http::fields::members;

const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");
const X_ACCEL_EXPIRES: HeaderName = HeaderName::from_static("x-accel-expires");

/// The fields that are for surrogates only: they are taken out of what a client gets.
pub const FOR_SURROGATES: [HeaderName; 2] = [SURROGATE_CONTROL, X_ACCEL_EXPIRES];

/// By which name applications may speak to this surrogate alone.
pub const DEVICE: &str = "larder";

/// What `Surrogate-Control` says to Larder. `None`: nothing that concerns it.
///
/// Directives for other devices, `content` and unknown ones mean nothing here; so does `no-store-remote`, because Larder
/// stands beside its origin. What is said to Larder by name wins over what is said to all.
pub(super) fn control(headers: &HeaderMap) -> Option<CacheControl> {
    let (mut all, mut own) = (None, None);
    let mut no_store = false;
    for member in headers.get_all(SURROGATE_CONTROL).iter().flat_map(|line| members(line.as_bytes())) {
        let mut parts = member.split(|b| *b == b';');
        let directive = parts.next().unwrap_or_default().trim_ascii();
        let targets: Vec<&[u8]> = parts.map(<[u8]>::trim_ascii).collect();
        let mine = targets.iter().any(|target| target.eq_ignore_ascii_case(DEVICE.as_bytes()));
        if !mine && !targets.is_empty() {
            continue;
        }
        no_store |= directive.eq_ignore_ascii_case(b"no-store");
        if let Some(said) = max_age(directive) {
            let slot = if mine { &mut own } else { &mut all };
            *slot = Some(slot.map_or(said, |before: (_, _)| said.min(before)));
        }
    }
    let (max_age, stale) = own.or(all).unzip();
    (no_store || max_age.is_some()).then(|| CacheControl {
        no_store,
        max_age,
        stale_while_revalidate: stale.flatten(),
        ..CacheControl::default()
    })
}

/// `max-age=N` or `max-age=N+M`; a value that cannot be read is zero.
fn max_age(directive: &[u8]) -> Option<(Duration, Option<Duration>)> {
    let at = memchr::memchr(b'=', directive)?;
    if !directive[..at].eq_ignore_ascii_case(b"max-age") {
        return None;
    }
    let value = &directive[at + 1..];
    let (lifetime, more) = match memchr::memchr(b'+', value) {
        Some(plus) => (&value[..plus], Some(&value[plus + 1..])),
        None => (value, None),
    };
    Some((digits(lifetime).unwrap_or_default(), more.map(|more| digits(more).unwrap_or_default())))
}

/// `X-Accel-Expires`: seconds, or `@` and a moment since the Unix epoch; zero forbids storing. `None`: it is not there, or
/// says something else (`off`), which is the same. Of several the shortest counts.
pub(super) fn accelerated(headers: &HeaderMap, received: Now) -> Option<CacheControl> {
    let read = |value: &HeaderValue| {
        let text = value.as_bytes().trim_ascii();
        match text.strip_prefix(b"@") {
            // As `Expires`: counted from `Date`.
            Some(moment) => {
                let date = date::of(headers, &http::header::DATE, received).unwrap_or(received.wall);
                Some((digits(moment)?.saturating_sub(date), false))
            }
            None => digits(text).map(|seconds| (seconds, seconds.is_zero())),
        }
    };
    let (max_age, no_store) = headers.get_all(X_ACCEL_EXPIRES).iter().filter_map(read).min()?;
    Some(CacheControl { no_store, max_age: Some(max_age), ..CacheControl::default() })
}

/// A number of seconds, not more than the largest.
fn digits(text: &[u8]) -> Option<Duration> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = text.iter().fold(0_u64, |n, d| n.saturating_mul(10).saturating_add(u64::from(d - b'0')));
    Some(Duration::from_secs(number.min(MAX_DELTA)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &'static str, lines: &[&str]) -> HeaderMap {
        lines.iter().map(|v| (HeaderName::from_static(name), HeaderValue::from_str(v).unwrap())).collect()
    }

    fn said(line: &str) -> Option<(bool, Option<u64>, Option<u64>)> {
        let secs = |d: Option<Duration>| d.map(|d| d.as_secs());
        control(&map("surrogate-control", &[line]))
            .map(|cc| (cc.no_store, secs(cc.max_age), secs(cc.stale_while_revalidate)))
    }

    #[test]
    fn edge_architecture_2_2_directives_in_any_case_clamped_and_with_a_stale_window() {
        assert_eq!(said("foobar, MaX-aGe=3600"), Some((false, Some(3_600), None)));
        assert_eq!(said("max-age=600+30, content=\"ESI/1.0, x\""), Some((false, Some(600), Some(30))));
        assert_eq!(said("max-age=99999999999999999999999"), Some((false, Some(MAX_DELTA), None)));
        assert_eq!(said("no-store"), Some((true, None, None)));
        assert_eq!(said("max-age= 100"), Some((false, Some(0), None)), "unreadable: stale");
        for nothing in ["", "max-age =100", "content=\"ESI/1.0\"", "no-store-remote", "max-age"] {
            assert_eq!(said(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn edge_architecture_2_3_a_directive_with_a_target_is_for_that_device() {
        assert_eq!(said("max-age=60;other"), None);
        assert_eq!(said("no-store;other, max-age=60"), Some((false, Some(60), None)));
        assert_eq!(said("max-age=60;Larder"), Some((false, Some(60), None)));
        assert_eq!(said("max-age=60, max-age=600; larder"), Some((false, Some(600), None)));
        assert_eq!(said("max-age=60, max-age=6"), Some((false, Some(6), None)));
    }

    #[test]
    fn x_accel_expires_is_seconds_or_a_moment_and_zero_forbids_storing() {
        let now = Now { mono: Duration::ZERO, wall: Duration::from_secs(1_000) };
        let said = |lines: &[&str]| {
            accelerated(&map("x-accel-expires", lines), now)
                .map(|cc| (cc.no_store, cc.max_age.unwrap_or_default().as_secs()))
        };
        assert_eq!(said(&["60"]), Some((false, 60)));
        assert_eq!(said(&["@1060"]), Some((false, 60)));
        assert_eq!(said(&["@900"]), Some((false, 0)));
        assert_eq!(said(&["0"]), Some((true, 0)));
        assert_eq!(said(&["60", "6"]), Some((false, 6)));
        for nothing in [&[][..], &["off"], &["-1"], &[""], &["1.5"], &["@"]] {
            assert_eq!(said(nothing), None, "{nothing:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(line: Vec<u8>) {
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                let headers: HeaderMap = FOR_SURROGATES.into_iter().map(|name| (name, value.clone())).collect();
                let now = Now { mono: Duration::ZERO, wall: Duration::ZERO };
                let _ = (control(&headers), accelerated(&headers, now));
            }
        }
    }
}
