//! B3, F4: tags in, from the application's answers.

use super::{OPS, Setting, with};
use crate::support::wait;

const DIALECTS: [(&str, &str); 9] = [
    ("Cache-Groups", r#""zebra one", "two";p=1"#),
    ("Surrogate-Key", "zebra two"),
    ("xkey", "zebra, two"),
    ("Cache-Tag", "zebra one,two"),
    ("Cache-Tags", "zebra one, two"),
    ("Edge-Cache-Tag", "zebra one,two"),
    ("X-Cache-Tags", "zebra one,two"),
    ("X-Magento-Tags", "zebra one,two"),
    ("X-LiteSpeed-Tag", "zebra one,two"),
];

#[tokio::test]
async fn f4_tags_in_every_dialect_are_purged_and_shown_to_no_client() {
    let setting = Setting::new().await;
    for (name, value) in DIALECTS {
        let purging = [
            ("X-Larder-Purge", "tag nothing"),
            ("X-LiteSpeed-Purge", "none"),
            ("Cache-Group-Invalidation", "\"n\""),
        ];
        let target = with("/t/page", &[&[(name, value), (name, "three")][..], &purging].concat());
        let tagged = with("/t/page", &[(name, value), ("Surrogate-Key", "three")]);
        let passed = with("/elsewhere", &[(name, value), purging[0]]);
        setting.warm(&[&target, &tagged], &["acme"]).await;
        for target in [&target, &tagged, &passed] {
            let answer = setting.get(target, "acme").await;
            for field in DIALECTS.iter().chain(&purging).map(|(name, _)| name) {
                assert!(answer.header(field).is_none(), "{field} of {target}: {}", answer.cache_status());
            }
        }
        for tag in ["two", "three"] {
            setting.warm(&[&tagged], &["acme"]).await;
            setting.purge(OPS, &format!("{{\"tags\": [\"{tag}\"]}}")).await;
            assert!(!setting.is_kept(&tagged, "acme").await, "{name}: {tag}");
        }
        setting.purge(OPS, r#"{"tags": ["two;p=1", "one", "tw", "ebra"]}"#).await;
        assert!(setting.is_kept(&tagged, "acme").await, "{name}: other names");
    }
}

#[tokio::test]
async fn b3_the_named_patterns_cover_the_tags_of_the_application() {
    let setting = Setting::new().await;
    let page = |tag: &str| with("/t/page", &[("Surrogate-Key", tag)]);
    let below = [page("dropdown"), page("dropdown:people"), page("dropdown:asset:open")];
    let beside = [page("dropdowns"), page("dashboard:metrics")];
    let all: Vec<&str> = below.iter().chain(&beside).map(String::as_str).collect();
    setting.warm(&all, &["acme", "bolt"]).await;
    let done = setting.purge(OPS, r#"{"patterns": ["dropdown"], "tenant": "acme"}"#).await;
    assert_eq!(done.status, 200, "{}", done.text());
    for target in &all {
        let kept = beside.iter().any(|other| other == target);
        assert_eq!(setting.is_kept(target, "acme").await, kept, "{target}");
        assert!(setting.is_kept(target, "bolt").await, "{target}");
    }
}

#[tokio::test]
async fn f4_a_tag_named_like_a_wild_card_is_just_a_name() {
    let setting = Setting::new().await;
    let (star, other) = (with("/t/a", &[("Cache-Tag", "*")]), with("/t/b", &[("Cache-Tag", "a:*b")]));
    setting.warm(&[&star, &other], &["acme"]).await;
    setting.purge(OPS, r#"{"tags": ["*"]}"#).await;
    assert!(!setting.is_kept(&star, "acme").await);
    assert!(setting.is_kept(&other, "acme").await);
    setting.purge(OPS, r#"{"tags": ["a:*b"]}"#).await;
    assert!(!setting.is_kept(&other, "acme").await);
}

#[tokio::test]
async fn f4_a_response_with_too_many_tags_is_answered_but_not_stored_and_the_log_says_why() {
    let mut setting = Setting::new().await;
    let many: Vec<String> = (0..300).map(|n| format!("t{n}")).collect();
    let many = with("/t/many", &[("Surrogate-Key", &many.join(" "))]);
    let long = with("/t/long", &[("Cache-Tag", &"x".repeat(1025))]);
    for target in [&many, &long] {
        for _ in 0..2 {
            let answer = setting.get(target, "acme").await;
            assert_eq!(
                (answer.status.as_u16(), answer.x_cache()),
                (200, "BYPASS"),
                "{}",
                answer.cache_status()
            );
            assert!(!answer.text().is_empty());
        }
    }
    let line = setting.larder.log("could not be purged").await;
    assert!(line.contains("tenants") && line.contains("/t/many"), "{line}");
}

#[tokio::test]
async fn f4_a_304_with_tags_gives_the_stored_response_those() {
    let setting = Setting::new().await;
    let page = || {
        with("/own/turn", &[("Cache-Control", "max-age=0"), ("ETag", "\"1\""), ("Surrogate-Key", "older")])
    };
    let first = setting.get(&page(), "acme").await;
    let confirmed = setting.get(&page(), "acme").await;
    assert_eq!((confirmed.x_cache(), confirmed.text()), ("REVALIDATED", first.text()));
    assert!(confirmed.header("surrogate-key").is_none());
    setting.purge(OPS, r#"{"tags": ["older"]}"#).await;
    assert!(setting.is_kept(&page(), "acme").await);
    setting.purge(OPS, r#"{"tags": ["newer"]}"#).await;
    assert_ne!(setting.get(&page(), "acme").await.text(), first.text());
}

#[tokio::test]
async fn f4_cache_groups_that_are_no_list_of_strings_are_ignored() {
    let setting = Setting::new().await;
    let target = with("/t/page", &[("Cache-Groups", "\"a\", b"), ("xkey", "c")]);
    setting.warm(&[&target], &["acme"]).await;
    setting.purge(OPS, r#"{"tags": ["a", "b"]}"#).await;
    assert!(setting.is_kept(&target, "acme").await);
    let said = || setting.larder.logs().iter().any(|line| line.contains("RFC 9875"));
    wait::until("the log says what was ignored", said).await;
    setting.purge(OPS, r#"{"tags": ["c"]}"#).await;
    assert!(!setting.is_kept(&target, "acme").await);
}
