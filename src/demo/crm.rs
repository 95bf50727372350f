//! The built-in CRM: an ordinary application behind Larder, with sessions of its own. It sends no caching fields, is slow
//! on purpose, and really changes on a write.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE, SET_COOKIE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde::Serialize;
use serde_json::json;
use tower_service::Service;

use super::data::{self, Data, User};
use crate::clock::Clock;
use crate::http::cookies::Found;
use crate::http::{Body, cookies, query};

/// How long the dashboard takes: a report over tables that nobody wants to touch any more.
const BUNDLE_TAKES: Duration = Duration::from_millis(800);
/// How long a list takes.
const LIST_TAKES: Duration = Duration::from_millis(150);
/// The largest form, in bytes.
const MAX_FORM: usize = 4_096;

const X_TENANT: HeaderName = HeaderName::from_static("x-tenant");
const X_USER: HeaderName = HeaderName::from_static("x-user");

/// The application.
#[derive(Clone)]
pub(super) struct Crm {
    data: Arc<Mutex<Data>>,
    clock: Clock,
}

type Answer = Result<Response<Body>, (StatusCode, &'static str)>;

impl Crm {
    pub(super) fn new(clock: Clock) -> Result<Self, &'static str> {
        Ok(Self { data: Arc::new(Mutex::new(Data::new()?)), clock })
    }

    /// Everybody's session: the user's name, and what the cookie holds.
    pub(super) fn sessions(&self) -> Vec<(&'static str, String)> {
        self.data().sessions()
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(self, request: Request<Body>) -> Response<Body> {
        self.route(request).await.unwrap_or_else(|(status, why)| {
            let mut response = json_of(&json!({ "error": why }));
            *response.status_mut() = status;
            if status == StatusCode::METHOD_NOT_ALLOWED {
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
            }
            response
        })
    }

    async fn route(&self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let session = session(&parts).ok_or((StatusCode::UNAUTHORIZED, "there is no session cookie"))?;
        let user = self.data().user(session).ok_or((StatusCode::UNAUTHORIZED, "the session has ended"))?;
        let path = parts.uri.path();
        match parts.method {
            Method::GET | Method::HEAD => self.read(user, path).await,
            Method::POST if path == "/logout" => Ok(self.log_out(session)),
            Method::POST => match path.strip_prefix("/api/inventory/") {
                Some(item) => self.deliver(user, item, body).await,
                None => Err(NOT_FOUND),
            },
            _ => Err((StatusCode::METHOD_NOT_ALLOWED, "nothing here takes this method")),
        }
    }

    async fn read(&self, user: User, path: &str) -> Answer {
        match path {
            "/whoami" => Ok(whoami(user)),
            "/api/dashboard/bundle" => self.bundle(user).await,
            _ => {
                let list = self.list(user, path).ok_or(NOT_FOUND)?;
                tokio::time::sleep(LIST_TAKES).await;
                Ok(list)
            }
        }
    }

    fn list(&self, user: User, path: &str) -> Option<Response<Body>> {
        let data = self.data();
        Some(match path {
            "/api/dropdowns/people" => json_of(&data::people(user.tenant).collect::<Vec<_>>()),
            "/api/dropdowns/items" => json_of(&data.stock(user.tenant).keys().collect::<Vec<_>>()),
            "/api/dropdowns/stages" => json_of(&data::STAGES),
            "/api/inventory" => json_of(&data.stock(user.tenant)),
            "/api/tasks/mine" => json_of(&data.tasks(user)),
            _ => return None,
        })
    }

    /// What it shows is what there was when it began, as with any report.
    async fn bundle(&self, user: User) -> Answer {
        let seconds = i64::try_from(self.clock.now().unix_seconds()).unwrap_or(i64::MAX);
        let at = jiff::Timestamp::from_second(seconds).map(|at| at.to_string()).unwrap_or_default();
        let bundle = self.data().bundle(user.tenant, at).ok_or(NOT_FOUND)?;
        tokio::time::sleep(BUNDLE_TAKES).await;
        Ok(json_of(&bundle))
    }

    async fn deliver(&self, user: User, item: &str, form: Body) -> Answer {
        let wrong = (StatusCode::UNPROCESSABLE_ENTITY, "the form is `add=N`, and N is a whole number");
        let form = Limited::new(form, MAX_FORM).collect().await.map_err(|_| wrong)?.to_bytes();
        let form = std::str::from_utf8(&form).map_err(|_| wrong)?;
        let Found::Once(number) = query::find(form, "add") else { return Err(wrong) };
        let number = number.parse().map_err(|_| wrong)?;
        let in_stock = self.data().deliver(user.tenant, item, number).ok_or(NOT_FOUND)?;
        Ok(json_of(&json!({ "item": item, "in_stock": in_stock })))
    }

    fn log_out(&self, session: &str) -> Response<Body> {
        self.data().log_out(session);
        let mut response = json_of(&json!({ "goodbye": true }));
        let ended = HeaderValue::from_static("session=; Max-Age=0; Path=/; HttpOnly");
        response.headers_mut().insert(SET_COOKIE, ended);
        response
    }
}

const NOT_FOUND: (StatusCode, &str) = (StatusCode::NOT_FOUND, "the CRM has nothing under this path");

fn session(parts: &Parts) -> Option<&str> {
    let Found::Once(session) = cookies::find(&parts.headers, "session") else { return None };
    std::str::from_utf8(session).ok()
}

fn whoami(user: User) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(X_TENANT, HeaderValue::from_static(user.tenant));
    response.headers_mut().insert(X_USER, HeaderValue::from_static(user.name));
    response
}

fn json_of(value: &impl Serialize) -> Response<Body> {
    // What is written here has text for keys and cannot fail.
    let text = serde_json::to_string(value).unwrap_or_default();
    let mut response = Response::new(Body::from(format!("{text}\n")));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl Service<Request<Body>> for Crm {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let crm = self.clone();
        Box::pin(async move { Ok(crm.answer(request).await) })
    }
}
