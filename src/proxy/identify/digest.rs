//! Keyed digests of credentials: what the memories of this folder hold instead of tokens and cookies.
//!
//! 128 bits under a random key of the process. Without the key nobody can construct a collision, and a guess hits with a
//! chance of 2^-128. Parts are length-prefixed, so no two lists of parts are one.

use std::hash::{Hash, Hasher};

use siphasher::sip128::{Hasher128, SipHasher13};

use super::SetupError;

/// The digest of a credential, or of a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest(u128);

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The digest is keyed already: any 64 bits of it are as good as another hash.
        #[allow(clippy::cast_possible_truncation)]
        state.write_u64(self.0 as u64);
    }
}

/// Makes [`Digest`]s.
#[derive(Clone)]
pub(super) struct Digester(SipHasher13);

impl Digester {
    /// A digester under a fresh random key.
    pub(super) fn new() -> Result<Self, SetupError> {
        let mut key = [0_u8; 16];
        getrandom::fill(&mut key).map_err(|_| SetupError::new("the system gives no random bytes"))?;
        Ok(Self(SipHasher13::new_with_key(&key)))
    }

    /// Begins a digest. `purpose` keeps digests of different things apart.
    pub(super) fn begin(&self, purpose: u8) -> Running {
        let mut running = Running(self.0);
        running.0.write_u8(purpose);
        running
    }

    /// The digest of one part.
    pub(super) fn of(&self, purpose: u8, part: &[u8]) -> Digest {
        self.begin(purpose).part(part).end()
    }
}

/// A digest under way.
pub(super) struct Running(SipHasher13);

impl Running {
    /// Adds a part.
    pub(super) fn part(mut self, part: &[u8]) -> Self {
        self.0.write(&(part.len() as u64).to_le_bytes());
        self.0.write(part);
        self
    }

    /// The digest.
    pub(super) fn end(self) -> Digest {
        Digest(self.0.finish128().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_purposes_and_keys_all_count() {
        let digester = Digester::new().unwrap();
        let ab_c = digester.begin(1).part(b"ab").part(b"c").end();
        assert_eq!(ab_c, digester.begin(1).part(b"ab").part(b"c").end());
        assert_ne!(ab_c, digester.begin(1).part(b"a").part(b"bc").end());
        assert_ne!(ab_c, digester.begin(2).part(b"ab").part(b"c").end());
        assert_ne!(ab_c, Digester::new().unwrap().begin(1).part(b"ab").part(b"c").end());
    }
}
