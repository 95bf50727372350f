//! The head of a hit is rendered once a second and then copied: it says what it would say if it were rendered each time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Answer, Client, InProcess, Origin, Reply};
use bytes::Bytes;
use http::Request;

const NOON: u64 = 1_780_000_000;

const YAML: &str = "
origins: { app: { url: 'http://127.0.0.1:1' } }
tiers: { usual: { ttl: 1h } }
routes: [{ name: all, path: '/{*rest}', tier: usual, share: public }]
";

/// An application whose answers are numbered, in a field, an entity tag and the content.
async fn larder() -> (InProcess, Origin) {
    let made = AtomicUsize::new(0);
    let origin = Origin::start(move |_: Request<Bytes>| {
        let number = made.fetch_add(1, Ordering::Relaxed);
        let reply = Reply::ok(format!("answer {number}"));
        std::future::ready(
            reply.header("x-number", number.to_string()).header("etag", format!("\"{number}\"")),
        )
    });
    (InProcess::start(YAML, &origin, NOON).await, origin)
}

fn said(answer: &Answer) -> (String, String, String) {
    let field = |name: &str| answer.header(name).unwrap_or_default().to_owned();
    (field("age"), field("x-number"), answer.cache_status().to_owned())
}

#[tokio::test]
async fn e_age_and_ttl_are_those_of_the_second_however_often_is_asked() {
    let (larder, _origin) = larder().await;
    larder.ask("/a", &[]).await;
    let mut age = 0;
    for seconds in [0, 1, 2, 3_596] {
        larder.advance(Duration::from_secs(seconds));
        age += seconds;
        let status = format!("Larder; hit; ttl={}; detail=fresh_memory", 3_600 - age);
        for _ in 0..5 {
            let answer = larder.ask("/a", &[]).await;
            assert_eq!(said(&answer), (age.to_string(), "0".to_owned(), status.clone()));
            assert_eq!((answer.text(), answer.header("content-length")), ("answer 0", Some("8")));
        }
    }
}

#[tokio::test]
async fn e_no_response_gets_the_head_of_another_one() {
    let (larder, _origin) = larder().await;
    // More of them than a thread keeps heads.
    let paths: Vec<String> = (0..600).map(|number| format!("/{number}")).collect();
    for round in 0..4 {
        for (number, path) in paths.iter().enumerate() {
            let answer = larder.ask(path, &[]).await;
            let number = number.to_string();
            assert_eq!(
                (answer.header("x-number"), answer.text()),
                (Some(&*number), &*format!("answer {number}"))
            );
            assert_eq!(answer.x_cache(), if round == 0 { "MISS" } else { "HIT" });
            // Twice at once, so that heads are kept.
            let again = larder.ask(path, &[]).await;
            assert_eq!(again.header("x-number"), Some(&*number));
        }
    }
}

#[tokio::test]
async fn e_what_a_304_a_part_and_a_head_leave_out_the_next_hit_still_has() {
    let (larder, _origin) = larder().await;
    for _ in 0..3 {
        larder.ask("/a", &[]).await;
        let unchanged = larder.ask("/a", &[("if-none-match", "\"0\"")]).await;
        assert_eq!((unchanged.status.as_u16(), unchanged.header("content-length")), (304, None));
        let part = larder.ask("/a", &[("range", "bytes=0-2")]).await;
        assert_eq!(
            (part.status.as_u16(), part.text(), part.header("content-length")),
            (206, "ans", Some("3"))
        );
        let head = Client::new().method("HEAD", larder.url("/a")).send().await;
        assert_eq!((head.text(), head.header("content-length")), ("", Some("8")));
        let whole = larder.ask("/a", &[]).await;
        assert_eq!(
            (whole.status.as_u16(), whole.text(), whole.header("content-length")),
            (200, "answer 0", Some("8"))
        );
        assert_eq!(whole.header("content-range"), None);
    }
}
