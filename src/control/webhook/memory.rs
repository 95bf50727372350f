//! Which events took effect: each id once, with its receipt, in the same step as its purge.
//!
//! Keeps: while an event's purge is recorded nobody else's is judged, so an id takes effect at most once; an id whose
//! record failed is not remembered; ids are kept for twice the window of signatures, so that no message that still
//! verifies is unknown, and never more than [`MAX_BYTES`] of them.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::journal::{Journal, Line};
use super::sequence::{Counter, Step};
use super::signature::REMEMBERED;

/// The most that ids and receipts may take, in bytes.
const MAX_BYTES: usize = 16 << 20;

/// The most counters: one per webhook and tenant.
const MAX_COUNTERS: usize = 1 << 16;

/// What names an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventId<'a> {
    /// The webhook.
    pub(super) hook: &'a str,
    /// The id.
    pub(super) id: &'a str,
    /// A digest of the body, in hex.
    pub(super) body: String,
    /// The tenant (or `*`) and its running number.
    pub(super) number: Option<(&'a str, u64)>,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It took effect now.
    Done(String),
    /// It took effect before: the receipt of then.
    Before(String),
    /// Another event had the same id.
    OtherBody,
}

type Key = (String, String);

#[derive(Debug)]
struct Known {
    body: String,
    receipt: String,
    until: u64,
}

#[derive(Debug, Default)]
struct State {
    ids: HashMap<Key, Known>,
    /// In the order in which they came.
    order: VecDeque<Key>,
    bytes: usize,
    counters: HashMap<Key, Counter>,
    journal: Option<Journal>,
}

/// The memory of all webhooks.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<State>);

impl Memory {
    /// A memory that outlives the process, at this wall time in seconds.
    ///
    /// # Errors
    /// Where the folder cannot be used.
    pub(super) fn open(folder: &Path, now: u64) -> io::Result<Self> {
        let (journal, lines) = Journal::open(folder)?;
        let mut state = State { journal: Some(journal), ..State::default() };
        for line in lines {
            match line {
                Line::Id { hook, id, body, until, receipt } if until > now => {
                    state.remember((hook, id), Known { body, receipt, until });
                }
                Line::Id { .. } => {}
                Line::Number { hook, tenant, number } => state.count((hook, tenant), Counter::after(number)),
            }
        }
        state.compact();
        Ok(Self(Mutex::new(state)))
    }

    /// Runs `record` unless the event took effect before. Its receipt is remembered; where it fails, nothing is.
    ///
    /// # Errors
    /// That of `record`.
    pub(super) fn once<E>(
        &self,
        event: &EventId<'_>,
        now: u64,
        record: impl FnOnce(Step) -> Result<String, E>,
    ) -> Result<Outcome, E> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.forget(now);
        let key = (event.hook.to_owned(), event.id.to_owned());
        if let Some(known) = state.ids.get(&key) {
            let same = known.body == event.body;
            return Ok(if same { Outcome::Before(known.receipt.clone()) } else { Outcome::OtherBody });
        }
        let counted = event.number.map(|(tenant, number)| {
            let place = (event.hook.to_owned(), tenant.to_owned());
            let (step, counter) = state.counters.get(&place).cloned().unwrap_or_default().step(number);
            (place, step, counter)
        });
        let receipt = record(counted.as_ref().map_or(Step::Fits, |(_, step, _)| *step))?;
        let until = now.saturating_add(REMEMBERED);
        let mut lines = vec![Line::Id {
            hook: event.hook.to_owned(),
            id: event.id.to_owned(),
            body: event.body.clone(),
            until,
            receipt: receipt.clone(),
        }];
        if let Some((place, _, counter)) = counted {
            lines.extend(number_line(&place, &counter));
            state.count(place, counter);
        }
        state.remember(key, Known { body: event.body.clone(), receipt: receipt.clone(), until });
        state.write(&lines);
        Ok(Outcome::Done(receipt))
    }
}

impl State {
    fn remember(&mut self, key: Key, known: Known) {
        self.bytes += size(&key, &known);
        self.order.push_back(key.clone());
        if let Some(before) = self.ids.insert(key.clone(), known) {
            self.bytes = self.bytes.saturating_sub(size(&key, &before));
        }
        while self.bytes > MAX_BYTES {
            if !self.forget_oldest() {
                return;
            }
        }
    }

    fn forget(&mut self, now: u64) {
        let expired = |state: &Self| {
            let oldest = state.order.front()?;
            Some(state.ids.get(oldest).is_none_or(|known| known.until <= now))
        };
        while expired(self) == Some(true) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) -> bool {
        let Some(key) = self.order.pop_front() else { return false };
        if let Some(known) = self.ids.remove(&key) {
            self.bytes = self.bytes.saturating_sub(size(&key, &known));
        }
        true
    }

    fn count(&mut self, place: Key, counter: Counter) {
        if self.counters.len() >= MAX_COUNTERS && !self.counters.contains_key(&place) {
            tracing::warn!(
                counters = MAX_COUNTERS,
                "too many tenants count their events: counting starts anew"
            );
            self.counters.clear();
        }
        self.counters.insert(place, counter);
    }

    /// What the disk does not take is remembered by this process only: the purge has happened.
    fn write(&mut self, lines: &[Line]) {
        let live = self.ids.len() + self.counters.len();
        let Some(journal) = &mut self.journal else { return };
        if let Err(error) = journal.append(lines) {
            tracing::error!(%error, "an id of a webhook is not remembered across a restart");
        }
        if journal.is_wasteful(live) {
            self.compact();
        }
    }

    fn compact(&mut self) {
        let id = |key: &Key| {
            let known = self.ids.get(key)?;
            Some(Line::Id {
                hook: key.0.clone(),
                id: key.1.clone(),
                body: known.body.clone(),
                until: known.until,
                receipt: known.receipt.clone(),
            })
        };
        let numbers = self.counters.iter().filter_map(|(place, counter)| number_line(place, counter));
        let lines: Vec<Line> = self.order.iter().filter_map(id).chain(numbers).collect();
        let Some(journal) = &mut self.journal else { return };
        if let Err(error) = journal.compact(&lines) {
            tracing::error!(%error, "what is remembered of webhooks cannot be written anew");
        }
    }
}

fn number_line((hook, tenant): &Key, counter: &Counter) -> Option<Line> {
    let number = counter.last()?;
    Some(Line::Number { hook: hook.clone(), tenant: tenant.clone(), number })
}

fn size(key: &Key, known: &Known) -> usize {
    // Twice the key, which is in the order too, and about what two table entries take.
    2 * (key.0.len() + key.1.len()) + known.body.len() + known.receipt.len() + 256
}

#[cfg(test)]
mod tests {
    use super::super::signature::WINDOW;
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn event<'a>(id: &'a str, body: &str) -> EventId<'a> {
        EventId { hook: "crm", id, body: body.into(), number: None }
    }

    fn numbered<'a>(id: &'a str, number: u64) -> EventId<'a> {
        EventId { number: Some(("acme", number)), ..event(id, "b") }
    }

    fn run(memory: &Memory, event: &EventId<'_>, now: u64, receipt: &str) -> Outcome {
        memory.once(event, now, |_| Ok::<_, ()>(receipt.to_owned())).unwrap()
    }

    fn step(memory: &Memory, event: &EventId<'_>) -> Step {
        let mut found = None;
        let _ = memory.once(event, NOW, |step| {
            found = Some(step);
            Ok::<_, ()>(String::new())
        });
        found.unwrap()
    }

    #[test]
    fn an_id_takes_effect_once_and_a_duplicate_gets_the_receipt_of_then() {
        let memory = Memory::default();
        assert_eq!(run(&memory, &event("a", "b"), NOW, "1"), Outcome::Done("1".into()));
        assert_eq!(run(&memory, &event("a", "b"), NOW + 1, "2"), Outcome::Before("1".into()));
        assert_eq!(run(&memory, &event("a", "other"), NOW + 1, "3"), Outcome::OtherBody);
        assert_eq!(run(&memory, &event("c", "b"), NOW, "4"), Outcome::Done("4".into()));
        let other = EventId { hook: "shop", ..event("a", "b") };
        assert_eq!(run(&memory, &other, NOW, "5"), Outcome::Done("5".into()));
    }

    #[test]
    fn an_id_whose_record_failed_is_not_burnt() {
        let memory = Memory::default();
        assert_eq!(memory.once(&numbered("a", 7), NOW, |_| Err("the log is away")), Err("the log is away"));
        assert_eq!(run(&memory, &numbered("a", 7), NOW, "1"), Outcome::Done("1".into()));
        // Nor did it move the counter.
        assert_eq!(step(&memory, &numbered("b", 8)), Step::Fits);
    }

    #[test]
    fn an_id_is_remembered_for_twice_the_window_and_then_forgotten() {
        let memory = Memory::default();
        run(&memory, &event("a", "b"), NOW, "1");
        assert_eq!(run(&memory, &event("a", "b"), NOW + 2 * WINDOW, "2"), Outcome::Before("1".into()));
        assert_eq!(run(&memory, &event("a", "b"), NOW + 2 * WINDOW + 1, "3"), Outcome::Done("3".into()));
        let state = memory.0.lock().unwrap();
        assert_eq!((state.ids.len(), state.order.len()), (1, 1));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let memory = Memory::default();
        let receipt = "x".repeat(MAX_BYTES / 64);
        for n in 0..200 {
            run(&memory, &event(&n.to_string(), "b"), NOW, &receipt);
        }
        let mut state = memory.0.lock().unwrap();
        assert!(
            state.bytes <= MAX_BYTES && state.ids.len() > 32 && state.ids.len() < 64,
            "{}",
            state.ids.len()
        );
        state.forget(u64::MAX);
        assert_eq!((state.bytes, state.ids.len(), state.order.len()), (0, 0, 0));
    }

    #[test]
    fn an_id_and_a_number_outlive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::open(folder.path(), NOW).unwrap();
        run(&memory, &numbered("a", 7), NOW, "{\"seq\":1}\n");
        run(&memory, &event("old", "b"), NOW - WINDOW - 1, "old");
        drop(memory);
        let memory = Memory::open(folder.path(), NOW + WINDOW).unwrap();
        let again = run(&memory, &numbered("a", 7), NOW + WINDOW, "2");
        assert_eq!(again, Outcome::Before("{\"seq\":1}\n".into()));
        assert_eq!(run(&memory, &event("old", "b"), NOW + WINDOW, "new"), Outcome::Done("new".into()));
        assert_eq!(step(&memory, &numbered("b", 9)), Step::Gap { expected: 8 });
    }

    #[test]
    fn the_file_stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::open(folder.path(), NOW).unwrap();
        for n in 0..5_000_u64 {
            run(&memory, &numbered(&n.to_string(), n), NOW + n, "a receipt");
        }
        let size = std::fs::metadata(folder.path().join("webhooks.jsonl")).unwrap().len();
        assert!(size < 1 << 20, "{size}");
        drop(memory);
        let memory = Memory::open(folder.path(), NOW + 5_000).unwrap();
        assert_eq!(
            run(&memory, &numbered("4999", 4999), NOW + 5_000, "2"),
            Outcome::Before("a receipt".into())
        );
        assert!(memory.0.lock().unwrap().ids.len() <= 601);
    }
}
