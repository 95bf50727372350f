//! The small rules of HTTP/1's grammar that the reader needs (RFC 9112 section 3, RFC 9110 sections 5.6 and 8.6).

use super::refusal::Refusal;

/// The longest method. Everything longer is noise.
pub(super) const MAX_METHOD: usize = 32;

/// `method SP request-target SP HTTP-version`. Says whether the version is 1.0.
pub(super) fn request_line(line: &[u8], longest: usize) -> Result<bool, Refusal> {
    let mut parts = line.split(|&b| b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::RequestLine);
    };
    if method.is_empty() || method.len() > MAX_METHOD || !method.iter().all(|&b| is_token(b)) {
        return Err(Refusal::RequestLine);
    }
    if target.len() > longest {
        return Err(Refusal::TargetTooLong);
    }
    let http_1_0 = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ => return Err(Refusal::Version),
    };
    if method == b"CONNECT" || method == Refusal::METHOD.as_bytes() {
        return Err(Refusal::Method);
    }
    if !is_target(target, method) {
        return Err(Refusal::Target);
    }
    Ok(http_1_0)
}

/// `1*DIGIT`, and a number that no arithmetic overflows on.
pub(super) fn length(value: &[u8]) -> Result<u64, Refusal> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::Length);
    }
    Ok(value.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// Without the optional whitespace around it, which is SP and HTAB only.
pub(super) fn trim(value: &[u8]) -> &[u8] {
    let is_space = |b: &u8| matches!(b, b' ' | b'\t');
    let start = value.iter().position(|b| !is_space(b)).unwrap_or(value.len());
    let end = value.iter().rposition(|b| !is_space(b)).map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}

/// Origin form, absolute form, or `*` for `OPTIONS` (RFC 9112 section 3.2); no fragment, no byte that needs encoding.
fn is_target(target: &[u8], method: &[u8]) -> bool {
    let form = match target.first() {
        Some(b'/') => true,
        Some(b'*') => target.len() == 1 && method == b"OPTIONS",
        Some(_) => [b"http://".as_slice(), b"https://"]
            .iter()
            .any(|scheme| target.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme))),
        None => false,
    };
    form && target.iter().all(|&b| (0x21..0x7f).contains(&b) && b != b'#')
}

/// `tchar` (RFC 9110 section 5.6.2).
pub(super) const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};
