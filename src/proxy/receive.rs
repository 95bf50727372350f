//! Moves the body of an answer from the origin to those who read it.

use std::time::Duration;

use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;

use crate::cache::{Reader, SharedBody};
use crate::error::{BoxError, Error, ErrorKind};
use crate::http::Body;

/// The length that the origin announced.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// How long a body that is too large to store waits for its first reader, who was told of it a moment ago.
const ATTENDANCE: Duration = Duration::from_secs(5);

/// Moves the body over. A body that is shorter or longer than announced is not complete (invariant 4).
/// `keeper` is a reader that reads nothing: it holds the place until the first of those who waited is there.
pub(super) async fn receive(
    mut body: Body,
    content: &SharedBody,
    mut keeper: Option<Reader>,
    announced: Option<u64>,
) -> Result<Option<HeaderMap>, Error> {
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        match frame.map_err(|error| broken(&error))?.into_data() {
            Ok(chunk) if chunk.is_empty() => {}
            Ok(chunk) => {
                if announced == Some(content.received() + chunk.len() as u64) {
                    content.add_last(chunk);
                } else {
                    content.add(chunk);
                }
                if keeper.is_some() && content.is_windowed() {
                    // If nobody comes, the room below is abandoned.
                    let _ = tokio::time::timeout(ATTENDANCE, content.attended(2)).await;
                    keeper = None;
                }
                let gone = |_| Error::new(ErrorKind::OriginBroken, "nobody reads the answer any more");
                content.room().await.map_err(gone)?;
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    match announced {
        Some(length) if length != content.received() => {
            Err(Error::new(ErrorKind::OriginBroken, "the answer is not as long as the application announced"))
        }
        _ => Ok(trailers),
    }
}

fn broken(error: &BoxError) -> Error {
    match error.downcast_ref::<Error>() {
        Some(error) => error.clone(),
        None => Error::new(ErrorKind::OriginBroken, "the application broke its answer off"),
    }
}
