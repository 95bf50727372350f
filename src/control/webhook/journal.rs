//! What is remembered of webhooks across a restart: a file of JSON lines in the data directory.
//!
//! A line is written before its sender hears the answer, and is there after a crash of the process. It is not flushed to
//! the disk one by one: after a crash of the machine the last ids may be unknown, and an event that is sent again then
//! purges again, which does no harm. A line that is torn or unreadable is left out; the rest holds. The file is written
//! anew, flushed and renamed into place, when it is opened and when it has grown to several times what it must hold.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file's name in the data directory.
const NAME: &str = "webhooks.jsonl";

/// The file is written anew when it has so many lines, and four times what it must hold.
const MIN_LINES: usize = 1_000;

/// How many bytes are added before the file is written anew, however few the lines.
const MAX_GROWTH: usize = 8 << 20;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// An id that took effect.
    Id {
        /// The webhook.
        hook: String,
        /// The event's id.
        id: String,
        /// A digest of its body, in hex.
        body: String,
        /// Until when it is remembered: seconds since 1970.
        until: u64,
        /// What its sender was answered.
        receipt: String,
    },
    /// The highest running number.
    Number {
        /// The webhook.
        hook: String,
        /// The tenant, or `*`.
        tenant: String,
        /// The number.
        number: u64,
    },
}

/// The open file.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    file: File,
    lines: usize,
    /// What was added since the file was opened or written anew.
    bytes: usize,
    /// The last line may be torn: the next one begins on a line of its own.
    torn: bool,
    /// Held as long as the file is used: two processes must not share it.
    _lock: File,
}

impl Journal {
    /// Opens the file in this folder, which is made where it is not there, and gives what it holds.
    ///
    /// # Errors
    /// Where the folder cannot be used, or another process uses it.
    pub(super) fn open(folder: &Path) -> io::Result<(Self, Vec<Line>)> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let lock = private().write(true).create(true).truncate(false).open(folder.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::Error::other("another Larder uses this folder"),
            fs::TryLockError::Error(error) => error,
        })?;
        let lines = match fs::read(folder.join(NAME)) {
            Ok(bytes) => read(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let file = rewrite(folder, &lines)?;
        Ok((
            Self { folder: folder.to_owned(), file, lines: lines.len(), bytes: 0, torn: false, _lock: lock },
            lines,
        ))
    }

    /// Adds lines, in one write.
    ///
    /// # Errors
    /// Where the disk is full or fails. What was written of them is left out when the file is read.
    pub(super) fn append(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut bytes = if self.torn { vec![b'\n'] } else { Vec::new() };
        bytes.extend(text(lines)?);
        self.torn = true;
        self.file.write_all(&bytes)?;
        self.torn = false;
        self.lines += lines.len();
        self.bytes += bytes.len();
        Ok(())
    }

    /// Whether the file has grown to several times of what it must hold.
    pub(super) fn is_wasteful(&self, live: usize) -> bool {
        (self.lines > MIN_LINES && self.lines / 4 > live) || self.bytes > MAX_GROWTH
    }

    /// Writes the file anew with these lines only.
    ///
    /// # Errors
    /// As [`Journal::append`]; the old file stays.
    pub(super) fn compact(&mut self, lines: &[Line]) -> io::Result<()> {
        // Also where it fails: the next attempt is not made with every line.
        self.lines = lines.len();
        self.bytes = 0;
        self.file = rewrite(&self.folder, lines)?;
        self.torn = false;
        Ok(())
    }
}

/// Files that nobody else reads.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn text(lines: &[Line]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut bytes, line)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

fn read(bytes: &[u8]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut unreadable = 0;
    for line in bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(line) => lines.push(line),
            Err(_) => unreadable += 1,
        }
    }
    if unreadable > 0 {
        tracing::warn!(unreadable, "lines of what was remembered of webhooks are left out");
    }
    lines
}

fn rewrite(folder: &Path, lines: &[Line]) -> io::Result<File> {
    let fresh = folder.join(format!("{NAME}.new"));
    // Whatever an attempt before left.
    private().write(true).create(true).truncate(true).open(&fresh)?;
    let mut file = private().append(true).open(&fresh)?;
    file.write_all(&text(lines)?)?;
    file.sync_all()?;
    fs::rename(&fresh, folder.join(NAME))?;
    // From here on the new file is the one that is there, whatever becomes of the folder's own entry.
    if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
        tracing::warn!(%error, "the folder of what is remembered of webhooks was not synchronised");
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(id: &str) -> Line {
        Line::Id {
            hook: "crm".into(),
            id: id.into(),
            body: "00".into(),
            until: 10,
            receipt: "{\"id\":\"a\"}\n".into(),
        }
    }

    fn number(number: u64) -> Line {
        Line::Number { hook: "crm".into(), tenant: "acme".into(), number }
    }

    #[test]
    fn what_was_appended_is_there_when_the_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("deep/data");
        let (mut journal, lines) = Journal::open(&inner).unwrap();
        assert_eq!(lines, []);
        journal.append(&[id("a"), number(1)]).unwrap();
        journal.append(&[id("b")]).unwrap();
        drop(journal);
        let (mut journal, lines) = Journal::open(&inner).unwrap();
        assert_eq!(lines, [id("a"), number(1), id("b")]);
        journal.compact(&[id("b")]).unwrap();
        journal.append(&[id("c")]).unwrap();
        drop(journal);
        assert_eq!(Journal::open(&inner).unwrap().1, [id("b"), id("c")]);
    }

    #[test]
    fn two_processes_do_not_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(folder.path()).unwrap();
        let error = Journal::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("another Larder"), "{error}");
        drop(journal);
        Journal::open(folder.path()).unwrap();
    }

    #[test]
    fn the_line_after_a_torn_one_is_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path()).unwrap();
        journal.file.write_all(b"{\"id\":{\"hook\":\"cr").unwrap();
        journal.torn = true;
        journal.append(&[id("b")]).unwrap();
        drop(journal);
        assert_eq!(Journal::open(folder.path()).unwrap().1, [id("b")]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_file_that_was_cut_anywhere_loses_its_last_line_at_most(count in 1_usize..6, cut in any::<prop::sample::Index>()) {
            let lines: Vec<Line> = (0..count).map(|n| id(&n.to_string())).collect();
            let whole = text(&lines).unwrap();
            let cut = cut.index(whole.len() + 1);
            let kept = read(&whole[..cut]);
            let complete = whole[..cut].iter().filter(|b| **b == b'\n').count();
            prop_assert!(kept.len() >= complete && kept == lines[..kept.len()]);
        }

        #[test]
        fn no_file_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            read(&bytes);
        }
    }
}
