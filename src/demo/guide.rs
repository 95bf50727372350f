//! What `larder demo` prints: four lines for a shell, each with what to expect of it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The guide of one run.
pub(super) struct Guide {
    larder: SocketAddr,
    crm: SocketAddr,
    /// The usual address, where it was taken.
    taken: Option<SocketAddr>,
    /// The user's name, and what the cookie holds.
    sessions: Vec<(&'static str, String)>,
}

impl Guide {
    pub(super) fn new(larder: SocketAddr, crm: SocketAddr, taken: Option<SocketAddr>) -> Self {
        Self { larder: reachable(larder), crm, taken, sessions: Vec::new() }
    }

    pub(super) fn with_sessions(mut self, mut sessions: Vec<(&'static str, String)>) -> Self {
        sessions.sort();
        self.sessions = sessions;
        self
    }

    /// Show the head, and after the body the time; come as this user.
    fn options(&self, user: &str) -> String {
        let session = self.sessions.iter().find(|(name, _)| *name == user);
        let session = session.map_or("", |(_, session)| session);
        format!("-si -w 'took %{{time_total}} s\\n' -b session={session}")
    }

    fn read(&self, user: &str) -> String {
        format!("{} http://{}/api/dashboard/bundle", self.options(user), self.larder)
    }

    fn write(&self, user: &str) -> String {
        format!("{} -d add=5 http://{}/api/inventory/desk-lamp", self.options(user), self.larder)
    }
}

/// Where clients of this machine find an address that stands for all.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

impl fmt::Display for Guide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "An old CRM runs at http://{}. Its dashboard takes 800 ms.", self.crm)?;
        write!(f, "Larder runs in front of it at http://{}", self.larder)?;
        match self.taken {
            Some(taken) => writeln!(f, " ({taken} was taken), by config/examples/demo.yaml.")?,
            None => writeln!(f, ", by config/examples/demo.yaml.")?,
        }
        write!(
            f,
            "
Paste these lines into another terminal, one after the other. Look at `x-cache`, at the time, and at the
`computation` of the body: the CRM counts how often it computed a dashboard.

1. A miss. Alice of acme asks first, and the CRM computes.
   Expect `x-cache: MISS`, about 0.8 s.

curl {}

2. A hit. Bob works for acme too, and gets the same answer from memory.
   Expect `x-cache: HIT`, less than 0.005 s, the same `computation`.

curl {}

3. The other tenant's own answer. Dora works for globex, and never sees what is acme's.
   Expect `x-cache: MISS`, about 0.8 s, `\"tenant\":\"globex\"`, a `computation` of its own.

curl {}

4. A write, and the next read is fresh. Alice takes five desk lamps into stock, and Bob looks at the dashboard.
   Expect `x-cache: BYPASS` for the write; then `x-cache: MISS`, five more `items_in_stock`, a new `computation`.

curl {} --next {}

Then line 2 is a hit again, with the new numbers, and line 3 is one with the old: nothing of globex changed.
Each request leaves a line below: what Larder answered, why, and from where. Ctrl-C ends the demo.

",
            self.read("alice"),
            self.read("bob"),
            self.read("dora"),
            self.write("alice"),
            self.read("bob"),
        )
    }
}
