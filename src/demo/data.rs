//! What the CRM knows: two tenants with their people, stock and deals, and who is logged in. All of it in memory.
//!
//! Sessions are opaque: a random number of this process, of which the CRM alone knows whose it is.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

/// Somebody who is logged in.
#[derive(Debug, Clone, Copy)]
pub(super) struct User {
    pub(super) name: &'static str,
    pub(super) tenant: &'static str,
}

/// Who works where.
const USERS: [User; 5] = [
    User { name: "alice", tenant: "acme" },
    User { name: "bob", tenant: "acme" },
    User { name: "chris", tenant: "acme" },
    User { name: "dora", tenant: "globex" },
    User { name: "emil", tenant: "globex" },
];

/// The stages of a deal; the last two are closed.
pub(super) const STAGES: [&str; 5] = ["lead", "offer", "negotiation", "won", "lost"];
const CLOSED: [&str; 2] = ["won", "lost"];

struct Deal {
    stage: &'static str,
    owner: &'static str,
    value: u64,
}

struct Tenant {
    /// How many of each item are in stock.
    stock: BTreeMap<&'static str, u64>,
    deals: Vec<Deal>,
}

/// The dashboard bundle of a tenant.
#[derive(Debug, Serialize)]
pub(super) struct Bundle {
    tenant: &'static str,
    people: usize,
    items_in_stock: u64,
    open_deals: usize,
    open_value: u64,
    /// The number of this computation, among all that this CRM ever made.
    computation: u64,
    computed_at: String,
}

/// All of it.
pub(super) struct Data {
    tenants: HashMap<&'static str, Tenant>,
    sessions: HashMap<String, User>,
    computations: u64,
}

impl Data {
    /// The data of a fresh start, with everybody logged in.
    pub(super) fn new() -> Result<Self, &'static str> {
        let mut sessions = HashMap::new();
        for user in USERS {
            sessions.insert(format!("{}.{}", user.name, random()?), user);
        }
        Ok(Self { tenants: tenants(), sessions, computations: 0 })
    }

    /// Everybody's session: the user's name, and what the cookie holds.
    pub(super) fn sessions(&self) -> Vec<(&'static str, String)> {
        self.sessions.iter().map(|(session, user)| (user.name, session.clone())).collect()
    }

    /// Whose session it is.
    pub(super) fn user(&self, session: &str) -> Option<User> {
        self.sessions.get(session).copied()
    }

    /// Ends a session.
    pub(super) fn log_out(&mut self, session: &str) {
        self.sessions.remove(session);
    }

    /// Computes the bundle of a tenant from what there is now.
    pub(super) fn bundle(&mut self, tenant: &'static str, computed_at: String) -> Option<Bundle> {
        let data = self.tenants.get(tenant)?;
        let open: Vec<u64> =
            data.deals.iter().filter(|deal| !CLOSED.contains(&deal.stage)).map(|deal| deal.value).collect();
        self.computations += 1;
        Some(Bundle {
            tenant,
            people: people(tenant).count(),
            items_in_stock: data.stock.values().sum(),
            open_deals: open.len(),
            open_value: open.iter().sum(),
            computation: self.computations,
            computed_at,
        })
    }

    /// The stock of a tenant.
    pub(super) fn stock(&self, tenant: &str) -> BTreeMap<&'static str, u64> {
        self.tenants.get(tenant).map(|tenant| tenant.stock.clone()).unwrap_or_default()
    }

    /// Takes a delivery into stock and gives the new number; `None`: there is no such item.
    pub(super) fn deliver(&mut self, tenant: &str, item: &str, number: u32) -> Option<u64> {
        let in_stock = self.tenants.get_mut(tenant)?.stock.get_mut(item)?;
        *in_stock = in_stock.saturating_add(u64::from(number));
        Some(*in_stock)
    }

    /// The open deals of a user, in words.
    pub(super) fn tasks(&self, user: User) -> Vec<String> {
        let deals = self.tenants.get(user.tenant).map(|tenant| tenant.deals.iter());
        let open = deals.into_iter().flatten().filter(|deal| !CLOSED.contains(&deal.stage));
        open.filter(|deal| deal.owner == user.name)
            .map(|deal| format!("{} over {}", deal.stage, deal.value))
            .collect()
    }
}

/// The people of a tenant.
pub(super) fn people(tenant: &str) -> impl Iterator<Item = &'static str> {
    USERS.iter().filter(move |user| user.tenant == tenant).map(|user| user.name)
}

fn tenants() -> HashMap<&'static str, Tenant> {
    let deal = |stage, owner, value| Deal { stage, owner, value };
    let acme = Tenant {
        stock: BTreeMap::from([("desk-lamp", 40), ("office-chair", 12), ("whiteboard", 7)]),
        deals: vec![
            deal("lead", "alice", 1_200),
            deal("offer", "bob", 8_400),
            deal("negotiation", "chris", 15_000),
            deal("won", "alice", 3_100),
        ],
    };
    let globex = Tenant {
        stock: BTreeMap::from([("centrifuge", 2), ("desk-lamp", 5), ("microscope", 9)]),
        deals: vec![deal("offer", "dora", 52_000), deal("lead", "emil", 700), deal("lost", "emil", 2_000)],
    };
    HashMap::from([("acme", acme), ("globex", globex)])
}

/// 64 random bits, for a cookie.
fn random() -> Result<String, &'static str> {
    let mut bytes = [0_u8; 8];
    getrandom::fill(&mut bytes).map_err(|_| "the system has no random numbers for sessions")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
