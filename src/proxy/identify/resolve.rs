//! The order in which a request's proofs are read: the token, the role, the tenant, the user; then the verdict.
//!
//! Nothing here waits: what is missing is named in a [`Wait`], and the reading begins again once it is there.

use std::sync::Arc;

use http::header::AUTHORIZATION;

use super::ask::{Answer, Asker, Told};
use super::carriers::{Carries, Losers, Set, Table, bearer};
use super::digest::{Digest, Digester};
use super::jwt::{Tokens, Verdict, Verified};
use super::read::{Evidence, Issuer, Picked, Proof, Which};
use super::sources::{Builder, List};
use super::{AskOrigin, FetchJwks, Identified, Seen, SetupError, Stop};
use crate::clock::{Clock, Now};
use crate::config;
use crate::error::{Error, ErrorKind};
use crate::http::cookies::{self, Found};
use crate::identity::{Identity, Kind, Role, Tenant, User};

/// What has been waited for.
#[derive(Debug)]
pub(super) struct Progress {
    /// When the reading begins, or begins anew.
    pub(super) now: Now,
    /// The numbers of the sets that have been fetched.
    pub(super) fetched: u64,
    pub(super) answer: Option<Answer>,
}

/// Why there is no verdict yet.
pub(super) enum Wait {
    /// The key set of this number has to be fetched.
    Keys(usize),
    /// The origin has to be asked for this credential.
    Answer(Digest),
    /// The verdict is that the request is refused.
    Refused(Error),
}

/// All that the configuration says about identity, ready to use.
pub(super) struct Resolver {
    tokens: Option<Tokens>,
    /// The cookie that may hold the token, and its set.
    token_cookie: Option<(String, Set)>,
    bearer: Set,
    pub(super) ask: Option<Arc<Asker>>,
    tenant: List,
    user: List,
    role: List,
    scopes: Vec<(String, Arc<str>)>,
    table: Arc<Table>,
    issuers: Vec<(&'static str, Arc<str>)>,
    clock: Clock,
    /// No source is configured: everybody is nobody.
    nobody: bool,
}

/// What a request holds where a token may be.
enum Token<'a> {
    Absent,
    Malformed,
    Bytes(&'a [u8], Set),
}

impl Resolver {
    pub(super) fn new(
        config: &config::Identity,
        clock: Clock,
        origin: Arc<dyn AskOrigin>,
        jwks: &Arc<dyn FetchJwks>,
    ) -> Result<Self, SetupError> {
        let digester = Digester::new()?;
        let mut builder = Builder::new(config)?;
        let (tenant, user) = (builder.list(&config.tenant)?, builder.list(&config.user)?);
        let role = builder.list(&config.role)?;
        let Builder { table, wanted, token, bearer, .. } = builder;
        let tokens = match (&config.jwt, wanted.is_empty()) {
            (_, true) => None,
            (None, false) => {
                return Err(SetupError::new("a source reads a token, but `jwt` is not configured"));
            }
            (Some(jwt), false) => Some(Tokens::new(jwt, wanted, digester.clone(), clock.clone(), jwks)?),
        };
        let asks = [&config.tenant, &config.user, &config.role].into_iter().flatten();
        let ask = match (&config.ask, asks.into_iter().any(|s| *s == config::Source::Ask)) {
            (_, false) => None,
            (None, true) => return Err(SetupError::new("a source asks, but `ask` is not configured")),
            (Some(ask), true) => Some(Asker::new(ask, digester, clock.clone(), origin)?),
        };
        let cookie = config.jwt.as_ref().and_then(|jwt| jwt.cookie.clone());
        let sources = [&config.tenant, &config.user, &config.role];
        Ok(Self {
            clock,
            nobody: sources.iter().all(|sources| sources.is_empty()),
            tokens,
            token_cookie: cookie.map(|cookie| (cookie, token & !bearer)),
            bearer,
            ask,
            tenant,
            user,
            role,
            scopes: config.scopes.iter().map(|(role, scope)| (role.clone(), scope.as_str().into())).collect(),
            table: Arc::new(table),
            issuers: ["ask", "header", "host", "path", "cookie", "query"].map(|k| (k, k.into())).into(),
        })
    }

    /// The clock's time.
    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }

    /// Fetches the set of this number, or waits for the one who does.
    pub(super) async fn fetch_keys(&self, number: usize) {
        if let Some(set) = self.tokens.as_ref().and_then(|tokens| tokens.set(number)) {
            set.fetch().await;
        }
    }

    /// Asks the origin, or waits for the one who does.
    pub(super) async fn ask(&self, credential: Digest, seen: &Seen<'_>) -> Answer {
        match &self.ask {
            Some(ask) => ask.clone().ask(credential, seen).await,
            None => Answer::Failed,
        }
    }

    /// The verdict, or what is missing for it.
    pub(super) fn resolve(&self, seen: &Seen<'_>, progress: &Progress) -> Result<Identified, Wait> {
        if self.nobody {
            return Ok(Identified::default());
        }
        if self.ask.as_ref().is_some_and(|ask| ask.is_logout(seen.uri.path())) {
            return Ok(Identified::invalid());
        }
        let reads_authorization = self.tokens.is_some() || self.ask.is_some();
        if reads_authorization && seen.headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
            return Err(Wait::Refused(Error::new(
                ErrorKind::BadRequest,
                "more than one Authorization field",
            )));
        }
        let Some(token) = self.verified_token(seen, progress)? else { return Ok(Identified::invalid()) };
        let token = token.as_ref().map(|(token, carriers)| (&**token, *carriers));
        match self.read(&Evidence { seen, token, asked: None, role: None }) {
            Err(Stop::NeedsAnswer) => {}
            verdict => return settled(verdict),
        }
        let told = match self.answer(seen, progress)? {
            Answer::Told(told) => Some(told),
            Answer::Nobody => None,
            Answer::Failed => return Ok(Identified::invalid()),
        };
        settled(self.read(&Evidence { seen, token, asked: Some(told.as_deref()), role: None }))
    }

    /// The token with what carried it; the inner `None`: there is none; the outer: it is invalid.
    #[allow(clippy::type_complexity)]
    fn verified_token(
        &self,
        seen: &Seen<'_>,
        progress: &Progress,
    ) -> Result<Option<Option<(Arc<Verified>, Set)>>, Wait> {
        let Some(tokens) = &self.tokens else { return Ok(Some(None)) };
        match self.find_token(seen) {
            Token::Absent => Ok(Some(None)),
            Token::Malformed => Ok(None),
            Token::Bytes(bytes, carriers) => match tokens.verify(bytes, progress.fetched, progress.now) {
                Verdict::Valid(token) => Ok(Some(Some((token, carriers)))),
                Verdict::Invalid => Ok(None),
                Verdict::NeedsKeys(number) => Err(Wait::Keys(number)),
            },
        }
    }

    fn find_token<'a>(&self, seen: &Seen<'a>) -> Token<'a> {
        if let Some(token) = seen.headers.get(AUTHORIZATION).and_then(|field| bearer(field.as_bytes())) {
            return if token.is_empty() { Token::Malformed } else { Token::Bytes(token, self.bearer) };
        }
        let Some((cookie, carriers)) = &self.token_cookie else { return Token::Absent };
        match cookies::find(seen.headers, cookie) {
            Found::Absent | Found::Once(b"") => Token::Absent,
            Found::Once(token) => Token::Bytes(token, *carriers),
            Found::Several => Token::Malformed,
        }
    }

    /// What the origin says of the request's credential. Without one, nobody is asked.
    fn answer(&self, seen: &Seen<'_>, progress: &Progress) -> Result<Answer, Wait> {
        if let Some(answer) = &progress.answer {
            return Ok(answer.clone());
        }
        let Some(ask) = &self.ask else { return Ok(Answer::Nobody) };
        let Some(credential) = ask.whole(seen.headers) else { return Ok(Answer::Nobody) };
        ask.recall(&credential).ok_or(Wait::Answer(credential))
    }

    fn read(&self, evidence: &Evidence<'_>) -> Result<Identified, Stop> {
        let (role, lost_role) = self.role.pick(Which::Role, evidence)?;
        let evidence = Evidence { role: role.as_ref(), ..*evidence };
        let (tenant, lost_tenant) = self.tenant.pick(Which::Tenant, &evidence)?;
        let (user, lost_user) = self.user.pick(Which::User, &evidence)?;
        let scope = if tenant.is_none() { self.scope_of(role.as_ref()) } else { None };
        let carriers = |picked: &Option<Picked<'_>>| picked.as_ref().map_or(0, |picked| picked.carriers);
        let role_carriers = carriers(&role);
        let tenant_carriers = if scope.is_some() { role_carriers } else { carriers(&tenant) };
        let carries = self.carries(tenant_carriers, carriers(&user), role_carriers);
        let lost = lost_role | lost_tenant | lost_user;
        let losers = Losers::new(&self.table, lost, carries.tenant | carries.user | carries.role);
        let asked = [&tenant, &user, &role].into_iter().flatten().any(|picked| picked.proof == Proof::Ask);
        let told: Option<&Told> = evidence.asked.flatten().filter(|_| asked);
        Ok(Identified {
            identity: Identity {
                tenant: scope.or_else(|| tenant.map(|t| tenant_of(&t))),
                user: user.map(|user| self.user_of(&user)),
                role: role.as_ref().map(|role| Role { name: role.name.to_arc(), kind: role.kind }),
            },
            carries,
            losers,
            invalid: false,
            generation: told.map(|told| told.generation.clone()),
        })
    }

    /// The scope that a verified role has instead of a tenant (D8).
    fn scope_of(&self, role: Option<&Picked<'_>>) -> Option<Tenant> {
        let role = role.filter(|role| role.kind == Kind::Verified)?;
        let (_, scope) = self.scopes.iter().find(|(known, _)| known == role.name.as_str())?;
        Some(Tenant { name: scope.clone(), kind: Kind::Verified, scope: true })
    }

    fn carries(&self, tenant: Set, user: Set, role: Set) -> Carries {
        let any = tenant | user | role != 0;
        Carries { table: any.then(|| self.table.clone()), tenant, user, role }
    }

    fn user_of(&self, user: &Picked<'_>) -> User {
        let issuer = match user.issuer {
            Issuer::Token(issuer) => issuer.clone(),
            Issuer::Kind(kind) => {
                let known = self.issuers.iter().find(|(name, _)| *name == kind);
                known.map_or_else(|| kind.into(), |(_, issuer)| issuer.clone())
            }
        };
        User { name: user.name.to_arc(), issuer, kind: user.kind }
    }
}

fn tenant_of(tenant: &Picked<'_>) -> Tenant {
    Tenant { name: tenant.name.to_arc(), kind: tenant.kind, scope: false }
}

fn settled(verdict: Result<Identified, Stop>) -> Result<Identified, Wait> {
    match verdict {
        Ok(identified) => Ok(identified),
        Err(Stop::Refused(error)) => Err(Wait::Refused(error)),
        Err(Stop::Invalid | Stop::NeedsAnswer) => Ok(Identified::invalid()),
    }
}
