//! The words of `identity`, declared once. See [`super::section`].

use super::super::JwtAlgorithm;
use super::collections::{List, OneOrMany, Pairs};
use super::http_values::*;
use super::section::section;
use super::short_words::{RawSecret, ScalarOr, SecretRef};
use super::units::*;
use super::values::*;

words!(JwtAlgorithm {
    "HS256" => Self::HS256, "HS384" => Self::HS384, "HS512" => Self::HS512,
    "RS256" => Self::RS256, "RS384" => Self::RS384, "RS512" => Self::RS512,
    "ES256" => Self::ES256, "ES384" => Self::ES384,
});

/// Which of the origin's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Tenant,
    User,
    Role,
}

words!(Asked { "tenant" => Self::Tenant, "user" => Self::User, "role" => Self::Role });

section! {
    /// Where tenant, user and role come from. Each list is tried in order; the first source that speaks wins.
    RawIdentity "identity";
    /// Peers whose forwarded fields and identity fields are believed. From everybody else they are removed.
    trusted_proxies: List<Network> = optional "none";
    /// How JSON Web Tokens are verified.
    jwt: RawJwt = optional "none";
    /// How an application is asked who a credential belongs to.
    ask: RawAsk = optional "none";
    /// The sources of the tenant, best first.
    tenant: List<RawSource> = optional "none";
    /// The sources of the user, best first.
    user: List<RawSource> = optional "none";
    /// The sources of the role, best first.
    role: List<RawSource> = optional "none";
    /// Roles that have a scope of their own when no tenant is named: `ROLE: SCOPE`. A scope is shared with no tenant.
    scopes: Pairs<Text> = optional "none";
}

section! {
    /// How JSON Web Tokens are verified: `Authorization: Bearer`, or a cookie. Exactly one of `secret`, `key`, `jwks`
    /// and `keys` is given.
    RawJwt "identity.jwt", one_of [secret, key, jwks, keys];
    /// The algorithms accepted. With `keys` each key has its own.
    algorithms: OneOrMany<JwtAlgorithm> = optional;
    /// The shared secret, for the HS algorithms.
    secret: SecretRef = optional;
    /// The public key or certificate in PEM, for the RS and ES algorithms: a file name, `{ file: … }` or `{ env: … }`.
    key: ScalarOr<FileName, RawSecret> = optional;
    /// The URL of a key set, for the RS and ES algorithms.
    jwks: Url = optional;
    /// Several keys.
    keys: OneOrMany<RawJwtKey> = optional;
    /// How often key sets are fetched anew. An unknown key id is a reason to do it at once.
    refresh: Wait = default "5m";
    /// The issuers accepted (`iss`).
    issuer: OneOrMany<Text> = optional "any";
    /// The audiences accepted (`aud`).
    audience: OneOrMany<Text> = optional "any";
    /// Tolerance for `exp` and `nbf`.
    leeway: Window = default "30s";
    /// The cookie that holds the token where there is no `Authorization`.
    cookie: CookieName = optional "none";
}

section! {
    /// One key and the algorithms that it is good for.
    RawJwtKey "identity.jwt.keys", one_of [algorithms, algorithm], one_of [secret, key, jwks];
    /// The algorithms.
    algorithms: OneOrMany<JwtAlgorithm> = optional;
    /// The algorithm, where it is one.
    algorithm: JwtAlgorithm = optional;
    /// The key id that a token must name.
    kid: Text = optional "any";
    /// The shared secret, for the HS algorithms.
    secret: SecretRef = optional;
    /// The public key or certificate in PEM.
    key: ScalarOr<FileName, RawSecret> = optional;
    /// The URL of a key set.
    jwks: Url = optional;
}

section! {
    /// How an application is asked who a credential belongs to: a sub-request with the client's cookies and
    /// `Authorization`, whose response fields give tenant, user and role. For opaque session cookies.
    RawAsk "identity.ask";
    /// The application.
    origin: Text = optional "the only one";
    /// The path of the sub-request.
    path: FixedPath = required;
    /// The response field that names the tenant.
    tenant: FieldName = optional;
    /// The response field that names the user.
    user: FieldName = optional;
    /// The response field that names the role.
    role: FieldName = optional;
    /// How long an answer is remembered per credential; `0`: never.
    remember: Window = default "30s";
    /// Paths that end a credential at once.
    logout: OneOrMany<PathText> = optional "none";
    /// The cookies that make up the credential.
    cookies: OneOrMany<CookieName> = optional "all";
}

section! {
    /// One source of tenant, user or role. `jwt`, `ask`, `header` and an entitled `query` are *verified*; `host`, `path`,
    /// `cookie` and `query` are only *claimed* by the client, and never share a stored response with verified ones.
    RawSource "a source", one_of [jwt, ask, header, host, path, cookie, query];
    /// A claim of the token; a dotted path reaches into objects.
    jwt: Text = optional;
    /// The application's word: the name of the list that this source stands in.
    ask: Asked = optional;
    /// A field that a trusted proxy sets.
    header: FieldName = optional;
    /// A label of the host: `"{tenant}.example.com"`.
    host: HostText = optional;
    /// A segment of the path: `"/t/{tenant}/{*rest}"`.
    path: PathText = optional;
    /// A cookie.
    cookie: CookieName = optional;
    /// A query parameter.
    query: ParamName = optional;
    /// Who may name which tenant in the query; it makes the tenant a verified one.
    entitled: RawEntitled = optional "the tenant is only claimed";
}

section! {
    /// What entitles a credential to the tenant that the query names.
    RawEntitled "identity.tenant.entitled";
    /// The claim of the token that lists its tenants.
    jwt: Text = optional "none";
    /// Roles that may name any tenant.
    roles: OneOrMany<Text> = optional "none";
}
