//! Generations of credentials (DESIGN section 2): what was learnt about a credential holds for one generation of it.
//!
//! Each part of a credential (`Authorization`, each cookie) has a number from one counter that only grows. Ending a
//! part forgets its number, and the next that asks gets a new one. So a number that is not there, because it was
//! ended or because the bounded memory dropped it, is never current again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;

use super::digest::Digest;

/// How many parts of credentials have a generation at once.
const REMEMBERED: usize = 40_000;

/// The numbers of the parts.
pub(super) struct Generations {
    next: AtomicU64,
    numbers: Cache<Digest, u64>,
}

impl Generations {
    pub(super) fn new() -> Arc<Self> {
        Self::with_room(REMEMBERED)
    }

    fn with_room(room: usize) -> Arc<Self> {
        Arc::new(Self { next: AtomicU64::new(0), numbers: Cache::new(room) })
    }

    /// The present generation of a credential; it begins here where there was none.
    pub(super) fn of(self: &Arc<Self>, parts: &[Digest]) -> Generation {
        let numbered = parts.iter().map(|part| (*part, self.number(part))).collect();
        Generation(Arc::new(Numbers { memory: self.clone(), parts: numbered }))
    }

    /// Two callers at once may both begin one: the later number stays, the earlier one is not current. That costs a
    /// question, nothing else.
    fn number(&self, part: &Digest) -> u64 {
        self.numbers.get(part).unwrap_or_else(|| {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            self.numbers.insert(*part, number);
            number
        })
    }

    /// Ends the present generation of every part.
    pub(super) fn end<'a>(&self, parts: impl IntoIterator<Item = &'a Digest>) {
        for part in parts {
            self.numbers.remove(part);
        }
    }
}

/// One generation of one credential. A fill keeps it and is stored only if it is still current at the fill's end.
#[derive(Clone)]
pub struct Generation(Arc<Numbers>);

struct Numbers {
    memory: Arc<Generations>,
    parts: Box<[(Digest, u64)]>,
}

impl Generation {
    /// Whether nothing has ended it.
    pub fn is_current(&self) -> bool {
        self.0.parts.iter().all(|(part, number)| self.0.memory.numbers.get(part) == Some(*number))
    }

    /// Whether the two are one handle.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Ends it, for everybody who uses the credential.
    pub fn end(&self) {
        self.0.memory.end(self.0.parts.iter().map(|(part, _)| part));
    }
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generation").field("current", &self.is_current()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::digest::Digester;
    use super::*;

    #[test]
    fn ending_one_part_ends_every_credential_that_has_it() {
        let digester = Digester::new().unwrap();
        let [a, b, c] = [b"a", b"b", b"c"].map(|part| digester.of(0, part));
        let memory = Generations::new();
        let (ab, bc, only_c) = (memory.of(&[a, b]), memory.of(&[b, c]), memory.of(&[c]));
        assert!(ab.is_current() && bc.is_current() && only_c.is_current());
        ab.end();
        assert!(!ab.is_current() && !bc.is_current() && only_c.is_current());
        assert!(memory.of(&[a, b]).is_current() && !ab.is_current());
    }

    #[test]
    fn a_memory_that_forgets_never_makes_an_old_generation_current_again() {
        let digester = Digester::new().unwrap();
        let memory = Generations::with_room(8);
        let first: Vec<_> = (0..1_000_u32)
            .map(|i| {
                let part = digester.of(0, &i.to_le_bytes());
                (part, memory.of(&[part]))
            })
            .collect();
        let forgotten: Vec<_> = first.iter().filter(|(_, generation)| !generation.is_current()).collect();
        assert!(forgotten.len() > 900);
        for (part, old) in forgotten {
            let new = memory.of(&[*part]);
            assert!(!old.is_current());
            drop(new);
        }
    }
}
