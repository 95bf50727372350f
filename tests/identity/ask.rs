//! `ask`: what the origin is shown, what is remembered and for how long, and how a generation ends (B9).

use std::sync::Arc;
use std::time::Duration;

use http::request::Builder;
use http::{HeaderMap, HeaderName, Method, Request};
use larder::config::{self, Ask, PathPattern, Share, Source};
use larder::error::{Error, ErrorKind};
use larder::proxy::identify::{Identified, Step};
use serde_json::json;

use crate::support::*;

fn by_ask(cookies: Option<&[&str]>) -> config::Identity {
    config::Identity {
        ask: Some(Ask {
            origin: 0,
            path: "/whoami?v=1".into(),
            tenant: Some(HeaderName::from_static("x-tenant")),
            user: Some(HeaderName::from_static("x-user")),
            role: Some(HeaderName::from_static("x-role")),
            remember: Duration::from_secs(30),
            logout: vec![PathPattern::parse("/logout").unwrap()],
            cookies: cookies.map(|names| names.iter().map(|n| (*n).to_owned()).collect()),
        }),
        tenant: vec![Source::Ask],
        user: vec![Source::Ask],
        role: vec![Source::Ask],
        ..Default::default()
    }
}

fn with_session(target: &str) -> Builder {
    get(target).header("host", "shop.example").header("cookie", "sid=abc; lang=en")
}

fn post(target: &str) -> Builder {
    with_session(target).method(Method::POST)
}

fn is_ann(it: &Identified) -> bool {
    !it.invalid && (tenant(it), user(it)) == (Some("acme"), Some("ann"))
}

fn is_nobody(it: &Identified) -> bool {
    !it.invalid && it.identity == larder::identity::Identity::default()
}

#[tokio::test]
async fn the_origin_is_shown_the_credential_and_says_who_it_is() {
    let bench = Bench::new(&by_ask(None));
    bench.reply(|_| Ok(says(&[("x-tenant", "acme"), ("x-user", "ann"), ("x-role", "staff")])));
    let request = with_session("/p?q=1")
        .header("authorization", "Basic x")
        .header("x-forwarded-for", "192.0.2.1")
        .header("x-secret", "s");
    let it = bench.identify(request).await.unwrap();
    assert!(is_ann(&it) && role(&it) == Some("staff") && it.identity.is_verified());
    assert_eq!(&*it.identity.user.as_ref().unwrap().issuer, "ask");
    assert!(it.generation.as_ref().unwrap().is_current());
    let carried = it.carries.for_key(Share::Tenant, false);
    assert!(carried.authorization() && carried.all_cookies());
    let asked = bench.origin.last.lock().unwrap().take().unwrap();
    assert_eq!((asked.method(), asked.uri().to_string()), (&Method::GET, "/whoami?v=1".to_owned()));
    for (name, value) in [
        ("host", "shop.example"),
        ("cookie", "sid=abc; lang=en"),
        ("authorization", "Basic x"),
        ("x-forwarded-for", "192.0.2.1"),
    ] {
        assert_eq!(asked.headers()[name], value);
    }
    assert!(!asked.headers().contains_key("x-secret"));
}

#[tokio::test]
async fn only_the_configured_cookies_are_shown_and_they_alone_are_the_credential() {
    let bench = Bench::new(&by_ask(Some(&["sid"])));
    let request = |cookies: &str| get("/").header("host", "h").header("cookie", cookies);
    let it = bench.identify(request("lang=en; sid=a; sid=b ; x=1")).await.unwrap();
    assert!(is_ann(&it) && it.carries.all().cookie(b"sid") && !it.carries.all().cookie(b"lang"));
    let asked = bench.origin.last.lock().unwrap().take().unwrap();
    assert_eq!(asked.headers()["cookie"], "sid=a; sid=b", "a doubled cookie goes on as it came");
    bench.at_once(request("sid=a; sid=b; lang=fr"));
    assert_eq!(bench.asked(), 1);
    bench.identify(request("sid=b; sid=a")).await.unwrap();
    assert_eq!(bench.asked(), 2);
}

#[tokio::test]
async fn without_a_credential_nobody_is_asked() {
    let bench = Bench::new(&by_ask(Some(&["sid"])));
    for request in [get("/"), get("/").header("cookie", "lang=en"), get("/").header("cookie", "sid=")] {
        assert!(is_nobody(&bench.at_once(request)));
    }
    assert_eq!(bench.asked(), 0);
}

#[tokio::test]
async fn an_answer_is_remembered_for_as_long_as_configured() {
    let bench = Bench::new(&by_ask(None));
    assert!(is_ann(&bench.identify(with_session("/")).await.unwrap()));
    bench.advance(29);
    assert!(is_ann(&bench.at_once(with_session("/other"))));
    bench.advance(1);
    assert!(is_ann(&bench.identify(with_session("/")).await.unwrap()));
    assert_eq!(bench.asked(), 2);
}

#[tokio::test]
async fn with_nothing_to_remember_every_request_asks() {
    let mut config = by_ask(None);
    config.ask.as_mut().unwrap().remember = Duration::ZERO;
    let bench = Bench::new(&config);
    for asked in 1..=3 {
        assert!(is_ann(&bench.identify(with_session("/")).await.unwrap()));
        assert_eq!(bench.asked(), asked);
    }
}

#[tokio::test]
async fn a_thousand_simultaneous_requests_with_one_new_credential_ask_once() {
    let bench = Arc::new(Bench::new(&by_ask(None)));
    bench.origin.gate.forget_permits(usize::MAX);
    let waiting: Vec<_> = (0..1_000)
        .map(|_| {
            let bench = bench.clone();
            tokio::spawn(async move { bench.identify(with_session("/")).await.unwrap() })
        })
        .collect();
    bench.until_asked(1).await;
    bench.origin.gate.add_permits(1);
    for one in waiting {
        assert!(is_ann(&one.await.unwrap()));
    }
    assert_eq!(bench.asked(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_end_the_question_for_the_others() {
    let bench = Bench::new(&by_ask(None));
    bench.origin.gate.forget_permits(usize::MAX);
    let Step::Later(first) = bench.id.identify(&parts(with_session("/")), "h", bench.clock.now()) else {
        panic!()
    };
    let leaver = tokio::spawn(first);
    bench.until_asked(1).await;
    leaver.abort();
    bench.origin.gate.add_permits(1);
    assert!(is_ann(&bench.identify(with_session("/")).await.unwrap()));
    assert_eq!(bench.asked(), 1);
}

#[tokio::test]
async fn a_credential_that_the_origin_does_not_know_is_nobody_and_that_is_remembered_shortly() {
    for nobody in [200, 302, 401, 403] {
        let bench = Bench::new(&by_ask(None));
        bench.reply(move |_| Ok(status(nobody)));
        assert!(is_nobody(&bench.identify(with_session("/")).await.unwrap()));
        let it = bench.at_once(with_session("/"));
        assert!(is_nobody(&it) && it.losers.is_empty(), "a login page keeps its cookies");
        bench.reply(|_| Ok(says(&[("x-tenant", "acme"), ("x-user", "ann")])));
        bench.advance(5);
        assert!(is_ann(&bench.identify(with_session("/")).await.unwrap()));
    }
}

#[tokio::test]
async fn an_origin_that_fails_gives_no_identity_and_is_asked_again() {
    let bench =
        Bench::new(&config::Identity { tenant: vec![Source::Ask, host("{t}.example")], ..by_ask(None) });
    for failing in [404, 429, 500, 503] {
        bench.reply(move |_| Ok(status(failing)));
        let it = bench.identify_at("acme.example", with_session("/")).await.unwrap();
        assert!(it.invalid && tenant(&it).is_none(), "later sources are not tried");
    }
    bench.reply(|_| Err(Error::new(ErrorKind::OriginTimeout, "too slow")));
    assert!(bench.identify(with_session("/")).await.unwrap().invalid);
    bench.reply(|_| Ok(says(&[("x-user", "ann"), ("x-user", "bob")])));
    assert!(bench.identify(with_session("/")).await.unwrap().invalid, "two names are none");
    bench.reply(|_| Ok(says(&[("x-tenant", "acme"), ("x-user", "ann")])));
    assert!(is_ann(&bench.identify(with_session("/")).await.unwrap()));
    assert_eq!(bench.asked(), 7);
}

#[tokio::test]
async fn the_end_of_any_question_comes_though_the_origin_never_answers() {
    tokio::time::pause();
    let bench = Bench::new(&by_ask(None));
    bench.origin.gate.forget_permits(usize::MAX);
    assert!(bench.identify(with_session("/")).await.unwrap().invalid);
}

#[tokio::test]
async fn b9_a_logged_out_credential_is_asked_again_at_once() {
    let bench = Bench::new(&by_ask(None));
    let fill = bench.identify(with_session("/")).await.unwrap().generation.unwrap();
    let logout = parts(with_session("/logout"));
    let at_logout = bench.at_once(with_session("/logout"));
    assert!(at_logout.invalid, "a logout reaches the application, whoever asks for it");
    let guard = bench.id.unsafe_request(&logout).unwrap();
    assert!(!fill.is_current(), "what was begun before the logout is not stored");
    // While the logout is under way the origin still knows the session.
    let during = bench.identify(with_session("/")).await.unwrap();
    assert!(is_ann(&during) && during.generation.as_ref().unwrap().is_current());
    bench.reply(|_| Ok(status(401)));
    drop(guard);
    assert!(!during.generation.unwrap().is_current());
    assert!(is_nobody(&bench.identify(with_session("/")).await.unwrap()));
}

#[tokio::test]
async fn b9_a_session_ends_in_whatever_company_its_cookie_comes() {
    let bench = Bench::new(&by_ask(Some(&["sid", "csrf"])));
    let request = |cookies: &str| get("/").header("host", "h").header("cookie", cookies);
    bench.identify(request("sid=a; csrf=1")).await.unwrap();
    bench.identify(request("sid=b; csrf=9")).await.unwrap();
    let logout = get("/logout").header("cookie", "x=y; csrf=2; sid=a");
    drop(bench.id.unsafe_request(&parts(logout)));
    bench.reply(|_| Ok(status(401)));
    assert!(is_nobody(&bench.identify(request("sid=a; csrf=1")).await.unwrap()));
    assert!(is_ann(&bench.at_once(request("sid=b; csrf=9"))), "another session is left alone");
}

#[tokio::test]
async fn b9_a_logout_ends_a_session_though_its_cookie_is_repeated_many_times() {
    let bench = Bench::new(&by_ask(Some(&["sid"])));
    bench.identify(get("/").header("cookie", "sid=a")).await.unwrap();
    let many = vec!["sid=a"; 40].join("; ");
    drop(bench.id.unsafe_request(&parts(get("/logout").header("cookie", &many))));
    assert!(matches!(
        bench.id.identify(&parts(get("/").header("cookie", "sid=a")), "h", bench.clock.now()),
        Step::Later(_)
    ));
    assert!(bench.identify(get("/").header("cookie", &many)).await.unwrap().invalid, "and is not asked for");
}

#[tokio::test]
async fn an_unsafe_request_starts_a_new_generation_at_its_start_and_again_at_its_end() {
    let bench = Bench::new(&by_ask(None));
    let before = bench.identify(with_session("/")).await.unwrap().generation.unwrap();
    let write = bench.id.unsafe_request(&parts(post("/profile"))).unwrap();
    let during = bench.identify(with_session("/")).await.unwrap().generation.unwrap();
    assert!(!before.is_current() && during.is_current());
    drop(write);
    assert!(!during.is_current());
    assert!(bench.identify(with_session("/")).await.unwrap().generation.unwrap().is_current());
    assert_eq!(bench.asked(), 3);
}

#[tokio::test]
async fn a_safe_request_and_one_without_a_credential_end_nothing() {
    let bench = Bench::new(&by_ask(Some(&["sid"])));
    let generation = bench.identify(with_session("/")).await.unwrap().generation.unwrap();
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        assert!(bench.id.unsafe_request(&parts(with_session("/p").method(method))).is_none());
    }
    let anonymous = Request::post("/").header("cookie", "lang=en");
    assert!(bench.id.unsafe_request(&parts(anonymous)).is_none());
    assert!(generation.is_current());
}

#[tokio::test]
async fn an_answer_that_was_asked_for_before_an_unsafe_request_is_not_remembered_after_it() {
    let bench = Arc::new(Bench::new(&by_ask(None)));
    bench.origin.gate.forget_permits(usize::MAX);
    let asking = tokio::spawn({
        let bench = bench.clone();
        async move { bench.identify(with_session("/")).await.unwrap() }
    });
    bench.until_asked(1).await;
    // The origin has said `ann`, its word is on its way; the session becomes somebody else's meanwhile.
    drop(bench.id.unsafe_request(&parts(post("/login"))));
    bench.reply(|_| Ok(says(&[("x-tenant", "acme"), ("x-user", "bob")])));
    let late = tokio::spawn({
        let bench = bench.clone();
        async move { bench.identify(with_session("/")).await.unwrap() }
    });
    bench.until_asked(2).await;
    bench.origin.gate.add_permits(10);
    assert_eq!(user(&late.await.unwrap()), Some("bob"), "it does not join the older question");
    assert_eq!(user(&asking.await.unwrap()), Some("bob"), "the older answer is asked for again");
    assert_eq!(user(&bench.at_once(with_session("/"))), Some("bob"));
}

#[tokio::test]
async fn a_set_cookie_to_a_credential_starts_a_new_generation() {
    let bench = Bench::new(&by_ask(None));
    let generation = bench.identify(with_session("/")).await.unwrap().generation.unwrap();
    let credential = bench.id.credential(&parts(with_session("/page"))).unwrap();
    bench.id.set_cookie(&credential, &HeaderMap::new());
    assert!(generation.is_current());
    let response = says(&[("set-cookie", "sid=new")]);
    bench.id.set_cookie(&credential, response.headers());
    assert!(!generation.is_current());
}

#[tokio::test]
async fn the_case_of_a_scheme_makes_no_other_credential() {
    let bench = Bench::new(&by_ask(None));
    let it = bench.identify(get("/").header("authorization", "Basic abc")).await.unwrap();
    drop(bench.id.unsafe_request(&parts(get("/logout").header("authorization", "BASIC  abc"))));
    assert!(!it.generation.unwrap().is_current());
}

#[tokio::test]
async fn a_token_that_says_it_all_is_not_asked_for_and_the_session_beside_it_is_stripped() {
    let config = config::Identity {
        tenant: vec![jwt("tenant_id"), Source::Ask],
        user: vec![jwt("sub"), Source::Ask],
        role: vec![],
        jwt: by_token().jwt,
        ..by_ask(Some(&["sid"]))
    };
    let bench = Bench::new(&config);
    let request = |token: &str| bearer("/", token).header("cookie", "sid=abc; lang=en");
    let whole = hs256(json!({"tenant_id": "rival", "sub": "eve"}));
    let it = bench.at_once(request(&whole));
    assert_eq!((tenant(&it), bench.asked()), (Some("rival"), 0));
    let mut on = parts(request(&whole));
    it.losers.strip(&mut on);
    assert_eq!(on.headers["cookie"], "lang=en");
    assert!(on.headers.contains_key("authorization"));
    // A token without a tenant: the origin is asked for it, and must not contradict the token about the user.
    let conflict = bench.identify(request(&hs256(json!({"sub": "eve"})))).await.unwrap_err();
    assert_eq!(conflict.kind(), ErrorKind::IdentityConflict);
    let it = bench.identify(request(&hs256(json!({"sub": "ann"})))).await.unwrap();
    assert!(is_ann(&it) && it.generation.is_some());
    assert!(it.carries.all().authorization() && it.carries.all().cookie(b"sid"));
    assert!(bench.identify(request("no.token.really")).await.unwrap().invalid);
}
