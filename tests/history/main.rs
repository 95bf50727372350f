//! Histories: what readers see of the built binary while writers change pages and purge them, judged by a checker.
//!
//! A read that started after the acknowledgement of the purge of version v gives v or newer. `LARDER_HISTORY` says how many
//! reads there are, other than twenty thousand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's way to fail

mod check;
mod run;
mod shop;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Mutex;

use larder::cache::Cache;
use larder::clock::{Clock, Now};
use larder::purge::{Fence, Limits, LocalLog, Purge, PurgeLog, Receipt, Record};
use larder::stored::Position;

use check::{History, check};
use run::{Target, run};
use shop::{ENV, Shop, YAML};
use support::{InProcess, Larder};

const NOON: u64 = 1_780_000_000;

/// How many reads the long test makes.
fn reads() -> usize {
    std::env::var("LARDER_HISTORY")
        .map_or(20_000, |number| number.parse().expect("LARDER_HISTORY is a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_after_the_acknowledgement_of_a_purge_reads_what_was_purged_for_or_newer() {
    let shop = Shop::open();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let setup = Larder::with(YAML).origin(&shop.origin).put("port", port);
    let larder = ENV.iter().fold(setup, |setup, (name, value)| setup.env(name, value)).start().await;
    let admin = Some(larder.admin_url("/purge"));
    let target = Target { url: larder.url(""), admin, clock: Clock::system() };
    let (history, ways) = run(shop, target, reads()).await;

    let hits = history.reads.iter().filter(|read| read.hit).count();
    println!("{} reads, {hits} hits, {} purges: {ways:?}", history.reads.len(), history.purges.len());
    assert!(history.reads.len() >= reads());
    // A cache that stores nothing is never stale.
    assert!(hits > history.reads.len() / 20, "{hits} hits");
    assert!(ways.iter().all(|(_, purges)| *purges > 0), "{ways:?}");
    assert_none(&history);
}

fn assert_none(history: &History) {
    let violations = check(history);
    let first: Vec<_> = violations.iter().take(5).collect();
    assert!(
        violations.is_empty(),
        "{} of {} reads are stale: {first:#?}",
        violations.len(),
        history.reads.len()
    );
}

// ---- The checker finds what is wrong, when something is.

/// A history of the proxy in this process, over a log of purges.
async fn history_over(log: impl PurgeLog, reads: usize) -> History {
    let shop = Shop::open();
    let yaml = YAML.replace("{port}", "1").replace("{origin}", "http://127.0.0.1:1");
    let over =
        |stores: &[_], clock| Cache::with_fence(stores, Fence::over(Box::new(log), Limits::default()), clock);
    let larder = InProcess::start_over(&yaml, &shop.origin, NOON, &ENV, over).await;
    let clock = Clock::manual(std::time::Duration::from_secs(NOON));
    let target = Target { url: larder.url(""), admin: None, clock };
    run(shop, target, reads).await.0
}

/// A log that acknowledges purges and loses them.
#[derive(Default)]
struct Losing(LocalLog);

impl PurgeLog for Losing {
    fn append(&self, purge: Purge, now: Now) -> Receipt {
        self.0.append(purge, now)
    }

    fn follow(&self, after: Position, _: &mut dyn FnMut(&Record)) {
        self.0.follow(after, &mut |_| {});
    }
}

/// A log that acknowledges the last purge before anybody can follow it: each comes into force with the next one.
#[derive(Default)]
struct Late(LocalLog, Mutex<Vec<Record>>);

impl PurgeLog for Late {
    fn append(&self, purge: Purge, now: Now) -> Receipt {
        self.0.append(purge, now)
    }

    fn follow(&self, after: Position, apply: &mut dyn FnMut(&Record)) {
        let mut waiting = self.1.lock().unwrap();
        self.0.follow(after, &mut |record| waiting.push(record.clone()));
        let last = waiting.pop();
        waiting.drain(..).for_each(|record| apply(&record));
        waiting.extend(last);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_fence_the_checker_finds_stale_reads() {
    let violations = check(&history_over(Losing::default(), 2_000).await);
    assert!(violations.len() > 100, "{} stale reads found", violations.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_acknowledgements_that_come_too_early_the_checker_finds_stale_reads() {
    let violations = check(&history_over(Late::default(), 4_000).await);
    assert!(!violations.is_empty(), "none found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_fence_of_this_process_it_finds_none() {
    assert_none(&history_over(LocalLog::default(), 2_000).await);
}
