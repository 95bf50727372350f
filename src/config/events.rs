//! What an event of the application changes, checked: models, the fields of an event, webhooks, clearing.

use super::{Secret, TagSelector};

/// What changes with a model, its related models included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Its name in the file.
    pub name: String,
    /// Patterns over tags. Holes with a name ([`super::Piece::Path`]) stand for the event's fields.
    pub purges: Vec<TagSelector>,
}

/// Where a write's request holds a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldAt {
    /// A query parameter.
    Query(String),
    /// A JSON pointer (RFC 6901) into the body; in a form's body the name of a field.
    Body(String),
}

/// A sender of events: `POST /.larder/webhooks/NAME`.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Its name in the file and in the path.
    pub name: String,
    /// The secrets that its messages may be signed with, at least one; several while they are rotated.
    pub secrets: Vec<Secret>,
    /// Whose responses its events mean.
    pub tenant: EventTenant,
    /// The largest body, in bytes.
    pub body_limit: usize,
    /// Where the event's fields are.
    pub fields: EventFields,
    /// A JSON pointer to the running number, which counts up by one per tenant.
    pub sequence: Option<String>,
}

/// Whose responses the events of a webhook mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventTenant {
    /// The event names the tenant.
    Named {
        /// Whether it may say `*`, which means all tenants.
        all: bool,
    },
    /// Always this tenant.
    Fixed(String),
    /// Always all tenants.
    All,
}

/// Where the fields of an event are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFields(pub Option<Vec<(String, String)>>);

impl EventFields {
    /// The fields that mean something by themselves; all others fill holes of models.
    pub const KNOWN: [&str; 6] = ["tenant", "model", "tags", "patterns", "urls", "soft"];

    /// The JSON pointer to a field. Where the file names places, nothing else is read; otherwise a field is the member of
    /// the same name.
    pub fn pointer(&self, name: &str) -> Option<String> {
        match &self.0 {
            Some(places) => places.iter().find(|(field, _)| field == name).map(|(_, at)| at.clone()),
            None => Some(format!("/{}", name.replace('~', "~0").replace('/', "~1"))),
        }
    }
}

/// A path of the application on which an authorised `POST` clears the cache (D4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClearCache {
    /// The whole path.
    pub path: String,
    /// The member of the body that names a tenant.
    pub tenant: String,
    /// The roles that may clear everything and any tenant.
    pub admin_roles: Vec<String>,
}
