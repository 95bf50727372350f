//! A look at everything that is stored: for operators, never on the way of a request.

use std::sync::Arc;

use super::Cache;
use crate::key::CacheKey;
use crate::policy::Validity;
use crate::store::Seen;
use crate::stored::{Entry, StoredResponse};

/// A stored response that is shown to an operator.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The store's number.
    pub store: usize,
    /// The key under which it lies.
    pub key: CacheKey,
    /// The response.
    pub response: Arc<StoredResponse>,
    /// What the fence says of it; never *purged*.
    pub validity: Validity,
}

impl Cache {
    /// Shows every response that could still be served. It takes as long as the stores are large: call it on a thread
    /// that may block. What comes and goes meanwhile may be left out.
    pub fn inspect(&self, mut see: impl FnMut(Shown)) {
        for (store, backend) in self.0.stores.iter().enumerate() {
            let _ = backend.visit(&mut |key, entry| {
                if let Entry::Response(response) = entry {
                    let validity = self.check(response);
                    if validity != Validity::Purged {
                        see(Shown { store, key: key.clone(), response: response.clone(), validity });
                    }
                }
                Seen::Keep
            });
        }
    }

    /// The key with this name, as inspection shows it, or the one whose variant has it.
    pub fn key_named(&self, name: &str) -> Option<CacheKey> {
        let mut found = None;
        for backend in &self.0.stores {
            let _ = backend.visit(&mut |key, _| {
                if key.name() == name {
                    found = Some(key.base());
                    return Seen::Stop;
                }
                Seen::Keep
            });
        }
        found
    }
}
