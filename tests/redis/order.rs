//! An older fill never takes the place of a newer one, in whatever order they come to their end.

use super::*;

#[tokio::test]
async fn an_older_fill_does_not_take_the_place_of_a_newer_one() {
    let redis = server();
    let store = plain(&redis);
    let at = name(&store, "/a");
    let old = lead(&store, &at, claim("old")).await;
    let new = lead(&store, &at, busting("new")).await;
    assert!(new > old);
    assert_eq!(store.commit(&at, offer(new, "new", "new")).await.unwrap(), Committed::Kept);
    assert_eq!(store.commit(&at, offer(old, "old", "old")).await.unwrap(), Committed::Older);
    assert_eq!(body(&store, &at).await.as_deref(), Some("new"));
    // The same once more: its reply may have been lost.
    assert_eq!(store.commit(&at, offer(new, "new", "new")).await.unwrap(), Committed::Kept);
}

#[tokio::test]
async fn the_ticket_outlives_a_lease_that_was_given_up() {
    let redis = server();
    let store = plain(&redis);
    let at = name(&store, "/a");
    // As if the server's clock had been ahead for a while.
    let ahead = 1 << 52;
    redis.cli(&["HSET", &format!("{at}:fill"), "token", "x", "ticket", &ahead.to_string(), "until", "0"]);
    let ticket = lead(&store, &at, claim("one")).await;
    assert_eq!(ticket, ahead + 1);
    assert!(store.release(&at, "one", "").await.unwrap());
    assert_eq!(lead(&store, &at, claim("two")).await, ahead + 2);
    store.commit(&at, offer(ahead + 2, "two", "two")).await.unwrap();
    assert_eq!(lead(&store, &at, busting("three")).await, ahead + 3);
}

/// A generator of one's own (xorshift): the same interleavings each time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }
}

/// One fill in flight: whose, its ticket.
struct Fill {
    node: usize,
    ticket: u64,
    token: String,
}

/// Two nodes begin and commit in every order: what is kept is always of the greatest ticket committed so far, a begin is
/// always greater than all begun before, and never two lead by claims that wait.
#[tokio::test]
async fn in_two_hundred_interleavings_of_two_nodes_the_greatest_ticket_wins() {
    let redis = server();
    let nodes: Nodes = [Arc::new(plain(&redis)), Arc::new(plain(&redis))];
    for seed in 1..=200_u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let at = name(&nodes[0], &format!("/{seed}"));
        let (mut open, mut kept, mut greatest) = (Vec::<Fill>::new(), 0, 0);
        for step in 0..12 {
            if open.is_empty() || random.below(2) == 0 {
                let node = random.below(2);
                let token = format!("{seed}-{step}");
                let bust = random.below(2) == 0;
                let claim = if bust { busting(&token) } else { Claim { seen: kept, ..claim(&token) } };
                match nodes[node].begin(&at, claim).await.unwrap() {
                    Begin::Lead { ticket, .. } => {
                        assert!(ticket > greatest, "seed {seed}, step {step}");
                        greatest = ticket;
                        open.push(Fill { node, ticket, token });
                    }
                    Begin::Held { .. } => assert!(!bust && !open.is_empty(), "seed {seed}, step {step}"),
                    Begin::Newer(_) => panic!("nothing newer than what was seen: seed {seed}, step {step}"),
                }
            } else {
                let fill = open.swap_remove(random.below(open.len()));
                let store = &nodes[fill.node];
                if random.below(4) == 0 {
                    store.release(&at, &fill.token, "").await.unwrap();
                    continue;
                }
                let text = fill.ticket.to_string();
                let outcome = store.commit(&at, offer(fill.ticket, &text, &fill.token)).await.unwrap();
                assert_eq!(outcome == Committed::Kept, fill.ticket > kept, "seed {seed}, step {step}");
                kept = kept.max(fill.ticket);
            }
            let expected = (kept > 0).then(|| kept.to_string());
            assert_eq!(body(&nodes[random.below(2)], &at).await, expected, "seed {seed}, step {step}");
        }
    }
}
