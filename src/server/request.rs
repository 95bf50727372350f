//! Between hyper and the service: each request gets a body that may not stand still and that knows the connection; a
//! request that stands for a refused one is answered here and goes no further.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tower_service::Service;

use super::framing::{Next, Refusal, Tap};
use super::patience::Patience;
use crate::config::Limits;
use crate::error::{BoxError, Error, ErrorKind};
use crate::http::interim::{Answering, Line};
use crate::http::{Body, Connection};

/// What the requests of one connection have in common.
#[derive(Debug)]
pub(super) struct About {
    pub(super) connection: Arc<Connection>,
    pub(super) limits: Limits,
    /// HTTP/1 only.
    pub(super) tap: Option<Tap>,
}

/// A service for requests that come one after the other: a clone is the same one. What it holds is shared by all
/// connections, and counting clones of that for each request would cost more than the request, once several cores do it.
#[derive(Debug)]
pub(super) struct InTurn<S>(Arc<Mutex<S>>);

impl<S> InTurn<S> {
    pub(super) fn new(service: S) -> Self {
        Self(Arc::new(Mutex::new(service)))
    }

    fn service(&self) -> MutexGuard<'_, S> {
        // A service that panicked ended its connection with it: there is no next request.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Clone for InTurn<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R, S: Service<R>> Service<R> for InTurn<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service().poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.service().call(request)
    }
}

/// Answers one request. The service gets it at once and not in the future, which would have to hold it meanwhile.
pub(super) fn answer<S: Serves>(
    service: S,
    request: Request<Incoming>,
    about: &About,
) -> impl Future<Output = Result<Response<Body>, Infallible>> + use<S> {
    let begun = Begun::new(service, request, about);
    async move {
        // Pinned where it is: further in, only a reference to it is moved.
        let called = pin!(match begun.called {
            Called::Going(answer) => answer,
            Called::Refused(answer) => return Ok(answer),
            Called::Unready(waiting) => {
                let (mut service, request) = *waiting;
                std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
                service.call(request)
            }
        });
        let answer = match begun.answering {
            Some(answering) => answering.with(called).await?,
            None => called.await?,
        };
        if let Some(tap) = begun.asks_upgrade {
            let tunnel = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
            tap.decide(if tunnel { Next::Tunnel } else { Next::Http });
        }
        Ok(answer)
    }
}

/// What answers.
pub(super) trait Serves:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible>
{
}

impl<S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>> Serves for S {}

/// A request that has come, and what is left to do for it.
struct Begun<S: Serves> {
    called: Called<S>,
    /// HTTP/1.1 only.
    answering: Option<Answering>,
    /// Where the request asks to leave HTTP: who waits to hear whether it does.
    asks_upgrade: Option<Tap>,
}

enum Called<S: Serves> {
    /// The service has it.
    Going(S::Future),
    /// It stood for a refused one.
    Refused(Response<Body>),
    /// The service takes none yet.
    Unready(Box<(S, Request<Body>)>),
}

impl<S: Serves> Begun<S> {
    fn new(mut service: S, request: Request<Incoming>, about: &About) -> Self {
        if request.method().as_str() == Refusal::METHOD {
            return Self { called: Called::Refused(refused(&request)), answering: None, asks_upgrade: None };
        }
        // The filter stops behind such a request: by now, unless its body is still to come. It may also have stopped behind
        // one that came after this one.
        let may_stop = about.tap.as_ref().filter(|tap| tap.is_stopped() || !request.body().is_end_stream());
        let asks_upgrade = may_stop.filter(|_| request.headers().contains_key(header::UPGRADE)).cloned();
        // RFC 9110 section 15.2: a client of HTTP/1.0 is sent no 1xx.
        let line = about.connection.line.clone().filter(|_| request.version() == Version::HTTP_11);
        let answering = line.map(Line::open);
        let request = request.map(|body| Timed::body(body, &about.limits).came_on(&about.connection));
        // Nobody is woken by this look: who is not ready is asked again.
        let called = match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Called::Going(service.call(request)),
            Poll::Ready(Err(never)) => match never {},
            Poll::Pending => Called::Unready(Box::new((service, request))),
        };
        Self { called, answering, asks_upgrade }
    }
}

fn refused(request: &Request<Incoming>) -> Response<Body> {
    let mut answer = Refusal::of_path(request.uri().path()).answer();
    if request.version() == Version::HTTP_2 {
        answer.headers_mut().remove(header::CONNECTION); // RFC 9113 section 8.2.2
    }
    answer
}

/// A request body that may not stand still for longer than the configured time.
struct Timed {
    inner: Incoming,
    patience: Patience,
    over: bool,
}

impl Timed {
    fn body(inner: Incoming, limits: &Limits) -> Body {
        if inner.is_end_stream() {
            return Body::empty();
        }
        Body::wrap(Self { inner, patience: Patience::new(limits.body_timeout), over: false })
    }
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if self.patience.poll_over(cx, polled.is_ready()).is_ready() {
            self.over = true;
            let error = Error::new(ErrorKind::RequestTimeout, "the request's body stood still");
            return Poll::Ready(Some(Err(Box::new(error))));
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(|error| Box::new(fault(&error)) as BoxError)))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What was wrong with a body: the filter says it inside of an I/O error; otherwise the client went away.
fn fault(error: &hyper::Error) -> Error {
    let mut causes = std::iter::successors(std::error::Error::source(error), |e| e.source());
    let io = causes.find_map(|cause| cause.downcast_ref::<std::io::Error>());
    let said = io.and_then(std::io::Error::get_ref).and_then(|inner| inner.downcast_ref::<Error>());
    said.cloned().unwrap_or_else(|| Error::new(ErrorKind::BadRequest, "the client broke its request off"))
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::framing::Filter;
    use super::super::protocol::serve_http1;
    use super::*;
    use crate::http::Peer;

    /// Takes a request only once it was asked three times whether it does.
    #[derive(Clone)]
    struct Hesitant(u32);

    impl Service<Request<Body>> for Hesitant {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Ready<Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.0 += 1;
            if self.0 == 3 {
                return Poll::Ready(Ok(()));
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            assert_eq!(std::mem::take(&mut self.0), 3, "it was not asked as often as it wanted to be");
            ready(Ok(Response::new(Body::from(request.uri().path().to_owned()))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_is_not_ready_is_waited_for_and_gets_each_request() {
        let limits = Limits {
            uri: 100,
            header_bytes: 1000,
            header_count: 10,
            header_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            connections: 1,
            drain: Duration::from_secs(1),
        };
        let (mut client, server) = tokio::io::duplex(4096);
        let tap = Tap::default();
        let io = Filter::http1(server, b"", &limits, tap.clone());
        let peer = Peer { addr: ([127, 0, 0, 1], 1).into(), tls: false };
        let serving = tokio::spawn(serve_http1(io, tap, peer, limits, Hesitant(0)));
        let requests =
            "GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        client.write_all(requests.as_bytes()).await.unwrap();
        let mut got = String::new();
        client.read_to_string(&mut got).await.unwrap();
        serving.await.unwrap().unwrap();
        let answers: Vec<_> = got.split("HTTP/1.1 200 OK\r\n").skip(1).collect();
        assert!(matches!(answers[..], [one, two] if one.ends_with("/one") && two.ends_with("/two")), "{got}");
    }
}
