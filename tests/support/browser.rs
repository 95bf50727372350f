//! What a browser adds to a client: cookies, and forms with the token that Django puts into them.

use std::collections::BTreeMap;

use http::{Method, StatusCode};

use super::client::{Answer, Call, Client};

/// A browser on one address. It keeps cookies and follows no redirect. A clone starts with the same cookies.
#[derive(Clone)]
pub struct Browser {
    client: Client,
    base: String,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    /// A browser without cookies, for `http://HOST:PORT`.
    pub fn new(base: impl Into<String>) -> Self {
        Self { client: Client::new(), base: base.into(), cookies: BTreeMap::new() }
    }

    /// The cookie of this name.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    /// Sets a cookie, as a page's script would.
    pub fn set_cookie(&mut self, name: &str, value: &str) {
        self.cookies.insert(name.to_owned(), value.to_owned());
    }

    /// Fetches a page.
    pub async fn get(&mut self, path: &str) -> Answer {
        let call = self.call("GET", path);
        self.send(call).await
    }

    /// Fetches a page with further fields.
    pub async fn get_with(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let call = self.call("GET", path);
        let call = fields.iter().fold(call, |call, (name, value)| call.header(name, value));
        self.send(call).await
    }

    /// Posts fields as a form does, without a look at the page that holds it.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = fields.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value)));
        let body = body.collect::<Vec<_>>().join("&");
        let call = self.call("POST", path).header("content-type", "application/x-www-form-urlencoded");
        self.send(call.body(body)).await
    }

    /// Posts JSON as a page's script does under Django: the token from its cookie, in a field.
    pub async fn post_json(&mut self, path: &str, json: &str) -> Answer {
        let token = self.cookie("csrftoken").expect("no page with a form was visited").to_owned();
        let call = self.call("POST", path).header("x-csrftoken", token);
        self.send(call.json(json.to_owned())).await
    }

    /// Fetches the page, fills in its form with its token, and sends it to `action`.
    pub async fn submit(&mut self, page: &str, action: &str, fields: &[(&str, &str)]) -> Answer {
        let form = self.get(page).await;
        assert_eq!(form.status, StatusCode::OK, "{page}: {}", form.text());
        let token = csrf_token(form.text()).to_owned();
        let mut all = vec![("csrfmiddlewaretoken", token.as_str())];
        all.extend_from_slice(fields);
        self.post(action, &all).await
    }

    /// Logs in through a login form, and fails the test when that fails.
    pub async fn login_at(&mut self, page: &str, user: &str, password: &str) -> Answer {
        let answer = self.submit(page, page, &[("username", user), ("password", password)]).await;
        assert_eq!(answer.status, StatusCode::FOUND, "{user} cannot log in: {}", answer.text());
        answer
    }

    fn call(&self, method: &str, path: &str) -> Call {
        let mut call = self.client.method(method, format!("{}{path}", self.base));
        if !self.cookies.is_empty() {
            let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
            call = call.header("cookie", cookies.collect::<Vec<_>>().join("; "));
        }
        // Browsers say where a form was; Django compares it with the host that it is called by.
        if method != Method::GET { call.header("origin", &self.base) } else { call }
    }

    async fn send(&mut self, call: Call) -> Answer {
        let answer = call.send().await;
        for line in answer.header_all("set-cookie") {
            self.keep(line);
        }
        answer
    }

    /// RFC 6265 section 5.2, as far as one site with one path needs it.
    fn keep(&mut self, line: &str) {
        let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
        let (name, value) = pair.split_once('=').expect("Set-Cookie without a name");
        let deleted = attributes.split(';').any(|a| a.trim().eq_ignore_ascii_case("max-age=0"));
        if deleted {
            self.cookies.remove(name.trim());
        } else {
            self.set_cookie(name.trim(), value.trim().trim_matches('"'));
        }
    }
}

/// The token in a page's form.
pub fn csrf_token(page: &str) -> &str {
    let field = page.split_once("name=\"csrfmiddlewaretoken\" value=\"");
    let (_, rest) = field.unwrap_or_else(|| panic!("no form with a token: {page}"));
    rest.split_once('"').unwrap().0
}

/// Percent-encodes what is not plain in a form's body.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => escaped.push(char::from(byte)),
            b' ' => escaped.push('+'),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
