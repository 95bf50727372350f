//! The strict reader of HTTP/1 requests: a state machine that finds where each message ends and refuses whatever
//! could be read in a second way (RFC 9112 sections 2.2, 3, 5, 6, 7).
//!
//! Keeps: a head is approved as a whole or not at all; the verdict does not depend on how the bytes were cut; each byte
//! is looked at a few times at most; nothing is allocated. An ordinary head that arrives whole gets a quick look instead (`quick.rs`);
//! of that, hyper refuses what this reader would.

use memchr::memchr;

use super::grammar::{self, MAX_METHOD, is_token, length, trim};
use super::quick::{Bounds, ordinary_head};
use super::refusal::Refusal;
use crate::config::Limits;

/// What a request line has besides method and target: two spaces, the version, the line's end.
const LINE_EXTRA: usize = 12;
/// The longest line before a chunk, extensions included (RFC 9112 section 7.1.1 asks for a limit).
const MAX_CHUNK_LINE: usize = 256;
/// What chunk extensions may add up to in one message.
const MAX_EXTENSIONS: usize = 4096;

/// How far a scan came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scan {
    /// So many bytes from the front may be handed on.
    pub(super) approved: usize,
    /// Why it stopped there.
    pub(super) end: End,
}

/// Why a scan stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The rest, if any, is the beginning of something.
    More,
    /// A request asked for an upgrade: what follows it is a request or a tunnel, which only the answer tells.
    Paused,
    /// The next head is refused.
    Refused(Refusal),
    /// The body of the last head is malformed.
    Broken(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Fields,
    Content(u64),
    ChunkLine,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    Paused,
    Failed(End),
}

/// What the head so far has said of the message.
#[derive(Debug, Clone, Copy, Default)]
struct Head {
    http_1_0: bool,
    empty_lines: u8,
    hosts: u8,
    chunked: bool,
    length: Option<u64>,
    upgrade: bool,
    fields: usize,
    bytes: usize,
    extensions: usize,
}

/// The reader. Feed it what is not yet approved, from its beginning, each time that there is more.
#[derive(Debug)]
pub(super) struct Scanner {
    state: State,
    head: Head,
    /// Bytes at the front that are whole lines and were checked, but not approved.
    checked: usize,
    /// Bytes behind those that hold no line feed.
    searched: usize,
    bounds: Bounds,
}

impl Scanner {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            state: State::Start,
            head: Head::default(),
            checked: 0,
            searched: 0,
            bounds: Bounds {
                uri: limits.uri,
                header_bytes: limits.header_bytes,
                header_count: limits.header_count,
            },
        }
    }

    /// Whether everything so far was whole messages.
    pub(super) fn is_between_messages(&self) -> bool {
        self.state == State::Start && self.checked + self.searched == 0
    }

    /// After [`End::Paused`]: the connection stays with HTTP.
    pub(super) fn resume(&mut self) {
        if self.state == State::Paused {
            self.state = State::Start;
        }
    }

    /// Reads on. `data` begins with the first byte that was not approved by the calls before.
    pub(super) fn scan(&mut self, data: &[u8]) -> Scan {
        // By far the most reads are one such head and no more.
        if self.is_between_messages() && ordinary_head(data, &self.bounds) == Some(data.len()) {
            return Scan { approved: data.len(), end: End::More };
        }
        self.scan_with(data, ordinary_head)
    }

    /// As `scan`. `quick` may say of a head where it ends, which is then not read strictly.
    #[inline(never)] // what it needs on the stack is not set up for a quick look
    fn scan_with(&mut self, data: &[u8], quick: impl Fn(&[u8], &Bounds) -> Option<usize>) -> Scan {
        let (mut at, mut approved) = (self.checked.min(data.len()), 0);
        let end = loop {
            let rest = data.get(at..).unwrap_or_default();
            // It is tried before anything is known of a head: no byte is looked at more often than three times.
            if self.state == State::Start
                && at == approved
                && self.searched == 0
                && let Some(head) = quick(rest, &self.bounds)
            {
                at += head;
                approved = at;
                continue;
            }
            match self.step(rest) {
                Step::Take(n, whole) => {
                    at += n;
                    self.searched = 0;
                    approved = if whole { at } else { approved };
                }
                Step::Stop(end) => break end,
            }
        };
        self.checked = at - approved;
        if matches!(end, End::Refused(_) | End::Broken(_)) {
            self.state = State::Failed(end);
        }
        Scan { approved, end }
    }

    fn step(&mut self, rest: &[u8]) -> Step {
        match self.state {
            State::Paused => Step::Stop(End::Paused),
            State::Failed(end) => Step::Stop(end),
            _ if rest.is_empty() => Step::Stop(End::More),
            State::Content(left) => self.skip(rest, left, State::Content),
            State::ChunkData(left) => self.skip(rest, left, State::ChunkData),
            State::ChunkEnd => self.chunk_end(rest),
            State::Start | State::Fields | State::ChunkLine | State::Trailers => self.line(rest),
        }
    }

    fn skip(&mut self, rest: &[u8], left: u64, state: fn(u64) -> State) -> Step {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        let left = left - n as u64;
        self.state = match state(left) {
            State::Content(0) => self.after_message(),
            State::ChunkData(0) => State::ChunkEnd,
            more => more,
        };
        Step::Take(n, true)
    }

    fn chunk_end(&mut self, rest: &[u8]) -> Step {
        match rest {
            [b'\r', b'\n', ..] => {
                self.state = State::ChunkLine;
                Step::Take(2, true)
            }
            [b'\r'] => Step::Stop(End::More),
            _ => Step::Stop(End::Broken("a chunk is longer than it says")),
        }
    }

    /// Finds the next line and reads it.
    fn line(&mut self, rest: &[u8]) -> Step {
        if let Some(end) = self.hopeless(rest) {
            return Step::Stop(end);
        }
        let from = self.searched.min(rest.len());
        let Some(feed) = memchr(b'\n', rest.get(from..).unwrap_or_default()).map(|i| i + from) else {
            self.searched = rest.len();
            return Step::Stop(self.too_long(rest.len()).unwrap_or(End::More));
        };
        let line = rest.get(..feed).unwrap_or_default();
        if let Some(end) = self.too_long(feed + 1) {
            return Step::Stop(end);
        }
        let Some(line) = line.strip_suffix(b"\r") else { return Step::Stop(self.bad(Refusal::BareLf)) };
        match self.read_line(line) {
            Ok(whole) => Step::Take(feed + 1, whole),
            Err(end) => Step::Stop(end),
        }
    }

    /// What can be told from the first byte of a line, so that nobody waits for its end.
    fn hopeless(&self, rest: &[u8]) -> Option<End> {
        let first = *rest.first()?;
        let fine = match self.state {
            State::Start => is_token(first) || first == b'\r' || first == b'\n',
            _ => true,
        };
        (!fine).then_some(End::Refused(Refusal::RequestLine))
    }

    /// Whether a line of so many bytes (its end included, where it has one) is beyond the limits.
    fn too_long(&self, bytes: usize) -> Option<End> {
        match self.state {
            State::Start if bytes > self.bounds.uri + MAX_METHOD + LINE_EXTRA => {
                Some(End::Refused(Refusal::TargetTooLong))
            }
            State::Fields | State::Trailers if self.head.bytes + bytes > self.bounds.header_bytes + 4 => {
                Some(self.bad(Refusal::FieldsTooLarge))
            }
            State::ChunkLine if bytes > MAX_CHUNK_LINE => {
                Some(End::Broken("the line before a chunk is too long"))
            }
            _ => None,
        }
    }

    /// A violation: of a head it is refused, of a body it breaks the request.
    fn bad(&self, refusal: Refusal) -> End {
        match self.state {
            State::Start | State::Fields => End::Refused(refusal),
            _ => End::Broken(refusal.sentence()),
        }
    }

    /// Reads a line without its end. Says whether everything up to here is approved.
    fn read_line(&mut self, line: &[u8]) -> Result<bool, End> {
        match self.state {
            State::Start => self.request_line(line).map_err(End::Refused).map(|()| false),
            State::Fields if line.is_empty() => self.end_of_head().map_err(End::Refused).map(|()| true),
            State::Fields => self.field(line).map_err(End::Refused).map(|()| false),
            State::ChunkLine => self.chunk_line(line).map_err(End::Broken).map(|()| true),
            _ if line.is_empty() => {
                self.state = self.after_message();
                Ok(true)
            }
            _ => match self.field(line) {
                Ok(()) => Ok(true),
                Err(refusal) => Err(End::Broken(refusal.sentence())),
            },
        }
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        if line.is_empty() && self.head.empty_lines == 0 {
            self.head.empty_lines = 1; // RFC 9112 section 2.2: one is forgiven
            return Ok(());
        }
        self.head.http_1_0 = grammar::request_line(line, self.bounds.uri)?;
        self.state = State::Fields;
        Ok(())
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Refusal> {
        self.head.fields += 1;
        self.head.bytes += (line.len() + 2).saturating_sub(4);
        if self.head.fields > self.bounds.header_count || self.head.bytes > self.bounds.header_bytes {
            return Err(Refusal::FieldsTooLarge);
        }
        let colon = line.iter().position(|&b| !is_token(b)).unwrap_or(line.len());
        let (name, rest) = line.split_at(colon);
        let Some((b':', value)) = rest.split_first() else {
            let folded = line.first().is_some_and(|b| matches!(b, b' ' | b'\t'));
            return Err(if folded { Refusal::Folded } else { Refusal::FieldName });
        };
        // No early exit: the compiler makes wide instructions of it.
        let control = value.iter().fold(false, |bad, &b| bad | ((b < 0x20) & (b != b'\t')) | (b == 0x7f));
        if name.is_empty() || control {
            return Err(if control { Refusal::Control } else { Refusal::FieldName });
        }
        if self.state == State::Trailers { Ok(()) } else { self.note(name, value) }
    }

    /// Remembers the fields that frame the message.
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.head.hosts = self.head.hosts.saturating_add(1);
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.head.upgrade = true,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let earlier = self.head.length.replace(length(trim(value))?);
                if earlier.is_some() {
                    return Err(Refusal::Length);
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.head.chunked || !trim(value).eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::Coding);
                }
                self.head.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn end_of_head(&mut self) -> Result<(), Refusal> {
        let head = self.head;
        match head.hosts {
            1 => {}
            0 if head.http_1_0 => {}
            0 => return Err(Refusal::NoHost),
            _ => return Err(Refusal::ManyHosts),
        }
        self.state = match (head.chunked, head.length) {
            (true, _) if head.http_1_0 => return Err(Refusal::CodingInHttp10),
            (true, Some(_)) => return Err(Refusal::LengthAndCoding),
            (true, None) => State::ChunkLine,
            (false, None | Some(0)) => self.after_message(),
            (false, Some(length)) => State::Content(length),
        };
        // Trailer fields have the limits of the header fields to themselves.
        self.head.fields = 0;
        self.head.bytes = 0;
        Ok(())
    }

    fn after_message(&mut self) -> State {
        let upgrade = std::mem::take(&mut self.head).upgrade;
        if upgrade { State::Paused } else { State::Start }
    }

    /// `chunk-size [ chunk-ext ]` (RFC 9112 section 7.1). Extensions are allowed, and go no further than hyper.
    fn chunk_line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let (size, extension) = line.split_at(digits);
        self.head.extensions += extension.len();
        let visible = extension.iter().all(|&b| (0x20..0x7f).contains(&b) || b == b'\t');
        if !visible || !matches!(extension.first(), None | Some(b';')) {
            return Err("the line before a chunk has bytes that do not belong there");
        }
        if self.head.extensions > MAX_EXTENSIONS {
            return Err("the request has too many chunk extensions");
        }
        let size = (1..=15).contains(&digits).then(|| std::str::from_utf8(size).ok()).flatten();
        let size = size.and_then(|size| u64::from_str_radix(size, 16).ok());
        self.state = match size.ok_or("the size of a chunk is not a number")? {
            0 => State::Trailers,
            size => State::ChunkData(size),
        };
        Ok(())
    }
}

/// What one step of the scan came to.
enum Step {
    /// So many bytes are read; whether all up to here is approved.
    Take(usize, bool),
    Stop(End),
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
