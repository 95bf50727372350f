//! The fields of a hit as they are sent: rendered once a second for what is asked for often.
//!
//! `Age`, and the `ttl` of `Cache-Status`, change by the second, and everything else of a hit's head is settled when it is
//! stored. Each thread keeps a few heads that it has rendered; a further hit within the same second clones one, which is what
//! any server has to do for its answer.
//!
//! Keeps: a head is found by the number of its stored response, which no other response of the process has, and by everything
//! else that it was rendered from; what is kept is bounded, and holds no content.

use std::cell::RefCell;

use http::header::{AGE, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::verdict::Verdict;
use crate::stored::StoredResponse;

/// How many heads a thread keeps; a power of two.
const SLOTS: usize = 256;
/// What a head that is kept may have: so many fields, and so many bytes in their values.
const MOST_FIELDS: usize = 64;
const MOST_BYTES: usize = 4 * 1024;

/// What a head is rendered from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct From {
    response: u64,
    age: u64,
    ttl: Option<i64>,
    /// The number of the reason, and of the word of `X-Cache`.
    verdict: (u8, u8),
}

/// A head that was rendered twice in one second is kept; before that, only that it was once.
#[derive(Default)]
struct Slot {
    from: Option<From>,
    headers: Option<HeaderMap>,
}

thread_local! {
    static KEPT: RefCell<Vec<Slot>> = const { RefCell::new(Vec::new()) };
}

/// The head of a hit on `stored`, which is `age` seconds old and fresh for `ttl` more.
pub(super) fn of_hit(stored: &StoredResponse, age: u64, ttl: Option<i64>, verdict: &Verdict) -> HeaderMap {
    let Some(word) = verdict.plain() else { return render(stored, age, ttl, verdict) };
    let from = From { response: stored.id(), age, ttl, verdict: word };
    KEPT.with_borrow_mut(|kept| {
        if kept.is_empty() {
            kept.resize_with(SLOTS, Slot::default);
        }
        let place = usize::try_from(from.response).unwrap_or_default() % SLOTS;
        let Some(slot) = kept.get_mut(place) else { return render(stored, age, ttl, verdict) };
        if slot.from != Some(from) {
            *slot = Slot { from: Some(from), headers: None };
            return render(stored, age, ttl, verdict);
        }
        if let Some(headers) = &slot.headers {
            return headers.clone();
        }
        let headers = render(stored, age, ttl, verdict);
        let bytes: usize = headers.values().map(HeaderValue::len).sum();
        if headers.len() <= MOST_FIELDS && bytes <= MOST_BYTES {
            slot.headers = Some(headers.clone());
        }
        headers
    })
}

fn render(stored: &StoredResponse, age: u64, ttl: Option<i64>, verdict: &Verdict) -> HeaderMap {
    let mut headers = stored.header_map();
    headers.insert(AGE, HeaderValue::from(age));
    if stored.status != StatusCode::NO_CONTENT {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(stored.body.len()));
    }
    verdict.write(&mut headers, ttl);
    headers
}
