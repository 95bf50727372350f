//! The strict reader against a plain second reader, and against itself with the bytes cut in other places.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn limits() -> Limits {
    Limits {
        uri: 200,
        header_bytes: 400,
        header_count: 8,
        header_timeout: Duration::from_secs(1),
        body_timeout: Duration::from_secs(1),
        connections: 1,
        drain: Duration::from_secs(1),
    }
}

/// Nothing is ordinary: every head is read strictly.
fn never(_: &[u8], _: &Bounds) -> Option<usize> {
    None
}

/// Feeds the bytes in pieces of these sizes (the last one repeats); gives what was approved, and the end.
fn feed(input: &[u8], cuts: &[usize]) -> (usize, End) {
    let mut scanner = Scanner::new(&limits());
    let (mut approved, mut given, mut cuts) = (0, 0, cuts.iter().copied().cycle());
    loop {
        given = (given + cuts.next().unwrap_or(1).max(1)).min(input.len());
        let scan = scanner.scan_with(&input[approved..given], never);
        assert!(approved + scan.approved <= given);
        approved += scan.approved;
        if scan.end == End::Paused {
            scanner.resume();
            let scan = scanner.scan_with(&input[approved..given], never);
            approved += scan.approved;
            if !matches!(scan.end, End::More | End::Paused) {
                return (approved, scan.end);
            }
        } else if scan.end != End::More {
            return (approved, scan.end);
        }
        if given == input.len() && scan.end != End::Paused {
            return (approved, End::More);
        }
    }
}

fn whole(input: &[u8]) -> (usize, End) {
    feed(input, &[input.len().max(1)])
}

/// The second reader: does this prefix consist of good messages, the last one perhaps without the end of its body?
fn second_reader_accepts(mut input: &[u8]) -> bool {
    while !input.is_empty() {
        let text = input.strip_prefix(b"\r\n").unwrap_or(input);
        let Some(end) = find(text, b"\r\n\r\n") else { return false };
        let head: String = text[..end].iter().map(|&b| char::from(b)).collect(); // values may have any high byte
        let Some(body) = second_head(&head) else { return false };
        input = &text[end + 4..];
        match body {
            SecondBody::Length(n) => input = &input[n.min(input.len())..],
            SecondBody::Chunked => match second_chunks(input) {
                Some(rest) => input = rest,
                None => return false,
            },
        }
    }
    true
}

enum SecondBody {
    Length(usize),
    Chunked,
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|w| w == what)
}

fn second_head(head: &str) -> Option<SecondBody> {
    let bad = |c: char| c.is_ascii_control() && c != '\t';
    let mut lines = head.split("\r\n");
    let first: Vec<&str> = lines.next()?.split(' ').collect();
    let [method, target, version @ ("HTTP/1.1" | "HTTP/1.0")] = first[..] else { return None };
    let token = |t: &str| {
        !t.is_empty() && t.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
    };
    if !token(method)
        || method == "CONNECT"
        || !target.is_ascii()
        || target.contains(bad)
        || target.contains(['#', '\t'])
    {
        return None;
    }
    let (mut hosts, mut lengths, mut codings) = (0, vec![], vec![]);
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if !token(name) || value.contains(bad) {
            return None;
        }
        let value = value.trim_matches([' ', '\t']);
        match name.to_ascii_lowercase().as_str() {
            "host" => hosts += 1,
            "content-length" => lengths.push(value.to_owned()),
            "transfer-encoding" => codings.push(value.to_ascii_lowercase()),
            _ => {}
        }
    }
    let old = version == "HTTP/1.0";
    if hosts > 1 || (hosts == 0 && !old) {
        return None;
    }
    match (&lengths[..], &codings[..]) {
        ([], []) => Some(SecondBody::Length(0)),
        ([n], []) if !n.starts_with('+') => n.parse().ok().map(SecondBody::Length),
        ([], [c]) if c == "chunked" && !old => Some(SecondBody::Chunked),
        _ => None,
    }
}

/// What follows a chunked body; empty where it is not complete.
fn second_chunks(mut input: &[u8]) -> Option<&[u8]> {
    loop {
        let Some(end) = find(input, b"\r\n") else { return input.is_empty().then_some(input) };
        let line = std::str::from_utf8(&input[..end]).ok()?;
        if line.contains(|c: char| c.is_control() && c != '\t') {
            return None;
        }
        let size = line.split(';').next()?;
        if size.starts_with('+') {
            return None;
        }
        let size = usize::from_str_radix(size, 16).ok()?;
        input = &input[end + 2..];
        if size == 0 {
            break;
        }
        if input.len() <= size {
            return Some(&[]);
        }
        input = &input[size..];
        match input.strip_prefix(b"\r\n") {
            Some(rest) => input = rest,
            None => return None,
        }
    }
    loop {
        let Some(end) = find(input, b"\r\n") else { return input.is_empty().then_some(input) };
        let line = &input[..end];
        input = &input[end + 2..];
        if line.is_empty() {
            return Some(input);
        }
        if line.iter().any(|b| b.is_ascii_control() && *b != b'\t') || !line.contains(&b':') {
            return None;
        }
    }
}

const PIECES: [&[u8]; 36] = [
    b"GET / HTTP/1.1\r\n",
    b"POST /a?b HTTP/1.1\r\n",
    b"GET / HTTP/1.0\r\n",
    b"Host: a\r\n",
    b"hOsT:a\r\n",
    b"\r\n",
    b"Content-Length: 3\r\n",
    b"content-length:0\r\n",
    b"Content-Length: +3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"transfer-encoding:\tChunked \r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"abc",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"0\r\n",
    b"A;x=y\r\n0123456789\r\n",
    b"X: y\r\n",
    b" folded\r\n",
    b"X : y\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"X: y\n",
    b"X: \x01\r\n",
    b"Upgrade: x\r\n",
    b"GET http://a/ HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b"GET /\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n",
    b"GET  / HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n",
    b"\x16\x03\x01",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
];

/// Lines, fields and bodies, each in its place, of which any may be wrong.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let lines = proptest::sample::select(&PIECES[..3]);
    let fields = proptest::collection::vec(proptest::sample::select(&PIECES[6..12]), 0..3);
    let bodies = proptest::collection::vec(proptest::sample::select(&PIECES[12..17]), 0..3);
    let hosts = prop_oneof![8 => Just(b"Host: a\r\n".as_slice()), 1 => Just(b"".as_slice())];
    let message = (lines, hosts, fields, bodies).prop_map(|(line, host, fields, body)| {
        [line, host, &fields.concat(), b"\r\n", &body.concat()].concat()
    });
    proptest::collection::vec(message, 1..4).prop_map(|messages| messages.concat())
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = proptest::sample::select(&PIECES[..]);
    let good = proptest::sample::select(&PIECES[33..]);
    let mix = proptest::collection::vec(prop_oneof![3 => piece, 1 => good], 1..12).prop_map(|p| p.concat());
    let mix = prop_oneof![mix, messages()];
    // A byte of it may be another one.
    (mix, any::<proptest::sample::Index>(), proptest::option::of(any::<u8>())).prop_map(
        |(mut bytes, at, byte)| {
            if let Some(byte) = byte {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        },
    )
}

/// Whether hyper answers 400 and asks nobody.
fn hyper_refuses(head: &[u8]) -> bool {
    use hyper::{server::conn::http1, service::service_fn};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(4096);
        client.write_all(head).await.unwrap();
        client.shutdown().await.unwrap();
        let asked = std::cell::Cell::new(false);
        let service = service_fn(|_| {
            asked.set(true);
            async { Ok::<_, std::convert::Infallible>(http::Response::new(crate::http::Body::empty())) }
        });
        let io = hyper_util::rt::TokioIo::new(server);
        let _ = http1::Builder::new().serve_connection(io, service).await;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        !asked.get() && answer.starts_with("HTTP/1.1 400")
    })
}

/// What takes a byte's place: nothing, one that means something to a parser, or any.
fn odd_bytes() -> impl Strategy<Value = Option<u8>> {
    let meaningful = proptest::sample::select(&b"\r\n\t :#\0\x7f\x80"[..]);
    prop_oneof![Just(None), meaningful.prop_map(Some), any::<u8>().prop_map(Some)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn whatever_is_let_through_is_accepted_by_a_second_reader(input in pieces()) {
        let (approved, _) = whole(&input);
        prop_assert!(second_reader_accepts(&input[..approved]), "{}", input[..approved].escape_ascii());
    }

    #[test]
    fn the_verdict_does_not_depend_on_where_the_bytes_are_cut(
        input in pieces(),
        cuts in proptest::collection::vec(1..20usize, 1..6),
    ) {
        let at_once = whole(&input);
        prop_assert_eq!(feed(&input, &cuts), at_once);
        prop_assert_eq!(feed(&input, &[1]), at_once);
    }

    /// Only what hyper refuses may get past the quick look, but not past the strict reader.
    #[test]
    fn what_the_quick_look_lets_through_is_good_or_hyper_refuses_it(
        target in "[!-~]{0,12}",
        names in proptest::collection::vec("[A-Za-z0-9-]{1,18}", 0..4),
        value in "[ -~\\t]{0,20}",
        changed in proptest::collection::vec((any::<proptest::sample::Index>(), odd_bytes()), 0..3),
    ) {
        let fields: String = names.iter().map(|name| format!("{name}:{value}\r\n")).collect();
        let mut head = format!("GET /{target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes();
        for (at, byte) in changed {
            let at = at.index(head.len());
            head.splice(at..=at, byte);
        }
        let Some(length) = ordinary_head(&head, &Scanner::new(&limits()).bounds) else { return Ok(()) };
        let good = whole(&head[..length]) == (length, End::More);
        prop_assert!(good || hyper_refuses(&head[..length]), "{}", head.escape_ascii());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(input in proptest::collection::vec(any::<u8>(), 0..200)) {
        whole(&input);
        feed(&input, &[1]);
    }

    #[test]
    fn good_messages_are_let_through_whole(
        messages in proptest::collection::vec(proptest::sample::select(&PIECES[33..]), 1..6),
        cuts in proptest::collection::vec(1..50usize, 1..4),
    ) {
        let input = messages.concat();
        prop_assert_eq!(feed(&input, &cuts), (input.len(), End::More));
    }
}

#[test]
fn a_limit_is_met_before_the_line_ends() {
    let endless = [b"GET /".as_slice(), &[b'a'; 1000]].concat();
    assert_eq!(whole(&endless), (0, End::Refused(Refusal::TargetTooLong)));
    let endless = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; 1000]].concat();
    assert_eq!(whole(&endless), (0, End::Refused(Refusal::FieldsTooLarge)));
    let many = [b"GET / HTTP/1.1\r\n".as_slice(), &b"a:b\r\n".repeat(9)].concat();
    assert_eq!(whole(&many), (0, End::Refused(Refusal::FieldsTooLarge)));
}

#[test]
fn limits_are_met_exactly() {
    let target = |n: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(n - 1));
    assert_eq!(whole(target(200).as_bytes()).1, End::More);
    assert_eq!(whole(target(201).as_bytes()).1, End::Refused(Refusal::TargetTooLong));
    // name and value: `Host` + `a` is 5, `X` is 1
    let fields = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(n - 6));
    assert_eq!(whole(fields(400).as_bytes()).1, End::More);
    assert_eq!(whole(fields(401).as_bytes()).1, End::Refused(Refusal::FieldsTooLarge));
}

#[test]
fn what_follows_an_upgrade_is_held_back() {
    let first = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n";
    let input = [first.as_slice(), b"\x00\x01not http"].concat();
    let mut scanner = Scanner::new(&limits());
    assert_eq!(scanner.scan(&input), Scan { approved: first.len(), end: End::Paused });
    scanner.resume();
    assert_eq!(scanner.scan_with(&input[first.len()..], never).end, End::Refused(Refusal::RequestLine));
}

#[test]
fn chunk_extensions_are_bounded() {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let one = [head.clone(), format!("1;{}\r\na\r\n", "x".repeat(200)).into_bytes()].concat();
    assert_eq!(whole(&one).1, End::More);
    let long = [head.clone(), format!("1;{}\r\na\r\n", "x".repeat(300)).into_bytes()].concat();
    assert!(matches!(whole(&long).1, End::Broken(_)));
    let many = [head, format!("1;{}\r\na\r\n", "x".repeat(200)).repeat(30).into_bytes()].concat();
    assert!(matches!(whole(&many).1, End::Broken(_)));
}
