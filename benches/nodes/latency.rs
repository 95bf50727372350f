//! One request at a time over one connection, and how long each takes.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Instant;

use crate::client::{Client, request};
use crate::micros;

/// Answers whose `Cache-Status` has not `word` are counted apart: they are not what is measured.
pub(crate) fn run(
    address: SocketAddr,
    path: &str,
    count: u64,
    first: u64,
    word: &str,
) -> Result<String, Box<dyn Error>> {
    let mut client = Client::to(address)?;
    let (mut times, mut others, mut other) = (Vec::new(), 0, String::new());
    for number in first..first + count {
        let request = request("GET", &path.replace("{}", &number.to_string()), "");
        let begin = Instant::now();
        let answer = client.ask(&request)?;
        let took = begin.elapsed();
        if answer.head.contains(word) {
            times.push(took);
        } else {
            others += 1;
            other = answer.head.to_owned();
        }
    }
    let times = micros(times);
    Ok(format!("{{\"times\": {times}, \"others\": {others}, \"other\": {other:?}}}"))
}
