//! The configuration: every error with its place and its help, the examples, the schema, the reference.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by a panic

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use larder::config::read::ReadContext;
use larder::config::{
    Allow, Capacity, Config, JwtMaterial, Piece, QueryRule, RedisServer, Servers, Share, Source, TagSelector,
    Template, Ttl, VaryOn, schema, tree,
};
use proptest::prelude::*;

const GOOD: &str = "0123456789abcdef0123456789abcdef";

/// The environment of the tests.
fn env(name: &str) -> Option<String> {
    match name {
        "MISSING" => None,
        "EMPTY" => Some(String::new()),
        "SHORT" => Some("fifteen bytes..".into()),
        "GOOD" => Some(GOOD.into()),
        "WHSEC_BAD" => Some("whsec_not base64 at all".into()),
        "WHSEC_SHORT" => Some("whsec_c2hvcnQgc2VjcmV0".into()),
        _ => Some(format!("{GOOD}{name}")),
    }
}

fn context() -> ReadContext {
    ReadContext::of(Path::new("tests/config/larder.yaml")).with_env(env)
}

fn read(text: &str) -> Result<Config, String> {
    Config::from_yaml(text, &context()).map_err(|errors| {
        let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
        shown.join("\n")
    })
}

fn good(text: &str) -> Config {
    read(text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn examples() -> Vec<(PathBuf, String)> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir("config/examples").unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// `=== name`, the file, `>>>`, the errors. `UPDATE_ERRORS=1` writes what the reader says now, to be read by a person.
#[test]
fn every_error_says_where_what_and_how_to_mend_it() {
    let path = "tests/config/errors.txt";
    let table = std::fs::read_to_string(path).unwrap();
    let mut fresh = String::new();
    let mut kinds = 0;
    for case in table.split("=== ").skip(1) {
        let (name, rest) = case.split_once('\n').unwrap();
        let (yaml, _) = rest.split_once(">>>\n").unwrap();
        let errors = read(yaml).expect_err(name);
        write!(fresh, "=== {name}\n{yaml}>>>\n{errors}\n").unwrap();
        kinds += 1;
    }
    assert!(kinds >= 25);
    if std::env::var_os("UPDATE_ERRORS").is_some() {
        std::fs::write(path, &fresh).unwrap();
        return;
    }
    for (expected, found) in table.split("=== ").zip(fresh.split("=== ")) {
        assert_eq!(expected, found);
    }
}

#[test]
fn a_secret_is_in_no_error() {
    let table = std::fs::read_to_string("tests/config/errors.txt").unwrap();
    for case in table.split("=== ").skip(1) {
        let (yaml, _) = case.split_once('\n').unwrap().1.split_once(">>>\n").unwrap();
        let errors = read(yaml).unwrap_err();
        for secret in ["hunter", GOOD, "fifteen bytes", "file-secret"] {
            assert!(!errors.contains(secret), "{errors}");
        }
    }
    // Not where the file is no YAML either, and nobody can tell where a value ends.
    let errors = read("admin: { tokens: [{ secret: hunter2hunter2hunter2, name: {*x} }] }").unwrap_err();
    assert!(!errors.contains("hunter"), "{errors}");
    let errors = read("origins: { a: { url: \"http://me:hunter2@a:1\", x: {*y} } }").unwrap_err();
    assert!(!errors.contains("hunter"), "{errors}");
    assert!(!format!("{:?}", good(&format!("{ADMIN}{LEAST}"))).contains(GOOD));
}

const LEAST: &str =
    "origins: { app: { url: \"http://127.0.0.1:8000\" } }\nroutes: [{ name: all, path: \"/{*rest}\" }]\n";
const ADMIN: &str =
    "admin: { listen: 127.0.0.1:0, tokens: [{ name: a, role: admin, secret: { env: GOOD } }] }\n";

#[test]
fn all_errors_of_a_file_come_at_once_and_in_its_order() {
    let text =
        "listen: here\norigins: { app: { url: nowhere, timeout: 1 } }\nroutes: [{ nam: a, path: a }]\n";
    let errors = Config::from_yaml(text, &context()).unwrap_err();
    let places: Vec<_> = errors.iter().map(|error| (error.line, error.column)).collect();
    assert_eq!(places, [(1, 9), (2, 24), (2, 42), (3, 10), (3, 12), (3, 26)]);
}

#[test]
fn the_least_file_has_the_documented_defaults() {
    let config = good(LEAST);
    assert_eq!(config.listen[0].addr.to_string(), "127.0.0.1:8080");
    assert!(config.admin.is_none());
    let origin = &config.origins[0];
    assert_eq!((origin.timeout, origin.body_idle), (Duration::from_secs(30), Duration::from_secs(300)));
    assert_eq!((origin.keep_alive, origin.connections), (Duration::from_secs(60), 256));
    assert!(origin.preserve_host && !origin.http2 && !origin.https);
    assert_eq!(config.stores.len(), 1);
    assert_eq!((&*config.stores[0].name, config.stores[0].capacity), ("default", Capacity::Bytes(256 << 20)));
    assert_eq!(config.stores[0].max_object, 32 << 20);
    assert_eq!(
        (config.limits.uri, config.limits.header_bytes, config.limits.header_count),
        (8192, 32768, 100)
    );
    assert!(config.log.requests && !config.log.json);
    assert!(config.routes[0].caching.is_none());
}

#[test]
fn for_origin_caches_public_responses_by_their_own_fields() {
    let config = Config::for_origin("http://127.0.0.1:8000", "127.0.0.1:0".parse().unwrap()).unwrap();
    let caching = config.routes[0].caching.as_ref().unwrap();
    assert_eq!((caching.tier.ttl, caching.share), (Ttl::Origin, Share::Public));
    assert_eq!(caching.query, QueryRule::Ignore(Vec::new()));
    let errors = Config::for_origin("not a \"url", "127.0.0.1:0".parse().unwrap()).unwrap_err();
    assert!(errors.to_string().contains("is not a URL"), "{errors}");
}

fn route(config: &Config, name: &str) -> std::sync::Arc<larder::config::Caching> {
    let route = config.routes.iter().find(|route| route.name == name).unwrap();
    route.caching.clone().unwrap()
}

#[test]
fn ttl_knows_zero_none_and_a_duration() {
    let config = good(
        "origins: { app: { url: \"http://a:1\" } }\ntiers: { a: { ttl: 0 }, b: {}, c: { ttl: 90s } }\nroutes:\n  - { name: a, path: /a, tier: a, share: public }\n  - { name: b, path: /b, tier: b, share: public }\n  - { name: c, path: /c, tier: c, share: public }\n",
    );
    assert_eq!(route(&config, "a").tier.ttl, Ttl::UntilPurged);
    assert_eq!(route(&config, "b").tier.ttl, Ttl::Origin);
    assert_eq!(route(&config, "c").tier.ttl, Ttl::Fixed(Duration::from_secs(90)));
    assert_eq!(route(&config, "b").query, QueryRule::Ignore(Vec::new()));
    let QueryRule::Ignore(ignored) = route(&config, "c").query.clone() else { panic!() };
    assert!(ignored.contains(&"utm_*".into()) && ignored.contains(&"fbclid".into()));
    assert!(read(&format!("{LEAST}tiers: {{ a: {{ ttl: \"0\" }} }}")).is_err(), "a quoted 0 is a text");
}

#[test]
fn what_a_route_does_not_say_holds_as_at_the_top_level() {
    let text = "
origins: { app: { url: \"http://a:1\" } }
identity: { trusted_proxies: [10.0.0.1], user: [{ header: X-User }] }
tiers: { t: { ttl: 1m } }
bust: { param: fresh, forward: true }
languages: [de, en]
time_zone: Asia/Tokyo
routes:
  - { name: a, path: /a, tier: t, share: public, bust: { per_key: 2/1m }, vary_on: [language, date] }
  - { name: b, path: /b, tier: t, share: user, bust: false, choices: anyone, query: { ignore: [x] } }
";
    let config = good(text);
    let a = route(&config, "a");
    assert_eq!((&*a.bust.param, a.bust.forward, &a.bust.allow), ("fresh", true, &Allow::Identified));
    assert_eq!(a.bust.per_key, (2, Duration::from_secs(60)));
    assert_eq!(a.choices, Allow::Nobody);
    assert_eq!(a.vary_on[0], VaryOn::Language(vec!["de".into(), "en".into()]));
    assert_eq!(a.vary_on[1], VaryOn::Date(jiff::tz::TimeZone::get("Asia/Tokyo").unwrap()));
    let b = route(&config, "b");
    assert_eq!((&b.bust.allow, &b.choices), (&Allow::Nobody, &Allow::Anyone));
    let QueryRule::Ignore(ignored) = b.query.clone() else { panic!() };
    assert!(ignored.contains(&"x".into()) && ignored.contains(&"gclid".into()));
}

#[test]
fn a_model_is_a_pattern_and_covers_everything_where_the_path_cannot_say_more() {
    let config = good(&format!(
        "{LEAST}writes:\n  - {{ path: \"/i/{{branch}}/x\", models: [Item], tags: [\"a{{{{b}}}}:{{branch}}\"] }}\n  - {{ path: /i, models: [Item] }}\nmodels: {{ Item: [\"i:{{branch}}\", dashboard] }}\n"
    ));
    let text = |text: &str| Piece::Text(text.into());
    let branch = Piece::Path("branch".into());
    let pattern = |pieces: Vec<Piece>| TagSelector::Pattern(Template(pieces));
    assert_eq!(config.writes[0].methods.len(), 4);
    assert_eq!(
        config.writes[0].purges,
        [
            pattern(vec![text("i:"), branch.clone()]),
            pattern(vec![text("dashboard")]),
            TagSelector::Tag(Template(vec![text("a{b}:"), branch])),
        ]
    );
    assert_eq!(config.writes[1].purges[0], pattern(vec![text("i:"), text("*")]));
}

#[test]
fn related_models_are_purged_too_each_once_also_in_a_circle() {
    let config = good(&format!(
        "{LEAST}models:\n  A: {{ purges: [a, both], related: [B] }}\n  B: {{ purges: [b, both], related: [C, B] }}\n  C: {{ related: A }}\n  D: d\n"
    ));
    let purges = |name: &str| {
        let model = config.models.iter().find(|model| model.name == name).unwrap();
        let text = |selector: &TagSelector| match &selector.template().0[..] {
            [Piece::Text(text)] => text.clone(),
            other => panic!("{other:?}"),
        };
        model.purges.iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(purges("A"), ["a", "both", "b"]);
    assert_eq!(purges("B"), ["b", "both", "a"]);
    assert_eq!(purges("C"), ["a", "both", "b"]);
    assert_eq!(purges("D"), ["d"]);
}

#[test]
fn keys_and_certificates_are_checked_when_the_file_is_read() {
    let jwt = |keys: &str| format!("{LEAST}identity: {{ jwt: {keys}, tenant: [{{ jwt: a.b }}] }}\n");
    let config = good(&jwt("{ algorithms: [RS256, RS512], key: rsa.pub.pem, issuer: me, audience: [a, b] }"));
    let read_jwt = config.identity.jwt.as_ref().unwrap();
    assert!(matches!(read_jwt.keys[0].material, JwtMaterial::Pem(_)));
    assert_eq!((read_jwt.issuer.len(), read_jwt.audience.len(), read_jwt.leeway.as_secs()), (1, 2, 30));
    assert_eq!(config.identity.tenant, [Source::Jwt("a.b".into())]);
    let secret = good(&jwt("{ algorithms: HS256, secret: { file: good.secret } }")).identity.jwt.unwrap();
    let JwtMaterial::Secret(secret) = &secret.keys[0].material else { panic!() };
    assert_eq!(secret.expose(), b"file-secret-0123456789");

    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["shop.example".into()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["shop.example".into()]).unwrap();
    std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.path().join("other.pem"), other.signing_key.serialize_pem()).unwrap();
    let context = ReadContext::of(&folder.path().join("larder.yaml"));
    let tls = |key: &str| {
        let text = format!(
            "listen: [127.0.0.1:0, {{ address: 127.0.0.1:0, tls: {{ cert: cert.pem, key: {key} }} }}]\n{LEAST}"
        );
        Config::from_yaml(&text, &context)
    };
    assert!(tls("key.pem").unwrap().listen[1].tls.is_some());
    assert!(tls("other.pem").unwrap_err()[0].message.contains("cannot be used"));
    let with_key = |key: &str| {
        let text = format!("{LEAST}identity: {{ jwt: {{ algorithms: [ES256], key: {key} }} }}\n");
        Config::from_yaml(&text, &context)
    };
    assert!(with_key("cert.pem").is_ok(), "a certificate holds a public key");
    assert_eq!(with_key("key.pem").unwrap_err()[0].message, "this is a private key");
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("larder.yaml");
    assert!(Config::load(&path).unwrap_err().to_string().contains("cannot be read"));
    std::fs::write(&path, b"a: 1\nb: \xff\n").unwrap();
    assert!(Config::load(&path).unwrap_err().to_string().contains("line 2 is not UTF-8"));
    std::fs::write(&path, LEAST).unwrap();
    assert!(Config::load(&path).is_ok());
}

#[test]
fn deep_and_large_texts_are_refused_without_harm() {
    for text in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000), "? ".repeat(10_000)] {
        assert!(read(&text).is_err());
    }
    assert!(read(&"a".repeat(tree::MAX_BYTES + 1)).unwrap_err().contains("larger than 16 MiB"));
}

#[test]
fn ten_thousand_routes_are_read_and_only_the_one_that_cannot_match_is_refused() {
    let mut text =
        String::from("origins: { app: { url: \"http://a:1\" } }\ntiers: { t: { ttl: 1m } }\nroutes:\n");
    for n in 0..10_000 {
        writeln!(
            text,
            "  - {{ name: r{n}, path: \"/api/{{kind}}/r{n}/{{*rest}}\", tier: t, share: public }}"
        )
        .unwrap();
    }
    assert_eq!(good(&text).routes.len(), 10_000);
    text.push_str("  - { name: last, path: \"/api/x/r5000/y\" }\n");
    let errors = Config::from_yaml(&text, &context()).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].line, 10_004);
    assert!(errors[0].message.contains("`r5000` (line 5004)"), "{}", errors[0]);
}

#[test]
fn the_examples_load_and_fit_the_schema() {
    let schema = jsonschema::validator_for(&schema::json_schema()).unwrap();
    assert_eq!(examples().len(), 12);
    for (path, text) in examples() {
        let context = ReadContext::of(&path).with_env(env);
        Config::load_with(&path, &context).unwrap_or_else(|errors| panic!("{errors}"));
        let json = tree::parse(&text).0.unwrap().to_json();
        let errors: Vec<String> =
            schema.iter_errors(&json).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
    }
}

#[test]
fn the_schema_refuses_what_the_reader_refuses_by_shape() {
    let schema = jsonschema::validator_for(&schema::json_schema()).unwrap();
    let valid = |text: &str| schema.is_valid(&tree::parse(text).0.unwrap().to_json());
    assert!(valid(LEAST));
    for bad in [
        format!("{LEAST}jobz: []"),
        LEAST.replace("url", "ulr"),
        LEAST.replace("path:", "tier: t, share: nobody, path:"),
        format!("{LEAST}tiers: {{ a: {{ ttl: 5 }} }}"),
        format!("{LEAST}tiers: {{ a: {{ ttl: \"0\" }} }}"),
        format!("{LEAST}stores: {{ a: {{ memory: 64MB }} }}"),
        format!("{LEAST}identity: {{ tenant: [{{ jwt: a, cookie: b }}] }}"),
        ADMIN.replace("{ env: GOOD }", "hunter2hunter2hunter2") + LEAST,
    ] {
        assert!(!valid(&bad), "{bad}");
        assert!(read(&bad).is_err(), "{bad}");
    }
}

#[test]
fn every_default_of_the_reference_is_what_the_reader_takes() {
    // A default that cannot be read would be an error in every file, also in the one that writes every section out.
    let text = format!(
        "{LEAST}limits: {{}}\nlog: {{}}\nstores: {{ a: {{}} }}\ntiers: {{ b: {{}} }}\nbust: {{}}\nidentity: {{ jwt: {{ algorithms: HS256, secret: {{ env: GOOD }} }}, ask: {{ path: /w, user: X }} }}\nwrites: [{{ path: /a, tags: [a] }}]\n"
    );
    good(&text);
}

/// `docs/configuration.md` holds the tables of the reference between marks; `UPDATE_DOCS=1` writes them anew.
#[test]
fn the_reference_says_what_the_reader_takes() {
    let path = "docs/configuration.md";
    let written = std::fs::read_to_string(path).unwrap();
    let mut fresh = written.clone();
    let mut documented = HashSet::new();
    for (title, table) in schema::reference_tables() {
        let begin = format!("<!-- keys of {title} -->\n");
        let end = "<!-- end of keys -->";
        let from =
            fresh.find(&begin).unwrap_or_else(|| panic!("{path} has no place for `{begin}`")) + begin.len();
        let to = from + fresh[from..].find(end).unwrap();
        fresh.replace_range(from..to, &format!("{table}\n"));
        assert!(fresh.contains(&format!("# `{title}`\n")), "{path} has no heading for `{title}`");
        documented.insert(title);
    }
    assert_eq!(fresh.matches("<!-- keys of ").count(), documented.len());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, fresh).unwrap();
        return;
    }
    assert!(fresh == written, "{path} is out of date: run `UPDATE_DOCS=1 cargo test --test config`");
}

/// The YAML of the reference is for copying: it must read.
#[test]
fn the_files_in_the_reference_read() {
    let written = std::fs::read_to_string("docs/configuration.md").unwrap();
    let blocks: Vec<&str> =
        written.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        good(block);
    }
}

/// A text like those that people write: an example, cut and mended at random places.
fn mutated() -> impl Strategy<Value = String> {
    let texts: Vec<String> = examples().into_iter().map(|(_, text)| text).collect();
    let snippets = prop::sample::select(vec![
        "",
        " ",
        "\n",
        "  ",
        "- ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        "\"",
        "'",
        "0",
        "-1",
        "1e9",
        "true",
        "~",
        "*",
        "&a",
        "*a",
        "!!str ",
        "|\n",
        ">-\n",
        "---\n",
        "? ",
        "#",
        "\t",
        "\u{1f980}",
        "{tenant}",
        "{{",
        "ttl",
        "5m",
        "path",
        "\r\n",
        "%",
        "@",
        "`",
        "\u{85}",
        "\0",
        "<<: ",
    ]);
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize, snippets), 1..6);
    (prop::sample::select(texts), edits).prop_map(|(mut text, edits)| {
        for (at, cut, snippet) in edits {
            let boundary = |mut at: usize| {
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                at
            };
            let from = boundary(at.index(text.len()));
            let to = boundary((from + cut).min(text.len()));
            text.replace_range(from..to.max(from), snippet);
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = read(&text);
    }

    #[test]
    fn no_yaml_like_text_makes_the_reader_panic(text in "([ \n\t]|[-:?,{}\\[\\]#&*!|>'\"%@`~]|[a-z0-9]|- |: |\n  ){0,60}") {
        let _ = read(&text);
    }

    #[test]
    fn what_the_reader_takes_fits_the_schema(text in mutated()) {
        thread_local! {
            static SCHEMA: jsonschema::Validator = jsonschema::validator_for(&schema::json_schema()).unwrap();
        }
        match Config::from_yaml(&text, &context()) {
            Ok(_) => {
                let json = tree::parse(&text).0.unwrap().to_json();
                prop_assert!(SCHEMA.with(|schema| schema.is_valid(&json)), "{text}");
            }
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                let lines = text.lines().count() + 1;
                for error in &errors {
                    prop_assert!(error.line <= lines);
                    prop_assert!(!error.to_string().is_empty());
                }
            }
        }
    }
}

fn level(text: &str) -> std::sync::Arc<larder::config::SharedLevel> {
    good(&format!("{LEAST}stores: {{ default: {text} }}")).stores[0].redis.clone().unwrap()
}

#[test]
fn c2_the_short_form_of_redis_has_the_documented_defaults() {
    let level = level("{ redis: \"redis://Cache.internal/3\" }");
    let redis = &level.redis;
    let server = RedisServer { host: "cache.internal".into(), port: 6379 };
    assert_eq!((&redis.servers, redis.database), (&Servers::One(server), 3));
    assert_eq!((&*redis.prefix, redis.connections, redis.failures, redis.retries), ("larder", 4, 5, 3));
    assert_eq!(redis.timeout, Duration::from_millis(50));
    assert!(redis.username.is_none() && redis.password.is_none() && redis.tls.is_none());
    assert_eq!((level.ttl, level.max_object, level.compress), (None, 1 << 20, Some(4096)));
    assert!(level.encrypt.is_empty());
}

#[test]
fn redis_written_out_is_read_as_written() {
    let level = level(
        "{ memory: off, redis: { sentinel: { nodes: [\"10.0.0.1:26379\", \"[::1]:26380\"], service: shop, password: { env: S } }, \
         database: 2, prefix: a.b, connections: 7, username: larder, password: { env: P }, tls: {}, timeout: 20ms, ttl: 1h, \
         max_object: 2MiB, failures: 3, retries: 0, compress: off, encrypt: { keys: [{ env: GOOD }, { env: OLD }] } } }",
    );
    let redis = &level.redis;
    let Servers::Sentinel { nodes, service, username, password } = &redis.servers else {
        panic!("{redis:?}")
    };
    assert_eq!(nodes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.1:26379", "[::1]:26380"]);
    assert_eq!((&**service, username), ("shop", &None));
    assert!(password.is_some() && redis.tls.is_some());
    assert_eq!(redis.password.as_ref().unwrap().expose(), format!("{GOOD}P"));
    assert!(!format!("{redis:?}").contains(GOOD));
    assert_eq!((level.ttl, level.max_object), (Some(Duration::from_secs(3600)), 2 << 20));
    assert_eq!((level.compress, level.encrypt.len()), (None, 2));
    let text = format!("{LEAST}stores: {{ default: {{ memory: off, redis: \"redis://a\" }} }}");
    let store = good(&text).stores[0].clone();
    assert_eq!((store.capacity, store.max_object), (Capacity::Bytes(0), 1 << 20));
}
