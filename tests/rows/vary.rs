//! F2: variants of one URL: which requests mean the same, how many are kept, and how one confirms another.

use std::sync::Arc;

use crate::support::{InProcess, Origin, Reply};
use bytes::Bytes;
use http::Request;
use larder::cache::Cache;
use larder::purge::{Mode, Purge, Selector, Where};

const NOON: u64 = 1_780_000_000;

const YAML: &str = "
origins: { app: { url: 'http://127.0.0.1:1' } }
stores: { default: { memory: 8MiB } }
tiers: { own: {} }
routes:
  - { name: own, path: '/{*rest}', tier: own, share: public }
";

async fn larder(origin: &Origin) -> InProcess {
    InProcess::start(YAML, origin, NOON).await
}

fn field(request: &Request<Bytes>, name: &str) -> String {
    request.headers().get(name).map_or("none", |value| value.to_str().unwrap()).to_owned()
}

#[tokio::test]
async fn f2_languages_and_media_types_that_mean_the_same_are_one_variant() {
    let origin = Origin::start(async |request: Request<Bytes>| {
        let body = format!("{} {}", field(&request, "accept-language"), field(&request, "accept"));
        Reply::ok(body).header("vary", "Accept-Language, Accept").header("cache-control", "max-age=600")
    });
    let larder = larder(&origin).await;
    let ask = async |language: &str, accept: &str| {
        let answer = larder.ask("/page", &[("accept-language", language), ("accept", accept)]).await;
        answer.x_cache().to_owned()
    };
    assert_eq!(ask("en, de;q=0.8", "text/html;level=1, */*;q=0.1").await, "MISS");
    assert_eq!(ask("DE;q=0.80 ,  en;q=1.0", "*/*;q=0.1,Text/HTML;level=1;q=1").await, "HIT");
    assert_eq!(ask("de, en;q=0.8", "text/html;level=1, */*;q=0.1").await, "MISS", "other weights");
    assert_eq!(ask("en, de;q=0.8", "text/html;level=2, */*;q=0.1").await, "MISS", "another parameter");
}

/// An origin that answers in the language of `X-Answer`, whatever was asked for.
fn in_a_language() -> Origin {
    Origin::start(async |request: Request<Bytes>| {
        Reply::ok(field(&request, "accept-language"))
            .header("vary", "Accept-Language, X-View")
            .header("cache-control", "max-age=600")
            .header("content-language", field(&request, "x-answer"))
    })
}

#[tokio::test]
async fn f2_the_language_preferred_to_all_others_is_answered_from_what_is_stored_in_it() {
    let origin = in_a_language();
    let larder = larder(&origin).await;
    let ask = async |language: &str, view: &str, answer: &str| {
        let fields = [("accept-language", language), ("x-view", view), ("x-answer", answer)];
        larder.ask("/page", &fields).await
    };
    assert_eq!(ask("en, de", "list", "De").await.x_cache(), "MISS");
    let near = ask("fr;q=0.5, de;q=1.0", "list", "fr").await;
    assert_eq!((near.x_cache(), near.text()), ("HIT", "en, de"), "{}", near.cache_status());
    assert_eq!(ask("fr;q=0.5, de;q=1.0", "table", "de").await.x_cache(), "MISS", "another view");
    assert_eq!(ask("de-AT", "list", "x, y").await.x_cache(), "MISS", "not exactly that language");
    assert_eq!(ask("de, fr", "list", "x, y").await.x_cache(), "MISS", "no one language is preferred");
    // A variant of the request's own comes first.
    assert_eq!(ask("de-AT", "list", "x, y").await.text(), "de-AT");
    // Stale, it confirms nothing for others: the request is asked for anew.
    larder.advance(std::time::Duration::from_secs(601));
    let anew = ask("fr;q=0.5, de;q=1.0", "list", "de").await;
    assert_eq!((anew.x_cache(), anew.text()), ("MISS", "fr;q=0.5, de;q=1.0"));
}

#[tokio::test]
async fn f2_the_newest_answer_in_a_language_counts_whichever_was_stored_last() {
    let gate = crate::support::Gate::closed();
    let at_the_gate = gate.clone();
    let origin = Origin::start(move |request: Request<Bytes>| {
        let gate = at_the_gate.clone();
        async move {
            let asked = field(&request, "accept-language");
            if asked == "de, en" {
                gate.pass().await;
            }
            Reply::ok(asked)
                .header("vary", "Accept-Language")
                .header("cache-control", "max-age=600")
                .header("content-language", "de")
        }
    });
    let larder = larder(&origin).await;
    // From here on each variant is fetched on its own.
    assert_eq!(larder.ask("/page", &[("accept-language", "it, fr")]).await.x_cache(), "MISS");
    let call = larder.get("/page").header("accept-language", "de, en");
    let older = tokio::spawn(call.send());
    gate.arrived(1).await;
    assert_eq!(larder.ask("/page", &[("accept-language", "de, fr")]).await.x_cache(), "MISS");
    gate.open();
    assert_eq!(older.await.unwrap().text(), "de, en");
    assert_eq!(larder.ask("/page", &[("accept-language", "de")]).await.text(), "de, fr");
}

#[tokio::test]
async fn f2_a_purge_covers_what_is_found_by_its_language() {
    let origin = in_a_language();
    let larder = larder(&origin).await;
    let ask = async |language: &str| {
        larder.ask("/page", &[("accept-language", language), ("x-answer", "de")]).await.x_cache().to_owned()
    };
    assert_eq!([ask("en, de").await, ask("de").await], ["MISS", "HIT"]);
    assert!(larder.post("/page").send().await.status.is_success());
    assert_eq!(ask("de").await, "MISS");
}

#[tokio::test]
async fn f2_of_one_url_a_bounded_number_of_variants_is_kept() {
    let mut origin = Origin::start(async |request: Request<Bytes>| {
        Reply::ok(field(&request, "x-view")).header("vary", "X-View").header("cache-control", "max-age=600")
    });
    let larder = larder(&origin).await;
    let ask = async |view: usize| larder.ask("/page", &[("x-view", &view.to_string())]).await;
    assert_eq!(larder.ask("/other", &[]).await.x_cache(), "MISS");
    for view in 0..80 {
        assert_eq!(ask(view).await.x_cache(), "MISS");
    }
    origin.stop();
    let mut kept = Vec::new();
    for view in 0..80 {
        kept.extend((ask(view).await.x_cache() == "HIT").then_some(view));
    }
    assert_eq!(kept, (16..80).collect::<Vec<_>>());
    assert_eq!(larder.ask("/other", &[]).await.x_cache(), "HIT");
}

/// An origin whose views `a` and `b` are the same page, with the entity tag of the page; it answers 304 to whoever has it.
/// The answer of `other` is a page of its own. Content is `how` and the number of the answer.
fn pages(how: &'static str) -> Origin {
    let number = std::sync::atomic::AtomicUsize::new(0);
    let number = std::sync::Arc::new(number);
    Origin::start(move |request: Request<Bytes>| {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let tag = match field(&request, "x-view").as_str() {
            "a" | "b" => "\"page\"",
            "weak" | "weaker" => "W/\"page\"",
            _ => "\"other\"",
        };
        let listed = field(&request, "if-none-match").split(", ").any(|one| one == tag);
        let reply = if listed { Reply::status(304) } else { Reply::ok(format!("{how}{number}")) };
        let reply = if how == "unnamed" && listed { reply } else { reply.header("etag", tag) };
        std::future::ready(reply.header("vary", "X-View").header("cache-control", "max-age=600"))
    })
}

async fn view(larder: &InProcess, view: &str) -> (String, String) {
    let answer = larder.ask("/page", &[("x-view", view)]).await;
    (answer.x_cache().to_owned(), answer.text().to_owned())
}

fn pair(word: &str, text: &str) -> (String, String) {
    (word.to_owned(), text.to_owned())
}

#[tokio::test]
async fn f2_other_variants_are_named_to_the_origin_and_the_one_that_it_confirms_is_the_answer() {
    let origin = pages("");
    let larder = larder(&origin).await;
    assert_eq!(view(&larder, "other").await, pair("MISS", "0"));
    assert_eq!(view(&larder, "a").await, pair("MISS", "1"));
    assert_eq!(origin.last("/page").header("if-none-match"), Some("\"other\""));
    let b = larder.ask("/page", &[("x-view", "b")]).await;
    assert_eq!((b.x_cache(), b.text()), ("REVALIDATED", "1"));
    assert!(b.cache_status().contains("fwd=vary-miss; fwd-status=304"), "{}", b.cache_status());
    assert_eq!(origin.last("/page").header("if-none-match"), Some("\"page\", \"other\""));
    assert_eq!(view(&larder, "b").await, pair("HIT", "1"));
    // Stale, its own comes first, and a date would stand alone.
    larder.advance(std::time::Duration::from_secs(601));
    assert_eq!(view(&larder, "other").await, pair("REVALIDATED", "0"));
    assert_eq!(origin.last("/page").header("if-none-match"), Some("\"other\", \"page\""));
    // A weak entity tag may be that of several variants: it is not named for another one.
    assert_eq!(view(&larder, "weak").await.0, "MISS");
    assert_eq!(view(&larder, "weaker").await.0, "MISS");
    assert_eq!(origin.last("/page").header("if-none-match"), Some("\"other\", \"page\""));
}

#[tokio::test]
async fn f2_a_304_that_names_none_of_several_is_asked_again_without_conditions() {
    let origin = pages("unnamed");
    let larder = larder(&origin).await;
    assert_eq!(view(&larder, "other").await.0, "MISS");
    assert_eq!(view(&larder, "a").await, pair("MISS", "unnamed1"));
    // Two were named, the answer names neither: it may mean either.
    assert_eq!(view(&larder, "b").await, pair("MISS", "unnamed3"));
    assert_eq!(origin.last("/page").header("if-none-match"), None);
}

#[tokio::test]
async fn f2_no_purged_variant_is_named_to_the_origin() {
    let origin = pages("");
    let larder = larder(&origin).await;
    assert_eq!(view(&larder, "a").await, pair("MISS", "0"));
    assert!(larder.post("/page").send().await.status.is_success());
    assert_eq!(view(&larder, "b").await, pair("MISS", "2"));
    assert_eq!(origin.last("/page").header("if-none-match"), None);
}

#[tokio::test]
async fn f2_a_softly_purged_variant_may_be_confirmed_by_its_strong_entity_tag() {
    let origin = pages("");
    let mut handle = None;
    let over = |stores: &[Arc<larder::config::Store>], clock| {
        let cache = Cache::new(stores, clock);
        handle = Some(cache.clone());
        cache
    };
    let larder = InProcess::start_over(YAML, &origin, NOON, &[], over).await;
    assert_eq!(view(&larder, "a").await, pair("MISS", "0"));
    let soft = Purge { mode: Mode::Soft, ..Purge::hard(vec![Selector::Everything], Where::All) };
    assert!(handle.unwrap().purge_with(&soft).receipt().is_some());
    assert_eq!(view(&larder, "b").await, pair("REVALIDATED", "0"));
    assert_eq!(view(&larder, "b").await, pair("HIT", "0"), "it began after the purge");
    assert_eq!(view(&larder, "a").await, pair("REVALIDATED", "0"));
}

#[tokio::test]
async fn f2_what_a_304_confirms_for_another_variant_began_with_the_request_that_it_answers() {
    let gate = crate::support::Gate::closed();
    let at_the_gate = gate.clone();
    let origin = Origin::start(move |request: Request<Bytes>| {
        let gate = at_the_gate.clone();
        async move {
            let listed = request.headers().contains_key("if-none-match");
            if listed {
                gate.pass().await;
            }
            let reply = if listed { Reply::status(304) } else { Reply::ok(field(&request, "x-view")) };
            reply.header("etag", "\"page\"").header("vary", "X-View").header("cache-control", "max-age=600")
        }
    });
    let larder = larder(&origin).await;
    assert_eq!(view(&larder, "a").await, pair("MISS", "a"));
    let asking = tokio::spawn(larder.get("/page").header("x-view", "b").send());
    gate.arrived(1).await;
    assert!(larder.post("/page").send().await.status.is_success());
    gate.open();
    // What a 304 confirmed before the purge is not served after it: the origin was asked once more, for a whole answer.
    assert_eq!(asking.await.unwrap().text(), "b");
    assert_eq!(origin.last("/page").header("if-none-match"), None);
    assert_eq!(view(&larder, "b").await, pair("HIT", "b"));
}

#[tokio::test]
async fn f2_a_variant_for_who_takes_other_codings_is_not_named() {
    let origin = Origin::start(async |request: Request<Bytes>| {
        if request.headers().contains_key("if-none-match") {
            return Reply::status(304).header("etag", "\"one\"");
        }
        let encoded = field(&request, "accept-encoding") == "gzip";
        let reply = Reply::ok(if encoded { "encoded" } else { "plain" });
        let reply = if encoded { reply.header("content-encoding", "gzip") } else { reply };
        // It calls both by one name, as it must not.
        reply
            .header("etag", "\"one\"")
            .header("vary", "Accept-Encoding")
            .header("cache-control", "max-age=600")
    });
    let larder = larder(&origin).await;
    for (accept, body) in [("gzip", "encoded"), ("identity", "plain"), ("br", "plain")] {
        assert_eq!(larder.ask("/page", &[("accept-encoding", accept)]).await.text(), body);
        assert_eq!(origin.last("/page").header("if-none-match"), None);
    }
}

#[tokio::test]
async fn f2_a_strong_entity_tag_that_was_seen_with_two_contents_is_not_named() {
    let origin = Origin::start(async |request: Request<Bytes>| {
        let reply = Reply::ok(field(&request, "x-view")).header("etag", "\"one\"");
        reply.header("vary", "X-View").header("cache-control", "max-age=600")
    });
    let larder = larder(&origin).await;
    for (v, named) in [("a", None), ("b", Some("\"one\"")), ("c", None)] {
        assert_eq!(view(&larder, v).await, pair("MISS", v));
        assert_eq!(origin.last("/page").header("if-none-match"), named);
    }
}
