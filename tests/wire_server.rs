//! Through real sockets: TLS and both protocols, the time that a client may take, and stopping.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use larder::config::{Limits, Listener, Origin, Tls};
use larder::http::{Body, Peer};
use larder::server::{Server, Workers};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use wire::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Answers with what it sees of the request.
fn describe() -> impl tower_service::Service<
    Request<Body>,
    Response = Response<Body>,
    Error = std::convert::Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static {
    tower::service_fn(|request: Request<Body>| async move {
        let tls = request.body().peer().unwrap().tls;
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().len();
        let text = format!("{:?} {} tls={tls} bytes={bytes}", parts.version, parts.uri.path());
        Ok(Response::new(Body::full(text)))
    })
}

/// A certificate for `localhost`, in files.
struct Certificate {
    folder: tempfile::TempDir,
    der: CertificateDer<'static>,
}

impl Certificate {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Self { der: made.cert.der().clone(), folder }
    }

    fn listener(&self) -> Listener {
        let path = |name: &str| self.folder.path().join(name);
        let tls = Tls { cert: path("cert.pem"), key: path("key.pem") };
        Listener { addr: "127.0.0.1:0".parse().unwrap(), tls: Some(tls) }
    }

    async fn connect(
        &self,
        addr: std::net::SocketAddr,
        alpn: &[&str],
    ) -> tokio_rustls::client::TlsStream<TcpStream> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = TcpStream::connect(addr).await.unwrap();
        connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
    }
}

/// Sends requests over HTTP/2, one after the other; gives statuses and bodies.
async fn http2<T>(io: T, requests: Vec<Request<Body>>) -> Vec<(StatusCode, String)>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = soon(builder.handshake(TokioIo::new(io))).await.unwrap();
    tokio::spawn(connection);
    let mut answers = Vec::new();
    for request in requests {
        let answer = soon(sender.send_request(request)).await.unwrap();
        assert_eq!(answer.version(), Version::HTTP_2);
        let status = answer.status();
        let body = soon(answer.into_body().collect()).await.unwrap().to_bytes();
        answers.push((status, String::from_utf8(body.to_vec()).unwrap()));
    }
    answers
}

fn request(method: &str, uri: &str, body: &'static str) -> Request<Body> {
    Request::builder().method(method).uri(uri).body(Body::from(body)).unwrap()
}

#[tokio::test]
async fn http2_by_prior_knowledge_is_served_beside_http1() {
    let server = serve(limits(), describe());
    let stream = TcpStream::connect(server.addr).await.unwrap();
    let requests = vec![request("GET", "http://a/x", ""), request("POST", "http://a/y", "hello")];
    let answers = http2(stream, requests).await;
    assert_eq!(answers[0], (StatusCode::OK, "HTTP/2.0 /x tls=false bytes=0".to_owned()));
    assert_eq!(answers[1], (StatusCode::OK, "HTTP/2.0 /y tls=false bytes=5".to_owned()));
    let mut plain = TcpStream::connect(server.addr).await.unwrap();
    plain.write_all(GET).await.unwrap();
    read_until(&mut plain, "HTTP/1.1 / tls=false bytes=0").await;
}

#[tokio::test]
async fn the_preface_may_come_in_pieces() {
    let server = serve(limits(), describe());
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut settings = [0; 9];
    soon(tokio::io::AsyncReadExt::read_exact(&mut stream, &mut settings)).await.unwrap();
    assert_eq!(settings[3], 4, "the server answers with its settings");
}

#[tokio::test]
async fn a_client_cannot_play_a_refusal_over_http2() {
    let server = serve(limits(), describe());
    let stream = TcpStream::connect(server.addr).await.unwrap();
    let answers = http2(stream, vec![request("LARDER-REFUSE", "http://a/x", "")]).await;
    assert_eq!(answers[0].0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn tls_offers_both_protocols_by_alpn() {
    let certificate = Certificate::new();
    let server = serve_on(certificate.listener(), limits(), describe());
    let stream = certificate.connect(server.addr, &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let answers = http2(stream, vec![request("GET", "https://localhost/x", "")]).await;
    assert_eq!(answers[0].1, "HTTP/2.0 /x tls=true bytes=0");
    for alpn in [&["http/1.1"][..], &[]] {
        let mut stream = certificate.connect(server.addr, alpn).await;
        stream.write_all(GET).await.unwrap();
        read_until(&mut stream, "HTTP/1.1 / tls=true bytes=0").await;
    }
    // The filter is under TLS too.
    let mut stream = certificate.connect(server.addr, &["http/1.1"]).await;
    stream.write_all(b"GET / HTTP/1.1\nHost: a\n\n").await.unwrap();
    assert_eq!(statuses(&read_to_end(&mut stream).await), [400]);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_an_error_that_names_the_file() {
    let certificate = Certificate::new();
    let mut listener = certificate.listener();
    std::fs::write(certificate.folder.path().join("key.pem"), "nothing").unwrap();
    let error = Server::bind(&[listener.clone()], limits()).err().unwrap().to_string();
    assert!(error.contains("key.pem"), "{error}");
    listener.tls.as_mut().unwrap().cert = "/nonexistent/cert.pem".into();
    let error = Server::bind(&[listener], limits()).err().unwrap().to_string();
    assert!(error.contains("/nonexistent/cert.pem"), "{error}");
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_names_it() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let taken_again = std::net::TcpListener::bind(taken).unwrap();
    let listener = Listener { addr: taken_again.local_addr().unwrap(), tls: None };
    let error = Server::bind(&[listener], limits()).err().unwrap().to_string();
    assert!(error.contains(&taken.to_string()), "{error}");
}

#[tokio::test]
async fn a_client_that_is_slow_to_ask_is_cut() {
    let certificate = Certificate::new();
    let short = Limits { header_timeout: Duration::from_millis(100), ..limits() };
    let plain = serve(short, describe());
    let tls = serve_on(certificate.listener(), short, describe());
    for (server, begun) in
        [(&plain, ""), (&plain, "GET / HT"), (&plain, "PRI * "), (&tls, ""), (&tls, "\x16\x03")]
    {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        assert_eq!(read_to_end(&mut stream).await, "", "{begun}");
    }
    // Also between two requests, and in the middle of the second head.
    for begun in ["", "GET / HT"] {
        let mut stream = TcpStream::connect(plain.addr).await.unwrap();
        stream.write_all(&[GET, begun.as_bytes()].concat()).await.unwrap();
        assert_eq!(statuses(&read_to_end(&mut stream).await), [200]);
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut() {
    // The drain would wait for an hour: the connection ends by itself.
    let hour = Duration::from_secs(3600);
    let short = Limits { body_timeout: Duration::from_millis(100), drain: hour, ..limits() };
    let service = tower::service_fn(|_: Request<Body>| async {
        Ok(Response::new(made(|| Some(bytes::Bytes::from_static(&[b'x'; 16 * 1024])))))
    });
    let server = serve(short, service);
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(GET).await.unwrap();
    read_head(&mut stream).await;
    // Nothing more is read: the body is given up, the connection ends.
    server.stop().await;
}

/// A body that a function makes.
fn made(next: impl FnMut() -> Option<bytes::Bytes> + Send + 'static) -> Body {
    struct Made<F>(F);
    impl<F: FnMut() -> Option<bytes::Bytes> + Unpin> http_body::Body for Made<F> {
        type Data = bytes::Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
            std::task::Poll::Ready((self.0)().map(|bytes| Ok(http_body::Frame::data(bytes))))
        }
    }
    Body::wrap(Made(Box::new(next)))
}

#[tokio::test]
async fn a_panic_in_the_service_ends_its_connection_only() {
    let server = serve(
        limits(),
        tower::service_fn(|request: Request<Body>| async move {
            assert!(request.uri().path() != "/panic", "a fault in the service");
            Ok(Response::new(Body::from("fine")))
        }),
    );
    assert_eq!(talk(server.addr, b"GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await, "");
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(GET).await.unwrap();
    read_until(&mut stream, "fine").await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let server = serve(Limits { connections: 1, ..limits() }, describe());
    let mut first = TcpStream::connect(server.addr).await.unwrap();
    first.write_all(GET).await.unwrap();
    read_until(&mut first, "bytes=0").await;
    let mut second = TcpStream::connect(server.addr).await.unwrap();
    second.write_all(GET).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), second.readable()).await;
    assert!(early.is_err(), "the second was served beside the first");
    drop(first);
    read_until(&mut second, "bytes=0").await;
}

/// A service whose requests wait to be released; counts those that began.
fn waiting(
    begun: watch::Sender<usize>,
    release: watch::Receiver<bool>,
) -> impl tower_service::Service<
    Request<Body>,
    Response = Response<Body>,
    Error = std::convert::Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static {
    let begun = Arc::new(begun);
    tower::service_fn(move |_: Request<Body>| {
        let (begun, mut release) = (Arc::clone(&begun), release.clone());
        async move {
            begun.send_modify(|n| *n += 1);
            release.wait_for(|released| *released).await.unwrap();
            Ok(Response::new(Body::from("done")))
        }
    })
}

#[tokio::test]
async fn stopping_lets_requests_in_flight_end_and_takes_no_new_ones() {
    let (begun, mut beginning) = watch::channel(0);
    let (release, released) = watch::channel(false);
    let mut server = serve(limits(), waiting(begun, released));
    let mut idle = TcpStream::connect(server.addr).await.unwrap();
    let mut flying = TcpStream::connect(server.addr).await.unwrap();
    flying.write_all(GET).await.unwrap();
    soon(beginning.wait_for(|n| *n == 1)).await.unwrap();
    server.begin_stop();
    assert_eq!(read_to_end(&mut idle).await, "");
    soon(async {
        while TcpStream::connect(server.addr).await.is_ok() {
            tokio::task::yield_now().await
        }
    })
    .await;
    release.send_replace(true);
    let answer = read_to_end(&mut flying).await;
    assert!(answer.ends_with("done") && answer.contains("connection: close"), "{answer}");
    server.stopped().await;
}

#[tokio::test]
async fn what_outlasts_the_drain_is_cut() {
    let (begun, mut beginning) = watch::channel(0);
    let (_release, released) = watch::channel(false);
    let server = serve(Limits { drain: Duration::from_millis(100), ..limits() }, waiting(begun, released));
    let mut flying = TcpStream::connect(server.addr).await.unwrap();
    flying.write_all(GET).await.unwrap();
    soon(beginning.wait_for(|n| *n == 1)).await.unwrap();
    server.stop().await;
    assert_eq!(read_to_end(&mut flying).await, "");
}

#[tokio::test]
async fn expect_continue_is_answered_when_the_body_is_wanted() {
    let server = serve(limits(), describe());
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let head = b"POST /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    stream.write_all(head).await.unwrap();
    assert_eq!(read_head(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hi").await.unwrap();
    read_until(&mut stream, "bytes=2").await;
}

#[tokio::test]
async fn an_https_origin_is_verified_and_spoken_to_in_the_protocol_that_it_chooses() {
    let certificate = Certificate::new();
    let behind = serve_on(certificate.listener(), limits(), describe());
    let https = |http2| Origin {
        https: true,
        http2,
        authority: format!("localhost:{}", behind.addr.port()),
        ca: Some(certificate.folder.path().join("cert.pem")),
        ..origin_at(behind.addr)
    };
    for (http2, version) in [(false, "HTTP/1.1"), (true, "HTTP/2.0")] {
        let server = serve(limits(), proxy(https(http2)));
        let post = b"POST /p HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
        for _ in 0..2 {
            let got = talk(server.addr, post).await;
            assert!(got.ends_with(&format!("{version} /p tls=true bytes=2")), "{got}");
        }
    }
    let stranger = Certificate::new();
    let wrong = Origin { ca: Some(stranger.folder.path().join("cert.pem")), ..https(false) };
    let got =
        talk(serve(limits(), proxy(wrong)).addr, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await;
    assert_eq!(statuses(&got), [502], "{got}");
}

#[tokio::test]
async fn an_http2_origin_takes_many_requests_on_one_connection() {
    let (begun, mut beginning) = watch::channel(0);
    let (release, released) = watch::channel(false);
    let behind = serve(Limits { connections: 1, ..limits() }, waiting(begun, released));
    let server = serve(limits(), proxy(Origin { http2: true, ..origin_at(behind.addr) }));
    let asked = AtomicUsize::new(0);
    let all = async {
        let get = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let (a, b, c) = tokio::join!(talk(server.addr, get), talk(server.addr, get), talk(server.addr, get));
        for answer in [a, b, c] {
            assert!(answer.ends_with("done"), "{answer}");
            asked.fetch_add(1, Ordering::SeqCst);
        }
    };
    tokio::join!(all, async {
        soon(beginning.wait_for(|n| *n == 3)).await.unwrap();
        release.send_replace(true);
    });
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn connections_are_spread_over_the_workers_and_stay_where_they_are() {
    let where_am_i = tower::service_fn(|_: Request<Body>| {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(Body::full(name))))
    });
    let listener = Listener { addr: "127.0.0.1:0".parse().unwrap(), tls: None };
    let server = Server::bind(&[listener], limits()).unwrap().on(Workers::start(3).unwrap());
    let addr = server.local_addrs()[0];
    let (stop, stopped) = watch::channel(());
    let mut stopped = stopped;
    let serving = tokio::spawn(server.run(where_am_i, async move { stopped.changed().await }));
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = TcpStream::connect(addr).await.unwrap();
        let home = asked(&mut client).await;
        clients.push((client, home));
    }
    for worker in ["larder-0", "larder-1", "larder-2"] {
        assert_eq!(clients.iter().filter(|(_, home)| home == worker).count(), 2, "{worker}");
    }
    for (client, home) in &mut clients {
        assert_eq!(asked(client).await, *home);
    }
    // Where connections have ended there is room again.
    let (gone, left): (Vec<_>, Vec<_>) = clients.into_iter().partition(|(_, home)| home == "larder-1");
    for (mut client, _) in gone {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        read_to_end(&mut client).await;
    }
    soon(until_free(addr)).await;
    drop(left);
    stop.send(()).unwrap();
    soon(serving).await.unwrap();
}

/// The name of the thread that answers this connection.
async fn asked(client: &mut TcpStream) -> String {
    client.write_all(GET).await.unwrap();
    let head = read_head(client).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut name = [0; 8];
    tokio::io::AsyncReadExt::read_exact(client, &mut name).await.unwrap();
    String::from_utf8(name.to_vec()).unwrap()
}

/// Waits until a new connection comes to the worker that has none.
async fn until_free(addr: std::net::SocketAddr) {
    loop {
        let mut client = TcpStream::connect(addr).await.unwrap();
        if asked(&mut client).await == "larder-1" {
            return;
        }
    }
}

#[tokio::test]
async fn the_application_of_a_layer_knows_the_peer_and_one_that_somebody_named_counts() {
    let layer = larder::layer::CacheLayer::from_yaml(
        "
        listen: 127.0.0.1:8080
        origins: { app: { url: 'http://127.0.0.1:1' } }
        routes: [{ name: all, path: '/{*rest}' }]
        ",
    );
    let app = tower::service_fn(|request: Request<Body>| {
        let proto = request.headers()["x-forwarded-proto"].to_str().unwrap().to_owned();
        let ip = request.extensions().get::<Peer>().unwrap().ip();
        std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(Body::full(format!(
            "{ip} {proto}"
        )))))
    });
    let larder = tower::Layer::layer(&layer.unwrap(), app);
    let named = tower::service_fn(move |mut request: Request<Body>| {
        if request.uri().path() == "/named" {
            let addr = "192.0.2.7:1".parse().unwrap();
            request.extensions_mut().insert(Peer { addr, tls: true });
        }
        tower_service::Service::call(&mut larder.clone(), request)
    });
    let server = serve(limits(), named);
    for (path, told) in [("/", "127.0.0.1 http"), ("/named", "192.0.2.7 https")] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let got = talk(server.addr, request.as_bytes()).await;
        assert!(got.ends_with(&format!("\r\n\r\n{told}")), "{got}");
    }
}
