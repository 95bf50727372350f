//! Answers to requests for a range: what is cut out of a response, and the bodies that a cut and a completion make.
//!
//! Keeps: a cut body gives exactly the bytes that its head announced, or an error; never a clean end before that.

use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, EXPIRES, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::clock::Now;
use crate::error::{BoxError, Error, ErrorKind};
use crate::http::Body;
use crate::policy::ranges::{self, Asked, ContentRange, Cut, Extent, Span};
use crate::stored::StoredResponse;

/// The bytes of a stored response, and where they lie in the whole. `None`: nothing can be cut from it.
pub(super) fn extent(stored: &StoredResponse) -> Option<Extent> {
    let length = stored.body.len() as u64;
    match stored.status {
        StatusCode::OK => Extent::whole(length),
        StatusCode::PARTIAL_CONTENT => {
            let range = ContentRange::parse(&stored.field(&CONTENT_RANGE)?)?;
            Some(Extent { range, length })
        }
        _ => None,
    }
}

/// Whether a stored part answers a request for `span`: it holds the range, and the request's `If-Range` lets it.
pub(super) fn answers(part: &StoredResponse, span: Span, request: &HeaderMap, now: Now) -> bool {
    let fields = part.header_map();
    cut(Asked::One(span), request, extent(part), |name| fields.get(name), now).is_some()
}

/// What a request for a range gets of a response with this extent and these fields. `None`: all of it, for nothing else was
/// asked for, or the request's `If-Range` says so (RFC 9110 section 13.2.2).
pub(super) fn cut<'a>(
    asked: Asked,
    request: &HeaderMap,
    extent: Option<Extent>,
    field: impl Fn(&HeaderName) -> Option<&'a HeaderValue>,
    now: Now,
) -> Option<Cut> {
    let (Asked::One(span), Some(extent)) = (asked, extent) else { return None };
    let cut = extent.cut(span);
    (cut != Cut::Missing && ranges::if_range_holds(request, field, now)).then_some(cut)
}

/// Makes the head of a whole response or of a part that of a 206 or 416, and says which of the bytes go with it.
pub(super) fn head(cut: &Cut, headers: &mut HeaderMap) -> (StatusCode, Range<u64>) {
    ranges::OF_THE_BYTES.iter().for_each(|name| drop(headers.remove(name)));
    match cut {
        Cut::Part(at, range) => {
            headers.insert(CONTENT_RANGE, ranges::value(range));
            headers.insert(CONTENT_LENGTH, HeaderValue::from(range.length()));
            (StatusCode::PARTIAL_CONTENT, at.clone())
        }
        Cut::Unsatisfiable(complete) => {
            // What describes the content, and what lets others keep it, says nothing of the refusal.
            let of_content =
                [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, ETAG, LAST_MODIFIED, EXPIRES, AGE];
            of_content.iter().for_each(|name| drop(headers.remove(name)));
            // Targeted fields end so by convention (RFC 9213 section 2).
            let targeted = |name: &&HeaderName| name.as_str().ends_with("-cache-control");
            while let Some(name) = headers.keys().find(targeted).cloned() {
                headers.remove(name);
            }
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(CONTENT_RANGE, ranges::value(&format_args!("bytes */{complete}")));
            headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
            (StatusCode::RANGE_NOT_SATISFIABLE, 0..0)
        }
        Cut::Missing => (StatusCode::PARTIAL_CONTENT, 0..0),
    }
}

/// These bytes of a content in memory, without a copy.
pub(super) fn slice(content: &Bytes, at: &Range<u64>) -> Bytes {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(content.len());
    let (start, end) = (place(at.start), place(at.end));
    content.slice(start..end.max(start))
}

/// These bytes of a body, as they come. What comes after them is not waited for.
pub(super) struct Trimmed {
    body: Body,
    skip: u64,
    take: u64,
}

impl Trimmed {
    pub(super) fn new(body: Body, at: &Range<u64>) -> Self {
        Self { body, skip: at.start, take: at.end - at.start }
    }

    /// What of a chunk is wanted.
    fn trim(&mut self, mut chunk: Bytes) -> Bytes {
        let within =
            |count: u64, chunk: &Bytes| usize::try_from(count).unwrap_or(usize::MAX).min(chunk.len());
        let before = chunk.split_to(within(self.skip, &chunk));
        self.skip -= before.len() as u64;
        chunk.truncate(within(self.take, &chunk));
        self.take -= chunk.len() as u64;
        chunk
    }
}

impl HttpBody for Trimmed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        while self.take > 0 {
            let frame = match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(frame) => frame?,
                None => {
                    let short = Error::new(ErrorKind::OriginBroken, "the answer ended before the range did");
                    return Poll::Ready(Some(Err(short.into())));
                }
            };
            let Ok(chunk) = frame.into_data() else { continue };
            let chunk = self.trim(chunk);
            if !chunk.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.take == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.take)
    }
}

/// Bytes that are there, followed by the rest as it comes.
pub(super) struct Continued {
    pub(super) first: Option<Bytes>,
    pub(super) rest: Body,
}

impl HttpBody for Continued {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    /// The bytes in chunks of this size.
    struct Chunks(Bytes, usize);

    impl HttpBody for Chunks {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            let size = self.1.min(self.0.len());
            let chunk = self.0.split_to(size);
            Poll::Ready((size > 0).then(|| Ok(Frame::data(chunk))))
        }
    }

    #[test]
    fn a_refusal_lets_no_cache_downstream_keep_it() {
        let mut headers = HeaderMap::new();
        for name in ["cdn-cache-control", "larder-cache-control", "cache-control", "expires"] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("max-age=60"));
        }
        let (status, at) = head(&Cut::Unsatisfiable(10), &mut headers);
        assert_eq!((status, at), (StatusCode::RANGE_NOT_SATISFIABLE, 0..0));
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert!(left.len() == 3 && headers[CACHE_CONTROL] == "no-store", "{left:?}");
    }

    #[tokio::test]
    async fn a_trimmed_body_is_the_slice_however_it_is_chunked() {
        let all = Bytes::from_static(b"0123456789");
        for size in 1..=10 {
            for (from, to) in [(0, 1), (0, 10), (3, 7), (9, 10)] {
                let body = Body::wrap(Chunks(all.clone(), size));
                let trimmed = Trimmed::new(body, &(from..to));
                assert_eq!(trimmed.size_hint().exact(), Some(to - from));
                let got = trimmed.collect().await.unwrap().to_bytes();
                assert_eq!(got, slice(&all, &(from..to)), "{size} {from}..{to}");
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_ends_before_the_range_does_is_an_error() {
        let trimmed = Trimmed::new(Body::from("0123"), &(2..5));
        assert!(trimmed.collect().await.is_err());
    }

    #[tokio::test]
    async fn the_rest_follows_what_is_there() {
        let body = Continued { first: Some(Bytes::from_static(b"012")), rest: Body::from("345") };
        assert_eq!(body.collect().await.unwrap().to_bytes(), "012345");
    }
}
