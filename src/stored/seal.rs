//! What is around the payload of an entry that leaves the process: compression (zstd), encryption (AES-256-GCM) and a checksum.
//!
//! Invariants: nothing larger than [`Seal::max_raw`] is made of what comes in, whatever it says of itself. Where keys are
//! configured, nothing is taken that was not encrypted with one of them for this cache key and with this frame. No secret
//! appears in `Debug` or in an error.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf;

use super::frame::{FRAME, Frame, finish};
use crate::key::CacheKey;

pub use super::frame::Undecodable;

/// A secret that entries are encrypted with: each with a key of its own that is derived from it.
#[derive(Clone)]
pub struct SealKey {
    secret: Arc<[u8]>,
    id: u16,
}

impl SealKey {
    /// The shortest secret, in bytes.
    pub const MIN_BYTES: usize = 32;

    /// Takes the bytes of a secret (RFC 5869: any bytes of enough entropy), or gives `None` where they are fewer than
    /// [`SealKey::MIN_BYTES`].
    pub fn new(secret: &[u8]) -> Option<Self> {
        let id = digest(&SHA256, &[b"larder key id", secret].concat());
        let id = id.as_ref().first_chunk().map_or(0, |first| u16::from_be_bytes(*first));
        (secret.len() >= Self::MIN_BYTES).then(|| Self { secret: secret.into(), id: id.max(1) })
    }

    /// The number by which entries name it.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// The key of one thing of a kind (RFC 5869).
    fn derive(&self, kind: &[u8], salt: &[u8; SALT]) -> Result<LessSafeKey, NotSealed> {
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&self.secret);
        let info = [kind];
        let derived = derived.expand(&info, &AES_256_GCM).map_err(|_| NotSealed)?;
        Ok(LessSafeKey::new(UnboundKey::from(derived)))
    }

    /// Encrypts in place, and gives the tag.
    fn encrypt(
        &self,
        kind: &[u8],
        entropy: &[u8; ENTROPY],
        bound: &[u8],
        plain: &mut [u8],
    ) -> Result<impl AsRef<[u8]> + use<>, NotSealed> {
        let (salt, nonce) = split(entropy).ok_or(NotSealed)?;
        let derived = self.derive(kind, salt)?;
        derived.seal_in_place_separate_tag(nonce, Aad::from(bound), plain).map_err(|_| NotSealed)
    }

    /// What was encrypted, with its entropy before it and its tag behind it; `None`: not with this key, or not for this.
    fn decrypt(&self, kind: &[u8], bound: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (entropy, sealed) = sealed.split_first_chunk::<ENTROPY>()?;
        let (salt, nonce) = split(entropy)?;
        let mut data = sealed.to_vec();
        let length =
            self.derive(kind, salt).ok()?.open_in_place(nonce, Aad::from(bound), &mut data).ok()?.len();
        data.truncate(length);
        Some(data)
    }
}

/// The secrets that short texts in Redis are encrypted with, which are no entries: `id, salt, nonce, ciphertext, tag`. Without a
/// secret they stay as they are.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    kind: &'static [u8],
    keys: Vec<SealKey>,
}

impl Texts {
    /// Texts of a kind. Of the keys the first encrypts, and each decrypts.
    ///
    /// # Errors
    /// Where two keys have the same id.
    pub fn new(kind: &'static [u8], keys: Vec<SealKey>) -> Result<Self, SameId> {
        Ok(Self { kind, keys: of_several_ids(keys)? })
    }

    /// A text as it goes out, for this place alone; `None`: the system gives no randomness.
    pub fn close(&self, text: &[u8], place: &str) -> Option<Vec<u8>> {
        let Some(with) = self.keys.first() else { return Some(text.to_vec()) };
        let mut entropy = [0; ENTROPY];
        getrandom::fill(&mut entropy).ok()?;
        let mut sealed = text.to_vec();
        let tag = with.encrypt(self.kind, &entropy, place.as_bytes(), &mut sealed).ok()?;
        Some([&with.id.to_be_bytes(), entropy.as_slice(), &sealed, tag.as_ref()].concat())
    }

    /// A text that came in; `None`: nobody who has one of the keys put it there.
    pub fn open(&self, bytes: &[u8], place: &str) -> Option<Vec<u8>> {
        if self.keys.is_empty() {
            return Some(bytes.to_vec());
        }
        let (id, sealed) = bytes.split_first_chunk()?;
        let with = self.keys.iter().find(|key| key.id == u16::from_be_bytes(*id))?;
        with.decrypt(self.kind, place.as_bytes(), sealed)
    }
}

fn of_several_ids(keys: Vec<SealKey>) -> Result<Vec<SealKey>, SameId> {
    let same = |at: usize, key: &SealKey| keys.iter().take(at).any(|other| other.id == key.id);
    match keys.iter().enumerate().find(|(at, key)| same(*at, key)) {
        Some((_, key)) => Err(SameId(key.id)),
        None => Ok(keys),
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKey({:04x})", self.id)
    }
}

/// Which payloads are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compress {
    /// Those of so many bytes or more.
    pub above: usize,
    /// The level of zstd.
    pub level: i32,
}

impl Default for Compress {
    fn default() -> Self {
        Self { above: 4 * 1024, level: 1 }
    }
}

/// Two of the keys have the same id: entries could not tell which of them they mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SameId(pub u16);

impl fmt::Display for SameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "two keys have the id {:04x}: one of them has to be another", self.0)
    }
}

impl std::error::Error for SameId {}

/// How entries leave the process and come back: what one store is configured to do.
#[derive(Debug, Clone)]
pub struct Seal {
    max_raw: usize,
    compress: Option<Compress>,
    keys: Vec<SealKey>,
}

/// An entry could not be encrypted.
#[derive(Debug)]
pub(super) struct NotSealed;

/// What an entry's key is derived for.
const ENTRY: &[u8] = b"larder entry 1";

const SALT: usize = 16;
const TAG: usize = 16;
/// What encryption adds before a payload: salt and nonce, both random.
pub(super) const ENTROPY: usize = SALT + NONCE_LEN;

impl Seal {
    /// Payloads of up to `max_raw` bytes (head, tags and body, before compression; at most 2 GiB) go out and come in.
    /// Of the keys the first encrypts, and each decrypts; without keys nothing is encrypted.
    ///
    /// # Errors
    /// Where two keys have the same id.
    pub fn new(max_raw: usize, compress: Option<Compress>, keys: Vec<SealKey>) -> Result<Self, SameId> {
        Ok(Self { max_raw: max_raw.min(1 << 31), compress, keys: of_several_ids(keys)? })
    }

    /// The largest payload, in bytes, before compression and after decompression.
    pub fn max_raw(&self) -> usize {
        self.max_raw
    }

    /// Whether entries are encrypted.
    pub fn encrypts(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The payload behind its frame, of which the lengths and how it is sealed are still to be filled in.
    pub(super) fn close(
        &self,
        mut frame: Frame,
        raw: &[u8],
        key: &CacheKey,
        entropy: &[u8; ENTROPY],
    ) -> Result<Vec<u8>, NotSealed> {
        let packed = self.compressed(raw);
        let data = packed.as_deref().unwrap_or(raw);
        let with = self.keys.first();
        let payload = data.len() + with.map_or(0, |_| ENTROPY + TAG);
        frame.compressed = packed.is_some();
        frame.key = with.map(SealKey::id);
        frame.payload = u32::try_from(payload).map_err(|_| NotSealed)?;
        frame.raw = u32::try_from(raw.len()).map_err(|_| NotSealed)?;
        let mut entry = Vec::with_capacity(FRAME + payload);
        entry.extend_from_slice(&[0; FRAME]);
        match with {
            None => entry.extend_from_slice(data),
            Some(with) => {
                entry.extend_from_slice(entropy);
                entry.extend_from_slice(data);
                let plain = entry.get_mut(FRAME + ENTROPY..).ok_or(NotSealed)?;
                let tag = with.encrypt(ENTRY, entropy, &bound(frame, key), plain)?;
                entry.extend_from_slice(tag.as_ref());
            }
        }
        finish(frame, &mut entry);
        Ok(entry)
    }

    /// A payload that is large enough, compressed, where that saves something.
    fn compressed(&self, raw: &[u8]) -> Option<Vec<u8>> {
        let compress = self.compress.filter(|compress| raw.len() >= compress.above)?;
        let packed = zstd::bulk::compress(raw, compress.level).ok()?;
        (packed.len() < raw.len()).then_some(packed)
    }

    /// The frame of an entry, and its payload as it was before it was sealed.
    pub(super) fn open<'a>(
        &self,
        entry: &'a [u8],
        key: &CacheKey,
    ) -> Result<(Frame, Cow<'a, [u8]>), Undecodable> {
        let (frame, payload) = Frame::read(entry)?;
        let raw = usize::try_from(frame.raw).map_err(|_| Undecodable::TooLarge)?;
        if raw > self.max_raw {
            return Err(Undecodable::TooLarge);
        }
        let around = if frame.key.is_some() { ENTROPY + TAG } else { 0 };
        let data = payload.len().checked_sub(around).ok_or(Undecodable::Length)?;
        // What is compressed is shorter, and everything else as long as it was.
        if if frame.compressed { data >= raw } else { data != raw } {
            return Err(Undecodable::Length);
        }
        let data = match frame.key {
            Some(id) => Cow::Owned(self.decrypted(id, frame, payload, key)?),
            None if self.encrypts() => return Err(Undecodable::NotEncrypted),
            None => Cow::Borrowed(payload),
        };
        let data = if frame.compressed { Cow::Owned(decompressed(&data, raw)?) } else { data };
        Ok((frame, data))
    }

    fn decrypted(
        &self,
        id: u16,
        frame: Frame,
        payload: &[u8],
        key: &CacheKey,
    ) -> Result<Vec<u8>, Undecodable> {
        let with = self.keys.iter().find(|key| key.id == id).ok_or(Undecodable::UnknownKey(id))?;
        with.decrypt(ENTRY, &bound(frame, key), payload).ok_or(Undecodable::NotAuthentic)
    }
}

/// Salt and nonce.
fn split(entropy: &[u8; ENTROPY]) -> Option<(&[u8; SALT], Nonce)> {
    let (salt, nonce) = entropy.split_first_chunk::<SALT>()?;
    Some((salt, Nonce::try_assume_unique_for_key(nonce).ok()?))
}

/// What an encrypted payload is bound to: its frame (without the checksum) and the cache key.
fn bound(frame: Frame, key: &CacheKey) -> Vec<u8> {
    [&frame.to_bytes(), key.as_bytes()].concat()
}

/// Exactly so many bytes: more of them would find no room.
fn decompressed(data: &[u8], raw: usize) -> Result<Vec<u8>, Undecodable> {
    let raw_bytes = zstd::bulk::decompress(data, raw).map_err(|_| Undecodable::Compression)?;
    if raw_bytes.len() == raw { Ok(raw_bytes) } else { Err(Undecodable::Compression) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_long_enough_and_never_told() {
        assert!(SealKey::new(&[b's'; 31]).is_none());
        let secret = b"top-secret-top-secret-top-secret";
        let key = SealKey::new(secret).unwrap();
        let seal = Seal::new(1 << 20, Some(Compress::default()), vec![key.clone()]).unwrap();
        let shown = format!("{key:?} {seal:?} {:?} {}", SameId(key.id()), SameId(key.id()));
        assert!(shown.contains(&format!("{:04x}", key.id())));
        let listed = format!("{:?}", &secret[..4]);
        assert!(!shown.contains("top-") && !shown.contains(listed.trim_matches(['[', ']'])), "{shown}");
    }

    #[test]
    fn two_keys_with_one_id_are_refused() {
        let key = |n: u32| SealKey::new(&[&[0; 32][..], &n.to_be_bytes()].concat()).unwrap();
        let first = key(0);
        let same = (1..).map(key).find(|other| other.id() == first.id()).unwrap();
        let error = Seal::new(1, None, vec![first.clone(), key(1), same]).unwrap_err();
        assert_eq!(error, SameId(first.id()));
        assert!((0..100).all(|n| key(n).id() != 0));
    }

    #[test]
    fn what_compression_would_not_make_smaller_stays_as_it_is() {
        let seal = Seal::new(1 << 20, Some(Compress { above: 100, level: 1 }), Vec::new()).unwrap();
        let noise: Vec<u8> = (0_u8..32).flat_map(|n| digest(&SHA256, &[n]).as_ref().to_vec()).collect();
        assert_eq!(seal.compressed(&noise), None);
        assert_eq!(seal.compressed(&[0; 99]), None, "it is too small");
        let packed = seal.compressed(&[0; 100]).unwrap();
        assert!(packed.len() < 40);
        assert_eq!(decompressed(&packed, 100).unwrap(), [0; 100]);
        assert_eq!(decompressed(&packed, 99), Err(Undecodable::Compression));
        assert_eq!(decompressed(&packed, 101), Err(Undecodable::Compression));
    }
}
