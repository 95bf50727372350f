//! What is refused, what is removed, and what is said of the client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

use std::net::SocketAddr;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderName, Request, Version};
use ipnet::IpNet;
use larder::config::Limits;
use larder::error::{Error, ErrorKind};
use larder::http::Peer;
use larder::proxy::sanitize::{Sanitized, forwarded, forwarded_shared, sanitize};

fn limits() -> Limits {
    Limits {
        uri: 100,
        header_bytes: 1000,
        header_count: 20,
        header_timeout: Duration::from_secs(1),
        body_timeout: Duration::from_secs(1),
        connections: 1,
        drain: Duration::from_secs(1),
    }
}

/// A request from a stranger (`6.6.6.6`) or a trusted proxy (`10.0.0.1`).
fn parts(peer: &str, target: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    let addr: SocketAddr = format!("{peer}:4321").parse().unwrap();
    parts.extensions.insert(Peer { addr, tls: false });
    parts
}

fn run(parts: &mut Parts) -> Result<Sanitized, Error> {
    let trusted: [IpNet; 2] = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
    let peer = parts.extensions.get::<Peer>().copied();
    sanitize(parts, peer, &trusted, &[HeaderName::from_static("x-tenant-id")], &limits())
}

const STRANGER: &str = "6.6.6.6";
const TRUSTED: &str = "10.0.0.1";
const HOST: (&str, &str) = ("Host", "shop.example");

fn refused(mut parts: Parts) -> Option<ErrorKind> {
    run(&mut parts).err().map(|error| error.kind())
}

#[test]
fn targets_with_two_readings_are_refused() {
    for path in ["/a/../b", "/a/%2e%2e/b", "/a%2fb", "/a%00", "/a%5cb", "/a%2", "/..;/a"] {
        assert_eq!(refused(parts(STRANGER, path, &[HOST])), Some(ErrorKind::BadRequest), "{path}");
    }
    let long = format!("/{}", "a".repeat(100));
    assert_eq!(refused(parts(STRANGER, &long, &[HOST])), Some(ErrorKind::UriTooLong));
}

#[test]
fn host_and_target_must_agree_on_one_authority() {
    let bad = Some(ErrorKind::BadRequest);
    assert_eq!(refused(parts(STRANGER, "/", &[])), bad);
    assert_eq!(refused(parts(STRANGER, "/", &[HOST, HOST])), bad);
    assert_eq!(refused(parts(STRANGER, "/", &[("Host", "")])), bad);
    assert_eq!(refused(parts(STRANGER, "http://other.example/", &[HOST])), bad);
    assert_eq!(refused(parts(STRANGER, "http://u:p@shop.example/", &[HOST])), bad);
    assert_eq!(refused(parts(STRANGER, "ftp://shop.example/", &[HOST])), bad);
    assert_eq!(refused(parts(STRANGER, "http://Shop.Example:80/", &[HOST])), None);
    assert_eq!(refused(parts(STRANGER, "/", &[HOST, ("Connection", "close, host")])), bad);

    let mut h2 = parts(STRANGER, "http://Shop.Example/", &[]);
    h2.version = Version::HTTP_2;
    assert_eq!(run(&mut h2).unwrap().authority(), "shop.example");
    let mut old = parts(STRANGER, "/", &[]);
    old.version = Version::HTTP_10;
    assert_eq!(run(&mut old).unwrap().authority(), "");
}

#[test]
fn methods_that_are_no_business_of_a_gateway_are_refused() {
    for (method, kind) in [("CONNECT", ErrorKind::BadRequest), ("TRACE", ErrorKind::MethodNotAllowed)] {
        let mut parts = parts(STRANGER, "/", &[HOST]);
        parts.method = method.parse().unwrap();
        assert_eq!(refused(parts), Some(kind), "{method}");
    }
}

#[test]
fn too_many_or_too_large_fields_are_refused_whatever_the_protocol() {
    let many: Vec<_> = std::iter::repeat_n(("X-A", "1"), 20).chain([HOST]).collect();
    assert_eq!(refused(parts(STRANGER, "/", &many)), Some(ErrorKind::HeadersTooLarge));
    let large = "a".repeat(1000);
    assert_eq!(refused(parts(STRANGER, "/", &[HOST, ("X", &large)])), Some(ErrorKind::HeadersTooLarge));
}

#[test]
fn a_stranger_keeps_no_field_that_speaks_of_an_identity_or_a_url() {
    let fields = [
        HOST,
        ("Connection", "x-hop"),
        ("X-Hop", "1"),
        ("X-Tenant-Id", "acme"),
        ("X_Tenant_Id", "acme"),
        ("x-tenant_id", "acme"),
        ("X-Forwarded-For", "1.1.1.1"),
        ("X_Forwarded_Host", "evil"),
        ("Forwarded", "for=1.1.1.1"),
        ("X-Real-IP", "1.1.1.1"),
        ("X-Original-URL", "/admin"),
        ("X-Rewrite-URL", "/admin"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-Method-Override", "DELETE"),
        ("X-HTTP-Method", "DELETE"),
        ("Accept", "text/html"),
        ("Cookie", "a=b"),
    ];
    let mut parts = parts(STRANGER, "/", &fields);
    let about = run(&mut parts).unwrap();
    let mut left: Vec<_> = parts.headers.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["accept", "connection", "cookie", "host"]);
    assert_eq!(about.client, Some(STRANGER.parse().unwrap()));
    assert!(!about.trusted && !about.https);
}

#[test]
fn a_trusted_proxy_names_identity_client_and_scheme() {
    let fields = [
        HOST,
        ("X-Tenant-Id", "acme"),
        ("X_Tenant_Id", "evil"),
        ("X-Original-URL", "/admin"),
        ("X-Forwarded-For", "evil, 6.6.6.6, 10.0.0.9"),
        ("X-Forwarded-Proto", "https"),
    ];
    let mut parts = parts(TRUSTED, "/", &fields);
    let about = run(&mut parts).unwrap();
    assert!(about.trusted && about.https);
    assert_eq!(about.client, Some("6.6.6.6".parse().unwrap()));
    assert_eq!(parts.headers["x-tenant-id"], "acme");
    assert!(!parts.headers.contains_key("x_tenant_id") && !parts.headers.contains_key("x-original-url"));

    forwarded(&mut parts, &about);
    let field = |name: &str| parts.headers[name].to_str().unwrap().to_owned();
    assert_eq!(field("x-forwarded-for"), "unknown, 6.6.6.6, 10.0.0.9, 10.0.0.1");
    let elements = "for=unknown, for=6.6.6.6, for=10.0.0.9, for=10.0.0.1;proto=https;host=\"shop.example\"";
    assert_eq!(field("forwarded"), elements);
    assert_eq!(field("x-real-ip"), "6.6.6.6");
    assert_eq!(field("x-forwarded-proto"), "https");
    assert_eq!(field("via"), "1.1 larder");
}

#[test]
fn forwarded_is_read_where_there_is_no_x_forwarded_for() {
    let forwarded = "for=\"[2001:db8::7]:99\";proto=https, for=10.0.0.3;proto=https";
    let about = run(&mut parts(TRUSTED, "/", &[HOST, ("Forwarded", forwarded)])).unwrap();
    assert_eq!(about.client, Some("2001:db8::7".parse().unwrap()));
    assert!(about.https);
}

#[test]
fn a_host_that_is_reached_over_https_has_its_port_443_dropped() {
    let fields = [("Host", "Shop.Example:443"), ("X-Forwarded-Proto", "https")];
    assert_eq!(run(&mut parts(TRUSTED, "/", &fields)).unwrap().authority(), "shop.example");
    assert_eq!(run(&mut parts(STRANGER, "/", &fields)).unwrap().authority(), "shop.example:443");
}

#[test]
fn the_host_that_goes_on_is_the_one_that_was_keyed() {
    let fields =
        [("Host", "Shop.Example:80"), ("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Port", "1")];
    for peer in [STRANGER, TRUSTED] {
        let mut parts = parts(peer, "/", &fields);
        let about = run(&mut parts).unwrap();
        forwarded(&mut parts, &about);
        assert_eq!(parts.headers["host"], "shop.example");
        assert_eq!(parts.headers["x-forwarded-host"], "shop.example");
        assert!(!parts.headers.contains_key("x-forwarded-port"));
    }
}

#[test]
fn an_answer_for_many_is_asked_for_without_a_word_about_one_client() {
    let mut parts = parts(TRUSTED, "/", &[HOST, ("X-Forwarded-For", "6.6.6.6"), ("X-Real-IP", "6.6.6.6")]);
    let about = run(&mut parts).unwrap();
    forwarded_shared(&mut parts, &about);
    assert!(!parts.headers.values().any(|value| value.to_str().unwrap().contains("6.6.6")));
    assert_eq!(parts.headers["forwarded"], "proto=http;host=\"shop.example\"");
}

#[test]
fn without_a_peer_nobody_is_trusted() {
    let mut parts = parts(TRUSTED, "/", &[HOST, ("X-Tenant-Id", "acme")]);
    parts.extensions.remove::<Peer>();
    let about = run(&mut parts).unwrap();
    assert!(!about.trusted && about.client.is_none() && !parts.headers.contains_key("x-tenant-id"));
    forwarded(&mut parts, &about);
    assert_eq!(parts.headers["x-forwarded-for"], "unknown");
}

#[test]
fn trailer_announcements_are_cut_to_what_a_client_may_say() {
    let fields =
        [HOST, ("Trailer", "X-Sum, X-Tenant-Id, X_Tenant_Id, Host, Forwarded"), ("Trailer", "grpc-x")];
    let mut parts = parts(TRUSTED, "/", &fields);
    run(&mut parts).unwrap();
    let left: Vec<_> = parts.headers.get_all("trailer").iter().collect();
    assert_eq!(left, ["X-Sum, grpc-x"]);
}

#[test]
fn an_upgrade_is_noticed_in_http1_only() {
    let fields = [HOST, ("Connection", "Upgrade"), ("Upgrade", "websocket")];
    let mut websocket = parts(STRANGER, "/", &fields);
    assert!(run(&mut websocket).unwrap().upgrade);
    assert!(websocket.headers.contains_key("upgrade"), "the origin client reads it");
    let mut old = parts(STRANGER, "/", &fields);
    old.version = Version::HTTP_10;
    assert!(!run(&mut old).unwrap().upgrade);
}
