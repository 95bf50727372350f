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
