//! Values of HTTP and of the network: addresses, URLs, fields, methods, patterns, templates.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use ipnet::IpNet;
use jiff::tz::TimeZone;

use super::super::pattern::is_name;
use super::super::tree::{Kind, Node};
use super::super::{FieldAt, HostPattern, PathPattern, Piece, Template};
use super::error::Errors;
use super::section::{FromNode, Shape, mismatch};
use super::suggest;
use super::units::parse_duration;
use super::values::{Wrong, text_value, wrong};

text_value! {
    /// An IP address and a port.
    Address(SocketAddr), "an address", "127.0.0.1:8080", None, |text| text.parse().or_else(|_| {
        let help = match text.rsplit_once(':') {
            Some(("", port)) => format!("for all interfaces write `0.0.0.0:{port}`"),
            Some(("localhost", port)) => format!("write the IP address: `127.0.0.1:{port}`"),
            Some(_) => "write an IP address and a port: `127.0.0.1:8080`; IPv6 as `\"[::1]:8080\"`".into(),
            None if text.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_ipv4()) => format!("add a port: `{text}:8080`"),
            None => "write an IP address and a port: `127.0.0.1:8080`".into(),
        };
        wrong(format!("`{text}` is not an IP address with a port"), help)
    })
}

text_value! {
    /// A network, or one address.
    Network(IpNet), "a network", "10.0.0.0/8", None, parse_network
}

fn parse_network(text: &str) -> Result<IpNet, Wrong> {
    let net = match text.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => match text.parse::<std::net::IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => {
                return wrong(
                    format!("`{text}` is not a network"),
                    "write for example `10.0.0.0/8` or `127.0.0.1`",
                );
            }
        },
    };
    if net.trunc() != net {
        return wrong(
            format!("`{text}` has bits behind the prefix"),
            format!("write `{}` for the network, or `{}` for the one address", net.trunc(), net.addr()),
        );
    }
    Ok(net)
}

/// The address of an origin.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    pub(crate) https: bool,
    pub(crate) authority: String,
}

text_value! {
    /// The URL of an origin: scheme, host and port.
    OriginUrl(Target), "a URL", "http://127.0.0.1:8000", Some("^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+/?$"), parse_origin_url
}

fn parse_uri(text: &str) -> Result<Uri, Wrong> {
    const HELP: &str = "write scheme, host and port: `http://127.0.0.1:8000`";
    if text.split(['/', '?', '#']).nth(2).is_some_and(|authority| authority.contains('@')) {
        return wrong("the URL has a user or a password in it", "remove what stands before the `@`");
    }
    let uri: Uri = match text.parse() {
        Ok(uri) => uri,
        Err(_) => return wrong(format!("`{text}` is not a URL"), HELP),
    };
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(other) => {
            return wrong(format!("the scheme `{other}` is not supported"), "write `http://` or `https://`");
        }
        None => return wrong(format!("`{text}` has no scheme"), format!("write `http://{text}`")),
    }
    let port_is_bad = uri.authority().is_some_and(|authority| {
        let written = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        !written.is_empty()
            && !written.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok_and(|p| p > 0))
    });
    if uri.host().is_none_or(str::is_empty) || port_is_bad {
        return wrong(format!("`{text}` has no usable host and port"), HELP);
    }
    Ok(uri)
}

fn parse_origin_url(text: &str) -> Result<Target, Wrong> {
    let uri = parse_uri(text)?;
    if !matches!(uri.path(), "" | "/") || text.contains(['?', '#']) {
        let message = format!("`{text}` has more than scheme, host and port");
        return wrong(message, "remove path and query: routes choose the path, and it goes on unchanged");
    }
    Ok(Target {
        https: uri.scheme_str() == Some("https"),
        authority: uri
            .authority()
            .map(|authority| authority.as_str().to_ascii_lowercase())
            .unwrap_or_default(),
    })
}

text_value! {
    /// Any URL of a document.
    Url(Uri), "a URL", "https://login.example.com/jwks.json", Some("^[Hh][Tt][Tt][Pp][Ss]?://.+$"), parse_uri
}

text_value! {
    /// The name of a header field.
    FieldName(HeaderName), "a header field", "X-Tenant-Id", Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"), |text| {
        HeaderName::from_bytes(text.as_bytes())
            .or_else(|_| wrong(format!("`{text}` is not the name of a header field"), "write the name alone: `X-Tenant-Id`"))
    }
}

text_value! {
    /// The value of a header field.
    FieldValue(HeaderValue), "a field's value", "yes", None, |text| {
        HeaderValue::from_str(text)
            .or_else(|_| wrong("this is not the value of a header field", "write it in visible ASCII characters"))
    }
}

text_value! {
    /// A request method.
    MethodName(Method), "a method", "GET", Some("^[A-Z][A-Z-]*$"), |text| {
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];
        match Method::from_bytes(text.as_bytes()) {
            Ok(method) if text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') && text != "CONNECT" => Ok(method),
            _ => wrong(format!("`{text}` is not a method"), match suggest::nearest(text, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "methods are written in capitals: `GET`".into(),
            }),
        }
    }
}

text_value! {
    /// A pattern over paths.
    PathText(PathPattern), "a path", "/api/{*rest}", Some("^/"), |text| {
        PathPattern::parse(text).or_else(|message| wrong(message, "write for example `/api/{id}/detail` or `\"/static/{*rest}\"`"))
    }
}

text_value! {
    /// A pattern over hosts.
    HostText(HostPattern), "a host", "shop.example.com", None, |text| {
        HostPattern::parse(text).or_else(|message| wrong(message, "write for example `shop.example.com` or `\"*.example.com\"`"))
    }
}

text_value! {
    /// A path without holes.
    FixedPath(String), "a path", "/whoami", Some("^/[^?#{}]*$"), |text| {
        if text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && !b"?#{}".contains(&b)) {
            return Ok(text.to_owned());
        }
        wrong(format!("`{text}` is not a path"), "write a path without query: `/whoami`")
    }
}

text_value! {
    /// The name of a cookie.
    CookieName(String), "a cookie", "sessionid", Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"), |text| {
        match HeaderName::from_bytes(text.as_bytes()) {
            Ok(_) => Ok(text.to_owned()),
            Err(_) => wrong(format!("`{text}` is not the name of a cookie"), "write the name alone: `sessionid`"),
        }
    }
}

text_value! {
    /// The name of a query parameter.
    ParamName(String), "a query parameter", "page", Some("^[^&=#?\\s]+$"), |text| {
        if text.bytes().all(|b| b.is_ascii_graphic() && !b"&=#?".contains(&b)) {
            return Ok(text.to_owned());
        }
        wrong(format!("`{text}` is not the name of a query parameter"), "write the name alone, as it stands in URLs")
    }
}

text_value! {
    /// A media type, or a range.
    MediaType(String), "a media type", "application/json", Some("^[^/\\s;]+/[^/\\s;]+$"), |text| {
        let token = |part: &str| HeaderName::from_bytes(part.as_bytes()).is_ok();
        match text.split_once('/') {
            Some((kind, sub)) if token(kind) && token(sub) && kind != "*" => Ok(text.to_ascii_lowercase()),
            _ => wrong(format!("`{text}` is not a media type"), "write `application/json` or `image/*`, without parameters"),
        }
    }
}

text_value! {
    /// A JSON pointer.
    Pointer(String), "a JSON pointer", "/items", Some("^/"), |text| {
        if text.starts_with('/') {
            return Ok(text.to_owned());
        }
        wrong(format!("`{text}` is not a JSON pointer"), format!("a pointer starts with `/`: `/{text}`; leave `at` out for the whole document"))
    }
}

text_value! {
    /// Where a request holds a field.
    FieldPlace(FieldAt), "a place", "/branch_id", Some("^(/|query\\.)"), |text| {
        match text.strip_prefix("query.") {
            Some(name) if !name.is_empty() => Ok(FieldAt::Query(name.to_owned())),
            _ if text.starts_with('/') => Ok(FieldAt::Body(text.to_owned())),
            _ => wrong(format!("`{text}` is not a place in a request"), "write `query.NAME`, or a JSON pointer into the body: `/branch_id`"),
        }
    }
}

text_value! {
    /// How often: so many within so long.
    Rate((u32, Duration)), "a rate", "1/5s", Some("^[0-9]+/[0-9]+(ms|s|m|h|d)$"), |text| {
        let parts = text.split_once('/').and_then(|(count, window)| {
            let count = count.parse::<u32>().ok().filter(|count| *count > 0)?;
            Some((count, parse_duration(window).ok().filter(|window| !window.is_zero())?))
        });
        match parts {
            Some(rate) => Ok(rate),
            None => wrong(format!("`{text}` is not a rate"), "write how many within how long: `1/5s`"),
        }
    }
}

text_value! {
    /// A time zone of the IANA database.
    Zone(TimeZone), "a time zone", "Europe/Berlin", None, |text| {
        if text.eq_ignore_ascii_case("UTC") {
            return Ok(TimeZone::UTC);
        }
        TimeZone::get(text).or_else(|_| {
            let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
            let help = match suggest::nearest(text, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write a name of the IANA database: `UTC`, `Europe/Berlin`".into(),
            };
            wrong(format!("the time zone `{text}` is not known here"), help)
        })
    }
}

text_value! {
    /// A language tag (RFC 5646).
    Language(String), "a language", "en", Some("^[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*$"), |text| {
        let part = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
        if text.split('-').all(part) && text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Ok(text.to_owned());
        }
        wrong(format!("`{text}` is not a language tag"), "write for example `en`, `de` or `pt-BR`")
    }
}

text_value! {
    /// A text with holes.
    TemplateText(Template), "a template", "dashboard:{tenant}", None, parse_template
}

/// Reads a text with holes; `{{` and `}}` stand for braces.
pub(crate) fn parse_template(text: &str) -> Result<Template, Wrong> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let tail = &rest[at..];
        if let Some(after) = tail.strip_prefix("{{").or_else(|| tail.strip_prefix("}}")) {
            plain.push_str(&tail[..1]);
            rest = after;
            continue;
        }
        let Some((name, after)) = tail.strip_prefix('{').and_then(|hole| hole.split_once('}')) else {
            return wrong(
                "a brace without its partner",
                "holes are `{name}`; write `{{` and `}}` for braces themselves",
            );
        };
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(parse_hole(name)?);
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(Template(pieces))
}

fn parse_hole(name: &str) -> Result<Piece, Wrong> {
    Ok(match name {
        "tenant" => Piece::Tenant,
        "user" => Piece::User,
        "role" => Piece::Role,
        _ => match name.split_once('.') {
            Some(("query", parameter)) if !parameter.is_empty() => Piece::Query(parameter.to_owned()),
            Some(("header", field)) if HeaderName::from_bytes(field.as_bytes()).is_ok() => {
                Piece::Header(field.to_ascii_lowercase())
            }
            None if is_name(name) => Piece::Path(name.to_owned()),
            _ => {
                let help = "holes are `{tenant}`, `{user}`, `{role}`, `{query.NAME}`, `{header.NAME}` and the names of the path";
                return wrong(format!("unknown placeholder `{{{name}}}`"), help);
            }
        },
    })
}

/// A status that a stored response may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Status(pub(crate) StatusCode);

impl FromNode for Status {
    fn from_node(node: &Node, errors: &mut Errors) -> Option<Self> {
        let Kind::Scalar { text, quoted: false } = &node.kind else {
            mismatch(node, "a status such as `404`", "write it in digits, without quotes", errors);
            return None;
        };
        match text.parse::<u16>().ok().and_then(|number| StatusCode::from_u16(number).ok()) {
            Some(status)
                if (200..600).contains(&status.as_u16()) && !matches!(status.as_u16(), 206 | 304) =>
            {
                Some(Self(status))
            }
            _ => {
                let help = "write a status from 200 to 599; 206 and 304 are no whole responses";
                errors.add(node.pos, format!("`{text}` is not a status that can be stored"), help);
                None
            }
        }
    }

    fn shape() -> Shape {
        Shape::Whole { min: 200, max: 599 }
    }
}
