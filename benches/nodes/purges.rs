//! Purges at one node while other nodes are read without pause: until when the old content is seen.
//!
//! Each time the application changes first, then the purge is sent. A read is *stale* towards a purge when it ended after the
//! purge was sent and gave a version from before. It breaks the promise when it also *began* after the acknowledgement; one
//! that began before and ended after it does not, and is counted apart.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Answer, Client, request};
use crate::micros;

/// So many reads each reader makes between two purges at least: most of them are hits.
const BETWEEN: u64 = 20;
/// Purges before those that count: the first wait until every node may be believed, and connections are opened.
const FIRST: u64 = 10;

/// A read: when it began and ended, and the version that it gave.
struct Read {
    began: Instant,
    ended: Instant,
    version: u64,
}

/// A purge, and the reads that were stale towards it.
struct Purge {
    sent: Instant,
    acknowledged: Instant,
    /// When the last of them began, and when the last of them ended.
    last_began: Option<Instant>,
    last_ended: Option<Instant>,
    /// Those that began after the acknowledgement.
    broken: u64,
    /// Those that began before it and ended after it.
    across: u64,
}

pub(crate) fn run(
    application: SocketAddr,
    purger: SocketAddr,
    readers: &[SocketAddr],
    path: &str,
    count: u64,
) -> Result<String, Box<dyn Error>> {
    let token = std::env::var("LARDER_BENCH_TOKEN")?;
    let purge = request("PURGE", path, &format!("Authorization: Bearer {token}\r\n"));
    let (mut application, mut purger) = (Client::to(application)?, Client::to(purger)?);
    let over = Arc::new(AtomicBool::new(false));
    let reading: Vec<_> = readers
        .iter()
        .map(|reader| {
            let (client, made) = (Client::to(*reader)?, Arc::new(AtomicU64::new(0)));
            let (over, counted, request) = (over.clone(), made.clone(), request("GET", path, ""));
            Ok((made, thread::spawn(move || read(client, &request, &over, &counted))))
        })
        .collect::<std::io::Result<_>>()?;
    let made: Vec<_> = reading.iter().map(|(made, _)| made.clone()).collect();
    let purged = (1..=FIRST + count).try_fold(Vec::new(), |mut purged, version| {
        wait_for(&made)?;
        application.ask(&request("GET", &format!("/version/{version}"), ""))?;
        let sent = Instant::now();
        let receipt = purger.ask(&purge)?;
        let acknowledged = Instant::now();
        let all = String::from_utf8_lossy(receipt.body).replace(' ', "").contains("\"gone\":[]");
        if version > FIRST && !all {
            return Err(std::io::Error::other("a purge was not acknowledged by all nodes"));
        }
        purged.push(Purge { sent, acknowledged, last_began: None, last_ended: None, broken: 0, across: 0 });
        Ok(purged)
    });
    let settled = wait_for(&made);
    over.store(true, Ordering::SeqCst);
    let mut purges = purged?;
    settled?;
    let mut reads = 0;
    for (_, reading) in reading {
        let of_one = reading.join().map_err(|_| "a reader failed")??;
        reads += of_one.len();
        of_one.iter().for_each(|read| judge(&mut purges, read));
    }
    Ok(told(&purges[FIRST as usize..], reads))
}

fn read(
    mut client: Client,
    request: &[u8],
    over: &AtomicBool,
    made: &AtomicU64,
) -> std::io::Result<Vec<Read>> {
    let mut reads = Vec::new();
    while !over.load(Ordering::SeqCst) {
        let began = Instant::now();
        let version = version(&client.ask(request)?)?;
        reads.push(Read { began, ended: Instant::now(), version });
        made.fetch_add(1, Ordering::SeqCst);
    }
    Ok(reads)
}

fn version(answer: &Answer<'_>) -> std::io::Result<u64> {
    let text = std::str::from_utf8(answer.body).map_err(std::io::Error::other)?;
    text.trim().parse().map_err(std::io::Error::other)
}

/// Until each reader has read so often again.
fn wait_for(made: &[Arc<AtomicU64>]) -> std::io::Result<()> {
    let until: Vec<_> = made.iter().map(|made| made.load(Ordering::SeqCst) + BETWEEN).collect();
    let begin = Instant::now();
    while made.iter().zip(&until).any(|(made, until)| made.load(Ordering::SeqCst) < *until) {
        if begin.elapsed() > Duration::from_secs(30) {
            return Err(std::io::Error::other("a reader does not get on"));
        }
        thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// Puts a read to all purges towards which it is stale. The purge of version 1 is the first.
fn judge(purges: &mut [Purge], read: &Read) {
    let later = purges.iter_mut().skip(read.version as usize);
    for purge in later.take_while(|purge| purge.sent <= read.ended) {
        purge.last_began = purge.last_began.max(Some(read.began));
        purge.last_ended = purge.last_ended.max(Some(read.ended));
        if read.began > purge.acknowledged {
            purge.broken += 1;
        } else if read.ended > purge.acknowledged {
            purge.across += 1;
        }
    }
}

fn told(purges: &[Purge], reads: usize) -> String {
    let since = |at: Option<Instant>, from: Instant| {
        at.map_or(Duration::ZERO, |at| at.saturating_duration_since(from))
    };
    let all = |time: fn(&Purge) -> (Option<Instant>, Instant)| {
        micros(purges.iter().map(time).map(|(at, from)| since(at, from)))
    };
    format!(
        "{{\"acknowledged\": {}, \"last_began\": {}, \"last_ended\": {}, \"promise\": {}, \"overlap\": {}, \
         \"broken\": {}, \"across\": {}, \"reads\": {reads}}}",
        all(|purge| (Some(purge.acknowledged), purge.sent)),
        all(|purge| (purge.last_began, purge.sent)),
        all(|purge| (purge.last_ended, purge.sent)),
        all(|purge| (purge.last_began, purge.acknowledged)),
        all(|purge| (purge.last_ended, purge.acknowledged)),
        purges.iter().map(|purge| purge.broken).sum::<u64>(),
        purges.iter().map(|purge| purge.across).sum::<u64>(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_counts_towards_every_purge_that_was_sent_before_it_ended_and_whose_version_it_has_not() {
        let zero = Instant::now();
        let at = |millis| zero + Duration::from_millis(millis);
        let purge = |sent, acknowledged| {
            let (sent, acknowledged) = (at(sent), at(acknowledged));
            Purge { sent, acknowledged, last_began: None, last_ended: None, broken: 0, across: 0 }
        };
        let read = |began, ended, version| Read { began: at(began), ended: at(ended), version };
        let mut purges = [purge(10, 20), purge(110, 120)];
        // Before the purge, after it, and with a newer version than it made.
        for sound in [read(1, 9, 0), read(15, 16, 1), read(30, 40, 1), read(115, 116, 2)] {
            judge(&mut purges, &sound);
        }
        assert!(purges.iter().all(|purge| purge.last_ended.is_none()));
        judge(&mut purges, &read(9, 12, 0));
        judge(&mut purges, &read(19, 22, 0));
        assert_eq!((purges[0].broken, purges[0].across), (0, 1));
        assert_eq!((purges[0].last_began, purges[0].last_ended), (Some(at(19)), Some(at(22))));
        // One that is two versions late breaks both promises, where it began after both.
        judge(&mut purges, &read(121, 125, 0));
        assert_eq!((purges[0].broken, purges[1].broken), (1, 1));
        assert_eq!(purges[1].last_ended, Some(at(125)));
    }
}
