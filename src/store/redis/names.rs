//! The names of keys in Redis: `PREFIX:1:TENANT:ROUTE:{DIGEST}`, and the same with `:fill` for the lease of a fill. 1 is the
//! version of the format. The braces are the Cluster's hash tag: an entry and its lease lie in one slot.
//!
//! The log's keys begin with `PREFIX:1:{purge}:`; no tenant's name begins with a brace.

use crate::key::NAME_VERSION;

/// The names of one store.
#[derive(Debug, Clone)]
pub struct Names {
    begin: String,
}

impl Names {
    /// Those below a prefix of letters, digits, `_`, `.` and `-`.
    pub fn new(prefix: &str) -> Self {
        Self { begin: format!("{prefix}:{NAME_VERSION}:") }
    }

    /// What every name begins with. No character of it means anything to `SCAN MATCH`.
    pub fn begin(&self) -> &str {
        &self.begin
    }

    /// What the names of the log's keys begin with.
    pub fn log(&self) -> String {
        format!("{}{{purge}}:", self.begin)
    }
}

/// The name of the lease of a fill.
pub(super) fn fill(entry: &str) -> String {
    format!("{entry}:fill")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{CacheKey, KeyParts};

    #[test]
    fn entries_lie_below_what_every_name_begins_with_and_never_among_the_logs_keys() {
        let names = Names::new("shop");
        let entry = CacheKey::new(&KeyParts::PLAIN).unwrap().shared_name("shop");
        assert!(entry.starts_with(names.begin()) && !entry.starts_with(&names.log()), "{entry}");
        assert_eq!(fill(&entry), format!("{entry}:fill"));
    }
}
