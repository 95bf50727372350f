//! A real application behind Larder, unchanged: Django with its stock sessions, CSRF protection and admin.
//!
//! Larder learns who somebody is from the application itself (`ask`), by the opaque session cookie. What a page was
//! computed for is counted in the application's own log.

mod support;

use std::time::Duration;

use http::StatusCode;
use support::browser::csrf_token;
use support::django::PASSWORD;
use support::{Answer, Browser, Client, Django, Larder};

const YAML: &str = r#"
origins:
  backoffice: { url: "{origin}", timeout: 30s }
identity:
  ask: { origin: backoffice, path: /whoami/, tenant: X-Tenant, user: X-User, role: X-Role, logout: [/logout/] }
  tenant: [{ ask: tenant }]
  user: [{ ask: user }]
  role: [{ ask: role }]
tiers:
  dashboard: { ttl: 15m }
  dropdown: { ttl: 30m }
  inventory: { ttl: 5m }
  origin: {}
routes:
  - { name: dashboard, path: /dashboard/, origin: backoffice, tier: dashboard, share: tenant, override: ["Vary: Cookie"] }
  - { name: dropdown, path: "/api/dropdown/{kind}/", origin: backoffice, tier: dropdown, share: tenant, override: ["Vary: Cookie"] }
  - { name: inventory, path: /api/inventory/, origin: backoffice, tier: inventory, share: tenant, override: ["Vary: Cookie"] }
  - { name: static, path: "/static/{*rest}", origin: backoffice, tier: origin, share: public }
  - { name: rest, path: "/{*rest}", origin: backoffice }
"#;

/// What the cached pages of each tenant show, and no other tenant's do.
const MARKS: [(&str, &str, &str); 6] = [
    ("/dashboard/", "Acme Tools", "Bolt Bikes"),
    ("/dashboard/", "data-tenant=\"acme\"", "data-tenant=\"bolt\""),
    ("/api/dropdown/people/", "Alma Acker", "Beate Bahr"),
    ("/api/dropdown/people/", "\"tenant\": \"acme\"", "\"tenant\": \"bolt\""),
    ("/api/dropdown/asset/", "Anvil", "Brake"),
    ("/api/inventory/", "Aachen", "Bonn"),
];

const CACHED: [&str; 4] = ["/dashboard/", "/api/dropdown/people/", "/api/dropdown/asset/", "/api/inventory/"];

async fn behind_larder() -> (Django, Larder) {
    let django = Django::start().await;
    let larder = Larder::with(YAML).put("origin", django.url()).start().await;
    (django, larder)
}

async fn logged_in(base: String, user: &str) -> Browser {
    let mut browser = Browser::new(base);
    browser.login(user).await;
    browser
}

/// Fails when a cached page shows anything of the other tenant, or nothing of its own.
fn assert_belongs_to(tenant: &str, path: &str, answer: &Answer) {
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    for (_, acme, bolt) in MARKS.iter().filter(|(page, ..)| *page == path) {
        let (own, other) = if tenant == "acme" { (acme, bolt) } else { (bolt, acme) };
        assert!(answer.text().contains(own), "{path} of {tenant} lacks {own}: {}", answer.text());
        assert!(!answer.text().contains(other), "{path} of {tenant} shows {other}: {}", answer.text());
    }
}

fn assert_asks_to_log_in(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::FOUND, "{}", answer.text());
    let target = answer.header("location").unwrap_or("");
    assert!(target.starts_with("/login/"), "{:?}", answer.headers);
    assert_eq!(answer.x_cache(), "BYPASS");
}

#[tokio::test]
async fn the_application_by_itself_computes_every_page_for_everybody() {
    let django = Django::start().await;
    let mut ann = logged_in(django.url().to_owned(), "ann").await;
    let mut bea = logged_in(django.url().to_owned(), "bea").await;
    for path in CACHED {
        assert_belongs_to("acme", path, &ann.get(path).await);
        assert_belongs_to("acme", path, &ann.get(path).await);
        assert_belongs_to("bolt", path, &bea.get(path).await);
        assert_eq!((django.computed(path, "acme"), django.computed(path, "bolt")), (2, 1), "{path}");
    }
    let page = ann.get("/dashboard/").await;
    assert_eq!(page.header("vary"), Some("Cookie"));
    assert!(page.took >= Duration::from_millis(300), "the dashboard is slow, but took {:?}", page.took);

    let who = ann.get("/whoami/").await;
    let said = ["x-tenant", "x-user", "x-role"].map(|name| who.header(name).unwrap_or(""));
    assert_eq!((who.status, said), (StatusCode::OK, ["acme", "ann", "manager"]));
    ann.logout().await;
    assert_eq!(ann.get("/whoami/").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ann.get("/dashboard/").await.status, StatusCode::FOUND);
    assert_eq!(ann.get("/api/dropdown/people/").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn pages_are_computed_once_for_each_tenant_and_never_shown_to_another() {
    let (django, larder) = behind_larder().await;
    let mut ann = logged_in(larder.url(""), "ann").await;
    let mut adam = logged_in(larder.url(""), "adam").await;
    let mut bea = logged_in(larder.url(""), "bea").await;
    let mut bob = logged_in(larder.url(""), "bob").await;
    for path in CACHED {
        for (tenant, first, second) in [("acme", &mut ann, &mut adam), ("bolt", &mut bea, &mut bob)] {
            let computed = first.get(path).await;
            assert_belongs_to(tenant, path, &computed);
            assert_eq!(computed.x_cache(), "MISS", "{path}: {}", computed.cache_status());
            for browser in [second, first] {
                let again = browser.get(path).await;
                assert_eq!(again.x_cache(), "HIT", "{path}: {}", again.cache_status());
                assert_eq!(again.body, computed.body, "{path}");
            }
            assert_eq!(django.computed(path, tenant), 1, "{path}");
        }
    }
    // The application was asked once who each session belongs to, not once for each page.
    for user in ["ann", "adam", "bea", "bob"] {
        let asked =
            |view: &&support::django::View| view.path == "/whoami/" && view.user.as_deref() == Some(user);
        assert_eq!(django.views().iter().filter(asked).count(), 1, "{user}");
    }
}

#[tokio::test]
async fn many_users_at_once_cost_one_computation_for_each_tenant() {
    let (django, larder) = behind_larder().await;
    let mut tasks = tokio::task::JoinSet::new();
    for (user, tenant) in [("ann", "acme"), ("bea", "bolt"), ("adam", "acme"), ("bob", "bolt")] {
        let browser = logged_in(larder.url(""), user).await;
        for _ in 0..8 {
            let mut browser = browser.clone();
            tasks.spawn(async move { (tenant, browser.get("/dashboard/").await) });
        }
    }
    for (tenant, answer) in tasks.join_all().await {
        assert_belongs_to(tenant, "/dashboard/", &answer);
    }
    assert_eq!(django.computed("/dashboard/", "acme"), 1);
    assert_eq!(django.computed("/dashboard/", "bolt"), 1);
}

#[tokio::test]
async fn who_has_no_tenant_gets_the_applications_own_answer() {
    let (django, larder) = behind_larder().await;
    let mut ann = logged_in(larder.url(""), "ann").await;
    assert_eq!(ann.get("/dashboard/").await.x_cache(), "MISS");

    let mut nobody = Browser::new(larder.url(""));
    assert_asks_to_log_in(&nobody.get("/dashboard/").await);
    assert_eq!(nobody.get("/api/dropdown/people/").await.status, StatusCode::UNAUTHORIZED);
    nobody.set_cookie("sessionid", "0123456789abcdefghijklmnopqrstuv");
    assert_asks_to_log_in(&nobody.get("/dashboard/").await);

    let mut root = logged_in(larder.url(""), "root").await;
    for _ in 0..2 {
        let refused = root.get("/dashboard/").await;
        assert_eq!((refused.status, refused.x_cache()), (StatusCode::FORBIDDEN, "BYPASS"));
    }

    // Saying that one is somebody changes nothing: the application's word counts.
    let claims = [("x-tenant", "bolt"), ("x_tenant", "bolt"), ("x-user", "bob"), ("x-role", "staff")];
    let claimed = ann.get_with("/dashboard/", &claims).await;
    assert_belongs_to("acme", "/dashboard/", &claimed);
    assert_eq!(claimed.x_cache(), "HIT");
    assert_asks_to_log_in(&Browser::new(larder.url("")).get_with("/dashboard/", &claims).await);
    assert_eq!(django.computed("/dashboard/", "bolt"), 0);
}

/// B9: a logged-out credential gets no cached answer, at once.
#[tokio::test]
async fn b9_who_logs_out_never_sees_the_old_answers() {
    let (_django, larder) = behind_larder().await;
    let mut ann = logged_in(larder.url(""), "ann").await;
    let mut adam = logged_in(larder.url(""), "adam").await;
    for path in CACHED {
        ann.get(path).await;
        assert_eq!(ann.get(path).await.x_cache(), "HIT", "{path}");
    }
    let mut with_the_old_cookie = ann.clone();
    ann.logout().await;
    for browser in [&mut ann, &mut with_the_old_cookie] {
        assert_asks_to_log_in(&browser.get("/dashboard/").await);
        for path in ["/api/dropdown/people/", "/api/dropdown/asset/", "/api/inventory/"] {
            let answer = browser.get(path).await;
            assert_eq!((answer.status, answer.x_cache()), (StatusCode::UNAUTHORIZED, "BYPASS"), "{path}");
        }
    }
    // The colleague's session goes on.
    assert_eq!(adam.get("/dashboard/").await.x_cache(), "HIT");
}

#[tokio::test]
async fn who_logs_in_as_somebody_else_in_the_same_browser_never_sees_the_old_answers() {
    let (_django, larder) = behind_larder().await;
    let mut browser = logged_in(larder.url(""), "ann").await;
    for path in CACHED {
        assert_belongs_to("acme", path, &browser.get(path).await);
    }
    let mut with_anns_cookie = browser.clone();
    browser.login("bea").await;
    for path in CACHED {
        assert_belongs_to("bolt", path, &browser.get(path).await);
        assert_belongs_to("bolt", path, &browser.get(path).await);
    }
    // Django ended the first session when the second began.
    assert_asks_to_log_in(&with_anns_cookie.get("/dashboard/").await);

    browser.logout().await;
    browser.login("adam").await;
    for path in CACHED {
        let answer = browser.get(path).await;
        assert_belongs_to("acme", path, &answer);
        // The login as bea was a write of ann's session that was answered with a redirect to the dashboard, which it
        // therefore purged for acme (RFC 9111 section 4.4).
        let word = if path == "/dashboard/" { "MISS" } else { "HIT" };
        assert_eq!(answer.x_cache(), word, "{path}: {}", answer.cache_status());
    }
}

#[tokio::test]
async fn forms_with_csrf_tokens_work_and_are_never_stored() {
    let (django, larder) = behind_larder().await;
    let mut ann = logged_in(larder.url(""), "ann").await;
    let mut adam = logged_in(larder.url(""), "adam").await;
    let mut tokens = std::collections::HashSet::new();
    for browser in [&mut ann, &mut adam, &mut Browser::new(larder.url(""))] {
        let page = if browser.cookie("sessionid").is_some() { "/inventory/new/" } else { "/login/" };
        for _ in 0..2 {
            let form = browser.get(page).await;
            assert_eq!((form.status, form.x_cache()), (StatusCode::OK, "BYPASS"), "{page}");
            assert!(form.header("set-cookie").is_some(), "the token's cookie is missing on {page}");
            assert!(tokens.insert(csrf_token(form.text()).to_owned()), "a token was given out twice");
        }
    }
    assert_eq!(django.computed("/inventory/new/", "acme"), 4);

    let item = [("name", "Adze"), ("branch", "Ahlen"), ("quantity", "7")];
    let saved = ann.submit("/inventory/new/", "/inventory/new/", &item).await;
    assert_eq!((saved.status, saved.header("location")), (StatusCode::FOUND, Some("/dashboard/")));
    let form = ann.get("/inventory/6/edit/").await;
    assert!(form.text().contains("Adze"), "{}", form.text());
    let mut bea = logged_in(larder.url(""), "bea").await;
    assert_eq!(bea.get("/inventory/6/edit/").await.status, StatusCode::NOT_FOUND);

    // Without a token, and with somebody else's, Django still refuses.
    assert_eq!(ann.post("/inventory/new/", &item).await.status, StatusCode::FORBIDDEN);
    let adams = adam.get("/inventory/new/").await;
    let mut with_adams = vec![("csrfmiddlewaretoken", csrf_token(adams.text()))];
    with_adams.extend(item);
    assert_eq!(ann.post("/inventory/new/", &with_adams).await.status, StatusCode::FORBIDDEN);

    for (browser, user) in [(&mut ann, "ann"), (&mut adam, "adam")] {
        let profile = browser.get("/profile/").await;
        assert_eq!(profile.x_cache(), "BYPASS");
        assert!(profile.text().contains(&format!("<h1>{user}</h1>")), "{}", profile.text());
    }
}

#[tokio::test]
async fn a_write_is_seen_by_the_next_read_of_its_tenant() {
    let (django, larder) = behind_larder().await;
    let mut ann = logged_in(larder.url(""), "ann").await;
    let mut adam = logged_in(larder.url(""), "adam").await;
    let mut bea = logged_in(larder.url(""), "bea").await;
    for browser in [&mut ann, &mut bea] {
        assert_eq!(browser.get("/api/inventory/").await.x_cache(), "MISS");
        assert_eq!(browser.get("/api/inventory/").await.x_cache(), "HIT");
    }
    let written = r#"{"name": "Axe", "branch": "Aachen", "quantity": 5}"#;
    let answer = ann.post_json("/api/inventory/", written).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    for browser in [&mut ann, &mut adam] {
        let read = browser.get("/api/inventory/").await;
        assert!(read.text().contains("\"Axe\""), "{}: {}", read.cache_status(), read.text());
    }
    assert_eq!(django.computed("/api/inventory/", "acme"), 2);
    let other = bea.get("/api/inventory/").await;
    assert_eq!(other.x_cache(), "HIT", "another tenant's list is still good: {}", other.cache_status());
    assert!(!other.text().contains("\"Axe\""));
}

#[tokio::test]
async fn static_files_are_cached_for_everybody() {
    let (django, larder) = behind_larder().await;
    let mut ann = logged_in(larder.url(""), "ann").await;
    let style = include_bytes!("apps/django/shop/static/shop/style.css");
    let url = larder.url("/static/shop/style.css");
    let first = Client::new().get(&url).send().await;
    assert_eq!((first.status, first.x_cache()), (StatusCode::OK, "MISS"), "{}", first.cache_status());
    for answer in [Client::new().get(&url).send().await, ann.get("/static/shop/style.css").await] {
        assert_eq!(answer.x_cache(), "HIT", "{}", answer.cache_status());
        assert_eq!(answer.body.as_ref(), style);
        assert!(answer.age().is_some());
    }
    assert_eq!(django.asked("/static/shop/style.css"), 1);
    assert_eq!(
        Client::new().get(larder.url("/static/shop/none.css")).send().await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn the_admin_works_and_is_never_stored() {
    let (_django, larder) = behind_larder().await;
    let mut root = Browser::new(larder.url(""));
    root.login_at("/admin/login/?next=/admin/", "root", PASSWORD).await;
    for _ in 0..2 {
        let index = root.get("/admin/").await;
        assert_eq!((index.status, index.x_cache()), (StatusCode::OK, "BYPASS"));
        assert!(index.text().contains("Site administration"));
    }
    let person = [("tenant", "1"), ("name", "Ada Abel")];
    let page = "/admin/shop/person/add/";
    assert_eq!(root.submit(page, page, &person).await.status, StatusCode::FOUND);
    assert!(root.get("/admin/shop/person/").await.text().contains("Ada Abel"));

    let mut ann = logged_in(larder.url(""), "ann").await;
    for browser in [&mut ann, &mut Browser::new(larder.url(""))] {
        let refused = browser.get("/admin/").await;
        assert_eq!(refused.status, StatusCode::FOUND);
        assert!(!refused.text().contains("Site administration"));
    }
}

/// The point of it all; the figures are printed (`cargo test --test django -- --nocapture figures`).
#[tokio::test]
async fn the_figures_before_and_after() {
    let (django, larder) = behind_larder().await;
    let mut before = logged_in(django.url().to_owned(), "ann").await;
    let mut after = logged_in(larder.url(""), "adam").await;
    println!("{:<24} {:>12} {:>12} {:>12}", "page (median of 9)", "alone", "first", "behind Larder");
    for path in ["/dashboard/", "/api/dropdown/people/", "/api/dropdown/asset/"] {
        let alone = median(&mut before, path, "").await;
        let first = after.get(path).await;
        assert_eq!(first.x_cache(), "MISS", "{path}: {}", first.cache_status());
        let hit = median(&mut after, path, "HIT").await;
        println!("{path:<24} {alone:>12.1?} {:>12.1?} {hit:>12.1?}", first.took);
        assert!(hit < alone / 2, "{path}: a hit took {hit:?}, the application alone {alone:?}");
    }
}

async fn median(browser: &mut Browser, path: &str, x_cache: &str) -> Duration {
    let mut times = Vec::new();
    for _ in 0..9 {
        let answer = browser.get(path).await;
        assert_eq!((answer.status, answer.x_cache()), (StatusCode::OK, x_cache), "{path}");
        times.push(answer.took);
    }
    times.sort();
    times[times.len() / 2]
}
