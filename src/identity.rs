//! Who a request is for: the tenant, the user and the role, each with the kind of its source.
//!
//! A *verified* identity was proved (a token, the origin's word, a trusted proxy); a *claimed* one is only said
//! (host, path, cookie, query). The kind is part of the key, so the two never share a stored response.

use std::sync::Arc;

/// How an identity is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Only said by the client.
    Claimed,
    /// Proved.
    Verified,
}

/// A tenant, or the scope that a role has instead of one (D8).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tenant {
    /// Its name.
    pub name: Arc<str>,
    /// How it is known.
    pub kind: Kind,
    /// Whether it is a role's own scope. A tenant of the same name is somebody else.
    pub scope: bool,
}

/// A user of an issuer: the same name from two issuers is two users.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct User {
    /// The name.
    pub name: Arc<str>,
    /// Who gave the name: the token's issuer, or the kind of source (`ask`, `header`, `cookie`, …).
    pub issuer: Arc<str>,
    /// How it is known.
    pub kind: Kind,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Role {
    /// The name.
    pub name: Arc<str>,
    /// How it is known.
    pub kind: Kind,
}

/// All that is known of who a request is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The tenant.
    pub tenant: Option<Tenant>,
    /// The user.
    pub user: Option<User>,
    /// The role.
    pub role: Option<Role>,
}

impl Identity {
    /// Whether tenant or user was proved.
    pub fn is_verified(&self) -> bool {
        self.tenant.as_ref().is_some_and(|t| t.kind == Kind::Verified)
            || self.user.as_ref().is_some_and(|u| u.kind == Kind::Verified)
    }

    /// The role's name, where it was proved.
    pub fn verified_role(&self) -> Option<&str> {
        self.role.as_ref().filter(|r| r.kind == Kind::Verified).map(|r| &*r.name)
    }
}
