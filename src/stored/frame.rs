//! The frame of an entry that leaves the process: 64 bytes of fixed places, before the payload (docs/entry-format.md).
//!
//! Invariant: a frame that is read is one that this version writes. What it does not know, down to a reserved byte, it refuses.

use std::fmt;

/// The length of the frame.
pub(super) const FRAME: usize = 64;

/// What every entry begins with, before the digit of the version.
const MAGIC: [u8; 3] = *b"LRD";
/// The version of the whole format. Whatever is changed in it needs another.
const VERSION: u8 = b'1';

/// The payload is compressed.
const COMPRESSED: u8 = 1;
/// The payload is encrypted.
const ENCRYPTED: u8 = 2;

/// Tickets are below this: what scripts in Redis compare are numbers of 53 bits.
pub(super) const TICKETS: u64 = 1 << 53;

/// Why bytes are not an entry that may be used. Each is as if nothing had been there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecodable {
    /// It does not begin as an entry does.
    NotAnEntry,
    /// It is of this version of the format.
    Version(u8),
    /// It is of a kind, or has a flag or a reserved byte, that this version does not know.
    Unknown,
    /// It is longer or shorter than it says.
    Length,
    /// It says that it is larger than this store takes.
    TooLarge,
    /// It was damaged.
    Checksum,
    /// It is not encrypted, and has to be.
    NotEncrypted,
    /// It is encrypted with a key that is not configured; this is its id.
    UnknownKey(u16),
    /// It was not encrypted by somebody who has the key, for this name, with this frame.
    NotAuthentic,
    /// It cannot be decompressed to what it says.
    Compression,
    /// It is the entry of another cache key.
    OtherKey,
    /// Its payload breaks the format here.
    Malformed(&'static str),
    /// It was received later than now: the clock of the server was set back.
    Future,
    /// It ended before this process began.
    Over,
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnEntry => f.write_str("no entry of Larder"),
            Self::Version(version) => {
                write!(f, "an entry of version {}", char::from(*version).escape_default())
            }
            Self::Unknown => f.write_str("an entry with a kind, a flag or a field that is not known"),
            Self::Length => f.write_str("an entry of another length than it says"),
            Self::TooLarge => f.write_str("an entry larger than the store takes"),
            Self::Checksum => f.write_str("a damaged entry"),
            Self::NotEncrypted => f.write_str("an entry that is not encrypted"),
            Self::UnknownKey(id) => {
                write!(f, "an entry encrypted with the key {id:04x}, which is not configured")
            }
            Self::NotAuthentic => f.write_str("an entry that was not encrypted for this place"),
            Self::Compression => f.write_str("an entry that cannot be decompressed"),
            Self::OtherKey => f.write_str("an entry of another cache key"),
            Self::Malformed(what) => write!(f, "a malformed entry: {what}"),
            Self::Future => f.write_str("an entry received later than now"),
            Self::Over => f.write_str("an entry that ended before this process began"),
        }
    }
}

impl std::error::Error for Undecodable {}

/// What an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Response,
    Variants,
}

/// What stands in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) compressed: bool,
    /// The id of the key that it is encrypted with.
    pub(super) key: Option<u16>,
    pub(super) ticket: u64,
    pub(super) incarnation: [u8; 16],
    pub(super) seq: u64,
    /// The length of the payload as it stands there.
    pub(super) payload: u32,
    /// Its length before compression and encryption.
    pub(super) raw: u32,
}

impl Frame {
    /// Its bytes, with nothing in the place of the checksum.
    pub(super) fn to_bytes(self) -> [u8; FRAME] {
        let flags =
            if self.compressed { COMPRESSED } else { 0 } | if self.key.is_some() { ENCRYPTED } else { 0 };
        let ticket = format!("{:016x}", self.ticket);
        let parts: [&[u8]; 11] = [
            &MAGIC,
            &[VERSION],
            &[self.kind as u8],
            &[flags],
            &self.key.unwrap_or(0).to_be_bytes(),
            ticket.as_bytes(),
            &self.incarnation,
            &self.seq.to_be_bytes(),
            &self.payload.to_be_bytes(),
            &self.raw.to_be_bytes(),
            &[0; 8], // the checksum and what is reserved
        ];
        let mut bytes = [0; FRAME];
        for (place, byte) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *place = *byte;
        }
        bytes
    }

    /// The frame at the front of an entry, whose checksum is right, and the payload.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, &[u8]), Undecodable> {
        let (frame, payload) = bytes.split_first_chunk::<FRAME>().ok_or(Undecodable::NotAnEntry)?;
        let (read, sum) = Self::parse(frame)?;
        if payload.len() != read.payload as usize {
            return Err(Undecodable::Length);
        }
        let mut unsummed = *frame;
        put_sum(&mut unsummed, 0);
        if checksum(&unsummed, payload) != sum {
            return Err(Undecodable::Checksum);
        }
        // Whatever else stands in it is not known: another flag, a reserved byte, a digit in upper case.
        if unsummed == read.to_bytes() { Ok((read, payload)) } else { Err(Undecodable::Unknown) }
    }

    /// What stands in the frame, and its checksum.
    fn parse(frame: &[u8; FRAME]) -> Result<(Self, u32), Undecodable> {
        let mut rest = frame.as_slice();
        if chunk(&mut rest)? != MAGIC {
            return Err(Undecodable::NotAnEntry);
        }
        let [version, kind, flags] = chunk(&mut rest)?;
        if version != VERSION {
            return Err(Undecodable::Version(version));
        }
        let kind = match kind {
            0 => Kind::Response,
            1 => Kind::Variants,
            _ => return Err(Undecodable::Unknown),
        };
        let key = u16::from_be_bytes(chunk(&mut rest)?);
        let ticket = chunk::<16>(&mut rest)?;
        let ticket =
            std::str::from_utf8(&ticket).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let frame = Self {
            kind,
            compressed: flags & COMPRESSED != 0,
            key: (flags & ENCRYPTED != 0).then_some(key),
            ticket: ticket.filter(|ticket| *ticket < TICKETS).ok_or(Undecodable::Unknown)?,
            incarnation: chunk(&mut rest)?,
            seq: u64::from_be_bytes(chunk(&mut rest)?),
            payload: u32::from_be_bytes(chunk(&mut rest)?),
            raw: u32::from_be_bytes(chunk(&mut rest)?),
        };
        Ok((frame, u32::from_be_bytes(chunk(&mut rest)?)))
    }
}

fn chunk<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Undecodable> {
    let (chunk, after) = rest.split_first_chunk::<N>().ok_or(Undecodable::NotAnEntry)?;
    *rest = after;
    Ok(*chunk)
}

/// Where the checksum stands.
const CHECKSUM: usize = 56;

/// The checksum (CRC-32) of a frame that has none yet, and its payload.
fn checksum(frame: &[u8; FRAME], payload: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(frame);
    sum.update(payload);
    sum.finalize()
}

fn put_sum(frame: &mut [u8; FRAME], sum: u32) {
    frame.iter_mut().skip(CHECKSUM).zip(sum.to_be_bytes()).for_each(|(place, byte)| *place = byte);
}

/// Writes frame and checksum into the place that was left before the payload.
pub(super) fn finish(frame: Frame, entry: &mut [u8]) {
    if let Some((place, payload)) = entry.split_first_chunk_mut::<FRAME>() {
        *place = frame.to_bytes();
        put_sum(place, checksum(place, payload));
    }
}
