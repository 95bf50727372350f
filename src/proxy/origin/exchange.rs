//! One exchange with an origin: take a connection, send, wait for the head, hand the body on.
//!
//! Keeps: `timeout` bounds waiting for the head from the moment the request was sent, and a request is sent a second
//! time only where the origin cannot have acted on it, or may act on it twice (RFC 9110 section 9.2.2).

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::upgrade::OnUpgrade;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;

use super::body::{Receiving, Sending, Upload};
use super::head::{self, Wishes};
use super::pool::{Lease, Pool, Sender};
use super::spare::Spare;
use super::tunnel;
use crate::error::{Error, ErrorKind};
use crate::http::{Body, Interim};

/// Sends one request to an origin and gives its answer. The body of the answer may still be on its way. `interim` is who
/// hears what the origin says before.
pub(super) async fn exchange(
    pool: Arc<Pool>,
    request: Request<Body>,
    interim: Option<Interim>,
) -> Result<Response<Body>, Error> {
    let (mut parts, body) = request.into_parts();
    if parts.method == Method::CONNECT {
        return Err(Error::new(ErrorKind::BadRequest, "`CONNECT` is not served"));
    }
    let mut wishes = head::take_wishes(&mut parts.headers).map_err(|name| {
        Error::new(ErrorKind::BadRequest, format!("`Connection` names `{name}`, which frames the message"))
    })?;
    let client = parts.extensions.remove::<OnUpgrade>();
    if client.is_none() || !body.is_end_stream() {
        wishes.upgrade = None; // an upgrade is a wish; the server may ignore it (RFC 9110 section 7.8)
    }
    parts.extensions.clear();
    let (body, upload) = watch(body, &parts.headers);
    let method = parts.method.clone();
    let job = Job { pool, wishes, upload, interim };
    let (answer, mut lease) = job.send(Request::from_parts(parts, body)).await?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return tunnel::join(answer, lease, client, job.wishes.upgrade);
    }
    let (mut parts, body) = answer.into_parts();
    if job.upload.as_ref().is_some_and(|upload| !upload.is_ended())
        && let Some(driver) = lease.driver()
    {
        // The upload goes on whether or not anybody reads the answer.
        driver.detach();
    }
    let to_close = job.pool.origin.unsafe_read_to_close;
    let unused = head::accept(&mut parts, &method, to_close)
        .map_err(|what| job.pool.error(ErrorKind::OriginBroken, what))?;
    if let Some(unused) = unused {
        lease.closes_after(unused);
    }
    Ok(Response::from_parts(parts, Receiving::body(body, lease, job.upload)))
}

fn watch(body: Body, headers: &http::HeaderMap) -> (Body, Option<Arc<Upload>>) {
    if body.is_end_stream() {
        return (Body::empty(), None);
    }
    let (body, upload) = Sending::new(body, head::announced_trailers(headers));
    (Body::wrap(body), Some(upload))
}

/// What stays the same while a request is tried.
struct Job {
    pool: Arc<Pool>,
    wishes: Wishes,
    upload: Option<Arc<Upload>>,
    interim: Option<Interim>,
}

/// Why an attempt gave no answer.
enum Failure {
    /// Nothing was sent: here is the request again.
    Unsent(Box<Request<Body>>),
    /// The connection ended before the first byte of an answer.
    Closed,
    /// Anything else.
    Final(Error),
}

impl Job {
    /// Sends the request, a second time where the pooled connection turned out to be closed.
    async fn send(&self, request: Request<Body>) -> Result<(Response<Incoming>, Lease), Error> {
        let permit = self.pool.permit().await?;
        let mut lease = self.pool.lease(permit, true).await?;
        let spare = if lease.reused { Spare::of(&request) } else { None };
        let again = match self.attempt(&mut lease, request).await {
            Ok(answer) => return Ok((answer, lease)),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Unsent(request)) if lease.reused => *request,
            Err(Failure::Unsent(_) | Failure::Closed) => {
                spare.and_then(Spare::request).ok_or_else(|| self.closed())?
            }
        };
        Box::pin(self.send_again(lease.close(), again)).await
    }

    /// Sends it on a connection of its own.
    async fn send_again(
        &self,
        permit: OwnedSemaphorePermit,
        mut again: Request<Body>,
    ) -> Result<(Response<Incoming>, Lease), Error> {
        head::forget_framing(again.headers_mut());
        let mut lease = self.pool.lease(permit, false).await?;
        match self.attempt(&mut lease, again).await {
            Ok(answer) => Ok((answer, lease)),
            Err(Failure::Final(error)) => Err(error),
            Err(_) => Err(self.closed()),
        }
    }

    fn closed(&self) -> Error {
        self.pool.error(ErrorKind::OriginBroken, "closed the connection before it answered")
    }

    async fn attempt(
        &self,
        lease: &mut Lease,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Failure> {
        let http2 = matches!(lease.sender, Sender::Http2(_));
        head::address(&mut request, &self.pool.origin, &self.wishes, http2);
        // hyper's HTTP/2 client skips them.
        if let Some(client) = self.interim.clone().filter(|_| !http2) {
            head::pass_on_interim(&mut request, client);
        }
        let answer = async {
            match &mut lease.sender {
                Sender::Http1(sender, driver) => driver.drive(sender.try_send_request(request)).await,
                Sender::Http2(sender) => sender.try_send_request(request).await,
            }
        };
        match self.in_time(answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.failure(error)),
            Err(late) => Err(Failure::Final(late)),
        }
    }

    /// Waits for the head: within `timeout` once the request is sent, and as long as something moves before.
    async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Result<T, Error> {
        tokio::pin!(answer);
        loop {
            let uploading = self.upload.as_deref().filter(|upload| !upload.is_ended());
            let seen = uploading.map_or(0, Upload::frames);
            let limit = match uploading {
                Some(_) => self.pool.origin.body_idle,
                None => self.pool.origin.timeout,
            };
            tokio::select! {
                biased;
                answer = &mut answer => return Ok(answer),
                () = ended(uploading) => {}
                () = sleep(limit) => match uploading {
                    Some(upload) if upload.frames() != seen => {}
                    Some(upload) if upload.is_starved() => {
                        return Err(Error::new(ErrorKind::RequestTimeout, "the request's body stood still"));
                    }
                    Some(_) => return Err(self.late("took no more of the request's body")),
                    None => return Err(self.late(format_args!("did not answer within {} s", limit.as_secs_f64()))),
                },
            }
        }
    }

    fn late(&self, what: impl std::fmt::Display) -> Error {
        self.pool.error(ErrorKind::OriginTimeout, what)
    }

    fn failure(&self, mut error: TrySendError<Request<Body>>) -> Failure {
        if let Some(fault) = self.upload.as_ref().and_then(|upload| upload.failure()) {
            return Failure::Final(fault);
        }
        if let Some(request) = error.take_message() {
            return Failure::Unsent(Box::new(request));
        }
        let error = error.into_error();
        tracing::debug!(origin = %self.pool.origin.name, %error, "the exchange failed");
        if error.is_parse() {
            let what = "answered something that is not HTTP";
            return Failure::Final(self.pool.error(ErrorKind::OriginBroken, what));
        }
        Failure::Closed
    }
}

async fn ended(upload: Option<&Upload>) {
    match upload {
        Some(upload) => upload.ended().await,
        None => std::future::pending().await,
    }
}
