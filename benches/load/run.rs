//! The loop: what is due is sent over the connection that has been idle longest, or waits for one.
//!
//! Connections are opened one after the other, and each is asked once, before the time begins.

#![allow(clippy::disallowed_methods)] // it measures time; the rule of the one clock is Larder's own

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::{CreationError, Histogram};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::answer::Answer;

/// How long answers may take after the last request was due. What is not there then is an error.
const GRACE: Duration = Duration::from_secs(30);
/// How long a connection may take to be opened and asked once.
const OPENING: Duration = Duration::from_secs(10);
/// The longest time that the histograms tell from longer ones, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;
/// Room for what one read gives.
const BUFFER: usize = 64 * 1024;

/// What to do.
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    /// The request, as it is written.
    pub(crate) request: Vec<u8>,
    /// Requests a second.
    pub(crate) rate: f64,
    pub(crate) connections: usize,
    pub(crate) duration: Duration,
}

impl Plan {
    /// How many requests there are.
    fn number(&self) -> u64 {
        (self.rate * self.duration.as_secs_f64()) as u64
    }

    /// When this request is due, counted from the beginning.
    fn due(&self, request: u64) -> Duration {
        Duration::from_secs_f64(request as f64 / self.rate)
    }
}

/// What came of it. The histograms hold nanoseconds.
pub(crate) struct Figures {
    pub(crate) sent: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    /// From when a request was due to the last byte of its answer.
    pub(crate) latency: Histogram<u64>,
    /// From when a request was due until it was sent, where a connection was idle.
    pub(crate) lateness: Histogram<u64>,
    /// From the beginning to the last answer.
    pub(crate) took: Duration,
}

impl Figures {
    fn new() -> Result<Self, CreationError> {
        let histogram = || Histogram::new_with_max(LONGEST, 3);
        let (latency, lateness) = (histogram()?, histogram()?);
        Ok(Self { sent: 0, errors: 0, first_error: None, latency, lateness, took: Duration::ZERO })
    }

    fn failed(&mut self, number: u64, error: impl FnOnce() -> String) {
        if number > 0 {
            self.errors += number;
            self.first_error.get_or_insert_with(error);
        }
    }
}

struct Connection {
    stream: TcpStream,
    answer: Answer,
    /// When the request was due that is being answered.
    due: Option<Duration>,
}

pub(crate) fn run(plan: &Plan) -> Result<Figures, Box<dyn std::error::Error>> {
    let mut load = Load {
        plan,
        poll: Poll::new()?,
        connections: Vec::with_capacity(plan.connections),
        idle: (0..plan.connections).collect(),
        waiting: VecDeque::new(),
        due: 0,
        begun: Instant::now(),
        figures: Figures::new()?,
    };
    for number in 0..plan.connections {
        load.open(number).map_err(|error| format!("connection {number}: {error}"))?;
    }
    load.go()?;
    Ok(load.figures)
}

struct Load<'a> {
    plan: &'a Plan,
    poll: Poll,
    connections: Vec<Connection>,
    /// The connections without a request, the one that has been idle longest first.
    idle: VecDeque<usize>,
    /// When the requests were due that found no idle connection.
    waiting: VecDeque<Duration>,
    /// How many requests have been due so far.
    due: u64,
    begun: Instant,
    figures: Figures,
}

impl Load<'_> {
    /// Opens a connection and asks once, so that the server has taken it in before the time begins.
    fn open(&mut self, number: usize) -> io::Result<()> {
        let mut stream = std::net::TcpStream::connect_timeout(&self.plan.address, OPENING)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(OPENING))?;
        stream.write_all(&self.plan.request)?;
        let (mut answer, mut buffer) = (Answer::default(), vec![0; BUFFER]);
        loop {
            let length = read_some(&mut stream, &mut buffer)?;
            if answer.feed(&buffer[..length]).map_err(io::Error::other)? {
                break;
            }
        }
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        self.poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
        self.connections.push(Connection { stream, answer, due: None });
        Ok(())
    }

    fn go(&mut self) -> io::Result<()> {
        let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; BUFFER]);
        let (number, end) = (self.plan.number(), self.plan.duration + GRACE);
        self.begun = Instant::now();
        while self.answered_or_failed() < number && self.begun.elapsed() < end {
            self.poll.poll(&mut events, Some(Duration::ZERO))?;
            for event in &events {
                self.read(event.token().0, &mut buffer);
                self.send_what_is_due();
            }
            self.send_what_is_due();
        }
        let missing = number.saturating_sub(self.answered_or_failed());
        self.figures.failed(missing, || "not answered in time".into());
        Ok(())
    }

    fn answered_or_failed(&self) -> u64 {
        self.figures.latency.len() + self.figures.errors
    }

    fn send_what_is_due(&mut self) {
        let now = self.begun.elapsed();
        while self.due < self.plan.number() && self.plan.due(self.due) <= now {
            let due = self.plan.due(self.due);
            self.due += 1;
            match self.idle.pop_front() {
                Some(connection) => {
                    self.figures.lateness.saturating_record((now - due).as_nanos() as u64);
                    self.send(connection, due);
                }
                None => self.waiting.push_back(due),
            }
        }
    }

    fn send(&mut self, number: usize, due: Duration) {
        let connection = &mut self.connections[number];
        connection.due = Some(due);
        match connection.stream.write(&self.plan.request) {
            Ok(written) if written == self.plan.request.len() => self.figures.sent += 1,
            outcome => self.end(number, || format!("writing a request: {outcome:?}")),
        }
    }

    /// Reads until nothing is there. A read that does not fill the buffer has taken all; what comes later is another
    /// event.
    fn read(&mut self, number: usize, buffer: &mut [u8]) {
        let connection = &mut self.connections[number];
        loop {
            match read_some(&mut connection.stream, buffer) {
                Ok(length) => match connection.answer.feed(&buffer[..length]) {
                    Ok(true) => return self.answered(number),
                    Ok(false) if length == buffer.len() => {}
                    Ok(false) => return,
                    Err(error) => return self.end(number, || error),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.end(number, || error.to_string()),
            }
        }
    }

    fn answered(&mut self, number: usize) {
        let Some(due) = self.connections[number].due.take() else {
            return self.end(number, || "an answer that nobody asked for".into());
        };
        let now = self.begun.elapsed();
        self.figures.latency.saturating_record(now.saturating_sub(due).as_nanos() as u64);
        self.figures.took = now;
        match self.waiting.pop_front() {
            Some(due) => self.send(number, due),
            None => self.idle.push_back(number),
        }
    }

    /// A connection that fails is not used any more; its request, if it has one, or itself counts as an error.
    fn end(&mut self, number: usize, error: impl FnOnce() -> String) {
        self.connections[number].due = None;
        self.idle.retain(|idle| *idle != number);
        let _ = self.poll.registry().deregister(&mut self.connections[number].stream);
        self.figures.failed(1, error);
    }
}

/// As `read`; the end of the stream is an error.
fn read_some(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    match stream.read(buffer)? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")),
        length => Ok(length),
    }
}
