//! What `scripts/bench-nodes` measures several Larders with, and the application behind them.
//!
//! ```text
//! nodes application ADDRESS                                  answers until it is ended
//! nodes latency ADDRESS PATH COUNT FIRST WORD                one request at a time; {} in the path is a number, from FIRST
//! nodes purges APPLICATION PURGER READER… PATH COUNT         purges at one node while others read without pause
//! nodes crowd NODE… PATH CLIENTS                             as many clients at once, spread over the nodes
//! ```
//!
//! Each part but the first prints one line of JSON, with times in microseconds. All times of a part are of one process and
//! one clock. Whoever asks and whoever answers share the machine: where cores are few, waiting for one is part of the times.

#![allow(clippy::disallowed_methods)] // it measures time; the rule of the one clock is Larder's own

mod application;
mod client;
mod crowd;
mod latency;
mod purges;

use std::error::Error;

/// The host of all requests, whichever node is asked: it is a part of every key.
const HOST: &str = "shop.example";

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let figures = match args.as_slice() {
        ["application", address] => return application::run(address.parse()?),
        ["latency", address, path, count, first, word] => {
            latency::run(address.parse()?, path, count.parse()?, first.parse()?, word)?
        }
        ["purges", application, purger, readers @ .., path, count] => {
            let readers = readers.iter().map(|reader| reader.parse()).collect::<Result<Vec<_>, _>>()?;
            purges::run(application.parse()?, purger.parse()?, &readers, path, count.parse()?)?
        }
        ["crowd", nodes @ .., path, clients] => {
            let nodes = nodes.iter().map(|node| node.parse()).collect::<Result<Vec<_>, _>>()?;
            crowd::run(&nodes, path, clients.parse()?)?
        }
        _ => return Err("see the head of benches/nodes/main.rs".into()),
    };
    println!("{figures}");
    Ok(())
}

/// Times as JSON, in microseconds.
fn micros(times: impl IntoIterator<Item = std::time::Duration>) -> String {
    let times: Vec<_> = times.into_iter().map(|time| format!("{:.1}", time.as_secs_f64() * 1e6)).collect();
    format!("[{}]", times.join(","))
}
