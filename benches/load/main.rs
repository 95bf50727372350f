//! An open-loop load generator for HTTP/1.1: requests are due at a fixed rate, however long the answers take.
//!
//! ```text
//! load ADDRESS PATH --rate R --connections N --seconds S [--header 'Name: value']…
//! ```
//!
//! A closed loop (wrk) waits for an answer before it asks again, so a server that stands still is asked less, and the
//! requests that would have waited are missing from its figures. Here every request has a time at which it is due,
//! and its latency counts from then: a request that finds no idle connection waits, and its wait is part of it.
//!
//! It is one thread, which never sleeps: it asks epoll without a timeout in a loop, and sends what is due after every
//! event. So no timer's precision limits it, but it takes a core of its own. How late it was itself, when a connection
//! was idle, is in its figures. It prints them as one line of JSON, with times in microseconds.

mod answer;
mod run;

use std::error::Error;
use std::time::Duration;

use hdrhistogram::Histogram;

use run::{Figures, Plan};

fn main() -> Result<(), Box<dyn Error>> {
    let plan = read_plan(std::env::args().skip(1))?;
    let figures = run::run(&plan)?;
    println!("{}", as_json(&plan, &figures));
    Ok(())
}

fn read_plan(mut args: impl Iterator<Item = String>) -> Result<Plan, Box<dyn Error>> {
    let address = args.next().ok_or("an address is missing")?;
    let path = args.next().ok_or("a path is missing")?;
    let mut head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n");
    let (mut rate, mut connections, mut seconds) = (None, None, None);
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--rate" => rate = Some(value.parse::<f64>()?),
            "--connections" => connections = Some(value.parse::<usize>()?),
            "--seconds" => seconds = Some(value.parse::<f64>()?),
            "--header" => head = head + &value + "\r\n",
            _ => return Err(format!("{name} is not known").into()),
        }
    }
    let rate = rate.filter(|rate| *rate > 0.0).ok_or("--rate is missing")?;
    let connections = connections.filter(|number| *number > 0).ok_or("--connections is missing")?;
    let duration = Duration::try_from_secs_f64(seconds.ok_or("--seconds is missing")?)?;
    Ok(Plan { address: address.parse()?, request: (head + "\r\n").into_bytes(), rate, connections, duration })
}

fn as_json(plan: &Plan, figures: &Figures) -> String {
    let latency = &figures.latency;
    format!(
        "{{\"rate\": {}, \"achieved\": {:.1}, \"sent\": {}, \"answered\": {}, \"errors\": {}, \"first_error\": {:?}, \
         \"p50\": {:.1}, \"p90\": {:.1}, \"p99\": {:.1}, \"p99.9\": {:.1}, \"max\": {:.1}, \
         \"late_p99\": {:.1}, \"late_max\": {:.1}}}",
        plan.rate,
        latency.len() as f64 / figures.took.as_secs_f64(),
        figures.sent,
        latency.len(),
        figures.errors,
        figures.first_error.as_deref().unwrap_or_default(),
        quantile(latency, 0.5),
        quantile(latency, 0.9),
        quantile(latency, 0.99),
        quantile(latency, 0.999),
        quantile(latency, 1.0),
        quantile(&figures.lateness, 0.99),
        quantile(&figures.lateness, 1.0),
    )
}

/// In microseconds; the histograms count nanoseconds.
fn quantile(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1000.0
}
