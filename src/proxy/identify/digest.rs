//! Keyed digests of credentials: what the memories of this folder hold instead of tokens and cookies.
//!
//! Two independent 128-bit digests under random keys of the process. Without the keys nobody can construct a
//! collision, and equality compares all 256 bits. Parts are length-prefixed, so no two lists of parts are one.

use std::hash::{Hash, Hasher};

use siphasher::sip128::{Hasher128, SipHasher13};

use super::SetupError;

/// The digest of a credential, or of a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest {
    a: u128,
    b: u128,
}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The digest is keyed already: any 64 bits of it are as good as another hash.
        #[allow(clippy::cast_possible_truncation)]
        state.write_u64(self.a as u64);
    }
}

/// Makes [`Digest`]s.
#[derive(Clone)]
pub(super) struct Digester {
    a: SipHasher13,
    b: SipHasher13,
}

impl Digester {
    /// A digester under fresh random keys.
    pub(super) fn new() -> Result<Self, SetupError> {
        let mut keys = [[0_u8; 16]; 2];
        for key in &mut keys {
            getrandom::fill(key).map_err(|_| SetupError::new("the system gives no random bytes"))?;
        }
        Ok(Self { a: SipHasher13::new_with_key(&keys[0]), b: SipHasher13::new_with_key(&keys[1]) })
    }

    /// Begins a digest. `purpose` keeps digests of different things apart.
    pub(super) fn begin(&self, purpose: u8) -> Running {
        let mut running = Running(self.clone());
        running.0.a.write_u8(purpose);
        running.0.b.write_u8(purpose);
        running
    }

    /// The digest of one part.
    pub(super) fn of(&self, purpose: u8, part: &[u8]) -> Digest {
        self.begin(purpose).part(part).end()
    }
}

/// A digest under way.
pub(super) struct Running(Digester);

impl Running {
    /// Adds a part.
    pub(super) fn part(mut self, part: &[u8]) -> Self {
        for hasher in [&mut self.0.a, &mut self.0.b] {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
        self
    }

    /// The digest.
    pub(super) fn end(self) -> Digest {
        Digest { a: self.0.a.finish128().into(), b: self.0.b.finish128().into() }
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
        assert_ne!(ab_c.a, ab_c.b);
    }
}
