//! B2 and B9, with the configuration that is shipped for the facility management application: how long each tier keeps
//! its answers, and when a credential that ended stops getting any.

use std::time::Duration;

use crate::support::{Gate, InProcess, Origin, Reply, wait};
use bytes::Bytes;
use http::Request;

const CONFIG: &str = include_str!("../../config/examples/b-facility-django.yaml");
const MORNING: u64 = 1_780_024_500; // 08:45 in Asia/Kolkata, far from midnight
const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// A Django that knows the sessions `TENANT.USER.ROLE`, and says so at `/accounts/whoami/`.
fn facility() -> Origin {
    Origin::start(async |request: Request<Bytes>| django(&request))
}

fn django(request: &Request<Bytes>) -> Reply {
    let cookie = request.headers().get("cookie").map_or("", |v| v.to_str().unwrap());
    let session = cookie.split("; ").find_map(|pair| pair.strip_prefix("sessionid=")).unwrap_or("");
    let parts: Vec<&str> = session.split('.').collect();
    match (request.uri().path(), parts.as_slice()) {
        ("/accounts/whoami/", [tenant, user, role]) => {
            let reply = Reply::ok("").header("x-tenant", tenant).header("x-user", user);
            reply.header("x-role", role)
        }
        ("/accounts/whoami/", _) => Reply::status(401),
        (_, [tenant, user, role]) => Reply::ok(format!("{tenant} {user} {role}")).header("vary", "Cookie"),
        _ => Reply::status(302).header("location", "/accounts/login/").header("vary", "Cookie"),
    }
}

async fn larder(origin: &Origin) -> InProcess {
    let env = [
        ("LARDER_ADMIN_TOKEN", "a token of an operator"),
        ("FACILITY_WEBHOOK_SECRET", "a secret of a sender"),
    ];
    InProcess::start_with(CONFIG, origin, MORNING, &env).await
}

async fn x_cache(larder: &InProcess, path: &str, session: &str) -> String {
    let answer = larder.ask(path, &[("cookie", &format!("sessionid={session}"))]).await;
    assert_eq!(answer.status.as_u16(), 200, "{path} of {session}: {}", answer.text());
    answer.x_cache().to_owned()
}

/// Path, lifetime, and how long it is served while a new one is fetched.
const TIERS: [(&str, u32, u32); 12] = [
    ("/dashboard/metrics/", 15, 1),
    ("/dropdown/people/", 30, 0),
    ("/dropdown/asset/", 30, 0),
    ("/dropdown/typeassist/", 30, 0),
    ("/dropdown/pgroup/", 30, 0),
    ("/forms/ticket/choices/", 120, 0),
    ("/dashboard/trends/monthly/", 120, 10),
    ("/assets/status/7/", 5, 0),
    ("/assets/dashboard/", 30, 5),
    ("/attendance/summary/", 60, 0),
    ("/schedule/jobs/", 5, 0),
    ("/people/prefs/", 30, 0),
];

#[tokio::test]
async fn b2_every_tier_of_the_shipped_configuration_lasts_as_long_as_the_row_says() {
    let origin = facility();
    let larder = larder(&origin).await;
    for (path, minutes, window) in TIERS {
        assert_eq!(x_cache(&larder, path, "acme.ann.staff").await, "MISS", "{path}");
        larder.advance(minutes * MINUTE - SECOND);
        assert_eq!(x_cache(&larder, path, "acme.ann.staff").await, "HIT", "{path} just before {minutes} min");
        // The stale windows are the configuration's own: here it is the end of the lifetime that counts.
        larder.advance(SECOND + window * MINUTE);
        let before = origin.count(path);
        assert_eq!(x_cache(&larder, path, "acme.ann.staff").await, "MISS", "{path} after {minutes} min");
        assert_eq!(origin.count(path), before + 1, "{path}");
        larder.advance(24 * 60 * MINUTE);
    }
}

#[tokio::test]
async fn b2_within_its_window_a_tier_answers_stale_and_no_longer() {
    for (path, minutes, window) in TIERS.iter().filter(|(.., window)| *window > 0) {
        let origin = facility();
        let larder = larder(&origin).await;
        x_cache(&larder, path, "acme.ann.staff").await;
        larder.advance(*minutes * MINUTE);
        assert_eq!(x_cache(&larder, path, "acme.ann.staff").await, "STALE", "{path}");
        wait::until_async("the new one is there", async || {
            (x_cache(&larder, path, "acme.ann.staff").await == "HIT").then_some(())
        })
        .await;
        larder.advance(*minutes * MINUTE + *window * MINUTE);
        assert_eq!(x_cache(&larder, path, "acme.ann.staff").await, "MISS", "{path}");
    }
}

#[tokio::test]
async fn b2_each_tenant_user_and_role_has_what_the_tier_shares_it_by() {
    let origin = facility();
    let larder = larder(&origin).await;
    // Path, then what ann of acme's answer is to the others.
    for (path, colleague, chief, other_tenant) in [
        ("/dropdown/people/", "HIT", "HIT", "MISS"),
        ("/dashboard/metrics/", "HIT", "MISS", "MISS"),
        ("/people/prefs/", "MISS", "MISS", "MISS"),
    ] {
        assert_eq!(x_cache(&larder, path, "acme.ann.staff").await, "MISS", "{path}");
        assert_eq!(x_cache(&larder, path, "acme.adam.staff").await, colleague, "{path}");
        assert_eq!(x_cache(&larder, path, "acme.amy.chief").await, chief, "{path}");
        assert_eq!(x_cache(&larder, path, "bolt.bea.staff").await, other_tenant, "{path}");
        assert_eq!(x_cache(&larder, path, "acme.ann.staff").await, "HIT", "{path}");
    }
}

#[tokio::test]
async fn b9_a_logged_out_credential_has_no_cached_answer_from_that_moment() {
    let origin = facility();
    let larder = larder(&origin).await;
    for logout in ["GET", "POST"] {
        let session = format!("acme.ann.staff{logout}");
        x_cache(&larder, "/dropdown/people/", &session).await;
        assert_eq!(x_cache(&larder, "/dropdown/people/", &session).await, "HIT");
        let asked = origin.count("/accounts/whoami/");
        assert_eq!(x_cache(&larder, "/dropdown/people/", &session).await, "HIT");
        assert_eq!(origin.count("/accounts/whoami/"), asked, "who it is, is remembered");
        let cookie = format!("sessionid={session}");
        let client = crate::support::Client::new();
        client.method(logout, larder.url("/accounts/logout/")).header("cookie", &cookie).send().await;
        // The application knows the session no more.
        origin.answer_with(async |request: Request<Bytes>| match request.uri().path() {
            "/accounts/whoami/" => Reply::status(401),
            _ => Reply::status(302).header("location", "/accounts/login/").header("vary", "Cookie"),
        });
        let after = larder.ask("/dropdown/people/", &[("cookie", &cookie)]).await;
        assert_eq!(
            (after.status.as_u16(), after.x_cache()),
            (302, "BYPASS"),
            "{logout}: {}",
            after.cache_status()
        );
        origin.answer_with(async |request: Request<Bytes>| django(&request));
    }
}

#[tokio::test]
async fn b9_an_expired_or_demoted_credential_has_no_cached_answer_after_the_configured_time() {
    let origin = facility();
    let larder = larder(&origin).await;
    assert_eq!(x_cache(&larder, "/dashboard/metrics/", "acme.ann.chief").await, "MISS");
    // Demoted: the same session, another role.
    origin.answer_with(async |request: Request<Bytes>| {
        if request.uri().path() == "/accounts/whoami/" {
            return Reply::ok("")
                .header("x-tenant", "acme")
                .header("x-user", "ann")
                .header("x-role", "staff");
        }
        Reply::ok("what staff may see").header("vary", "Cookie")
    });
    larder.advance(29 * SECOND);
    assert_eq!(x_cache(&larder, "/dashboard/metrics/", "acme.ann.chief").await, "HIT", "within 30 s");
    larder.advance(2 * SECOND);
    let demoted = larder.ask("/dashboard/metrics/", &[("cookie", "sessionid=acme.ann.chief")]).await;
    assert_eq!((demoted.x_cache(), demoted.text()), ("MISS", "what staff may see"));
    origin.answer_with(async |_| Reply::status(401).body("who are you?"));
    larder.advance(31 * SECOND);
    let expired = larder.ask("/dashboard/metrics/", &[("cookie", "sessionid=acme.ann.chief")]).await;
    assert_eq!((expired.status.as_u16(), expired.x_cache()), (401, "BYPASS"), "{}", expired.cache_status());
}

#[tokio::test]
async fn b9_an_answer_that_was_under_way_when_its_reader_logged_out_is_not_kept() {
    let gate = Gate::closed();
    let at_the_gate = gate.clone();
    let origin = Origin::start(move |request: Request<Bytes>| {
        let gate = at_the_gate.clone();
        async move {
            match request.uri().path() {
                "/accounts/whoami/" => Reply::ok("").header("x-tenant", "acme").header("x-user", "ann"),
                "/people/prefs/" => {
                    gate.pass().await;
                    Reply::ok("ann's").header("vary", "Cookie")
                }
                _ => Reply::ok("bye"),
            }
        }
    });
    let larder = larder(&origin).await;
    let cookie = ("cookie", "sessionid=1");
    let call = larder.get("/people/prefs/").header(cookie.0, cookie.1);
    let reading = tokio::spawn(call.send());
    gate.arrived(1).await;
    larder.ask("/accounts/logout/", &[cookie]).await;
    gate.open();
    assert_eq!(reading.await.unwrap().text(), "ann's");
    let again = larder.ask("/people/prefs/", &[cookie]).await;
    assert_ne!(again.x_cache(), "HIT", "{}", again.cache_status());
    assert_eq!(origin.count("/people/prefs/"), 2);
}
