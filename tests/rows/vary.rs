//! F2: variants of one URL: which requests mean the same, how many are kept, and how one confirms another.

use crate::support::{InProcess, Origin, Reply};
use bytes::Bytes;
use http::Request;

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
