//! What an event says: whose responses, which of them, hard or soft, and its running number.
//!
//! An event that says something that is not understood is refused as a whole: half of a purge would look like all of it.

use serde_json::{Value, json};

use crate::config::{Config, EventTenant, Piece, Webhook};
use crate::error::{Error, ErrorKind};
use crate::proxy::Shared;
use crate::proxy::event::{scalar, selectors};
use crate::proxy::identify::MAX_NAME;
use crate::proxy::selection::{Planned, Terms, Wanted};
use crate::purge::{Mode, Selector, Where};
use crate::tag::MAX_TAG_BYTES;

/// The most tags, the most patterns and the most URLs of one event. What is planned has limits of its own.
const MAX_NAMES: usize = 1_000;

/// An event, understood.
#[derive(Debug)]
pub(super) struct Event {
    /// The tenant, or `*`.
    pub(super) tenant: String,
    /// Whose responses.
    pub(super) whose: Where,
    /// What becomes of them.
    pub(super) mode: Mode,
    /// The purges that it makes.
    pub(super) planned: Planned,
    /// The running number.
    pub(super) number: Option<u64>,
    /// What it said, for the receipt.
    pub(super) said: Value,
}

impl Event {
    /// Reads the body of a message that was verified.
    ///
    /// # Errors
    /// 400 where it is not JSON, 403 where it means all tenants and may not, 422 where it cannot be understood.
    pub(super) fn read(shared: &Shared, hook: &Webhook, body: &[u8]) -> Result<Self, Error> {
        let document: Value = serde_json::from_slice(body)
            .map_err(|error| Error::new(ErrorKind::BadRequest, format!("the body is not JSON: {error}")))?;
        let fields = Fields { hook, document: &document };
        let (tenant, whose) = fields.whose()?;
        let mut wanted = Vec::new();
        let mut said = json!({});
        fields.model(shared.config(), &tenant, &mut wanted, &mut said)?;
        wanted.extend(fields.names("tags", &mut said)?.map(|tag| Wanted::Tag(tag.to_owned())));
        wanted
            .extend(fields.names("patterns", &mut said)?.map(|pattern| Wanted::Pattern(pattern.to_owned())));
        wanted.extend(fields.names("urls", &mut said)?.map(|url| Wanted::Url(url.to_owned())));
        if said.as_object().is_none_or(serde_json::Map::is_empty) {
            return Err(wrong("the event names neither `model` nor `tags` nor `patterns` nor `urls`"));
        }
        let mode = fields.mode()?;
        let terms = Terms { whose: whose.clone(), mode, by: None };
        let planned = shared.plan_purge(&wanted, &terms).map_err(not_understood)?;
        if !planned.uncached.is_empty() {
            said["not_cached_by_any_route"] = json!(planned.uncached);
        }
        Ok(Self { tenant, whose, mode, planned, number: fields.number()?, said })
    }
}

/// What cannot be planned was well-formed JSON all the same.
fn not_understood(error: Error) -> Error {
    match error.kind() {
        ErrorKind::BadRequest => wrong(error.detail().to_owned()),
        _ => error,
    }
}

/// The fields of an event, where its webhook says that they are.
struct Fields<'a> {
    hook: &'a Webhook,
    document: &'a Value,
}

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        let found = self.document.pointer(&self.hook.fields.pointer(name)?)?;
        (!found.is_null()).then_some(found)
    }

    fn whose(&self) -> Result<(String, Where), Error> {
        let said =
            self.get("tenant").map(|value| scalar(value).ok_or_else(|| wrong("`tenant` is not a name")));
        let said = said.transpose()?;
        let name = match (&self.hook.tenant, said) {
            (EventTenant::All, _) => return Ok(("*".into(), Where::All)),
            (EventTenant::Fixed(own), Some(other)) if *own != other => {
                return Err(Error::new(ErrorKind::Forbidden, "this webhook speaks for another tenant"));
            }
            (EventTenant::Fixed(own), _) => own.clone(),
            (EventTenant::Named { .. }, None) => return Err(wrong("the event names no tenant")),
            (EventTenant::Named { all }, Some(name)) => {
                if name == "*" {
                    let no = "this webhook may not speak for all tenants: see `all_tenants`";
                    return all.then(|| (name, Where::All)).ok_or(Error::new(ErrorKind::Forbidden, no));
                }
                name
            }
        };
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(wrong("`tenant` cannot be the name of a tenant"));
        }
        let whose = Where::Tenant(name.as_str().into());
        Ok((name, whose))
    }

    fn model(
        &self,
        config: &Config,
        tenant: &str,
        wanted: &mut Vec<Wanted>,
        said: &mut Value,
    ) -> Result<(), Error> {
        let Some(value) = self.get("model") else { return Ok(()) };
        let name = value.as_str().ok_or_else(|| wrong("`model` is not a text"))?;
        let model = config.models.iter().find(|model| model.name == name);
        let model = model.ok_or_else(|| wrong(format!("there is no model {}", shown(name))))?;
        let value = |hole: &Piece| match hole {
            Piece::Tenant => (tenant != "*").then(|| tenant.to_owned()),
            Piece::Path(name) => scalar(self.get(name)?),
            _ => None,
        };
        wanted.extend(selectors(&model.purges, value).filter_map(|selector| match selector {
            Selector::Tag(name) => Some(Wanted::Tag(name.to_string())),
            Selector::Pattern(pattern) => Some(Wanted::Pattern(pattern.as_str().to_owned())),
            _ => None,
        }));
        said["model"] = json!(name);
        Ok(())
    }

    /// A list of texts, or one.
    fn names(&self, field: &str, said: &mut Value) -> Result<impl Iterator<Item = &'a str> + use<'a>, Error> {
        let Some(value) = self.get(field) else { return Ok(Vec::new().into_iter()) };
        let not_a_list = || wrong(format!("`{field}` is not a list of texts"));
        let items: Vec<&'a str> = match value {
            Value::Array(items) => {
                items.iter().map(|item| item.as_str().ok_or_else(not_a_list)).collect::<Result<_, _>>()?
            }
            other => vec![other.as_str().ok_or_else(not_a_list)?],
        };
        if items.len() > MAX_NAMES {
            return Err(wrong(format!("`{field}` has more than {MAX_NAMES} entries: send several events")));
        }
        if items.iter().any(|item| item.is_empty() || item.len() > MAX_TAG_BYTES) {
            return Err(wrong(format!(
                "an entry of `{field}` is empty, or longer than {MAX_TAG_BYTES} bytes"
            )));
        }
        said[field] = json!(items);
        Ok(items.into_iter())
    }

    fn mode(&self) -> Result<Mode, Error> {
        match self.get("soft") {
            None | Some(Value::Bool(false)) => Ok(Mode::Hard),
            Some(Value::Bool(true)) => Ok(Mode::Soft),
            Some(_) => Err(wrong("`soft` is neither `true` nor `false`")),
        }
    }

    fn number(&self) -> Result<Option<u64>, Error> {
        let Some(pointer) = &self.hook.sequence else { return Ok(None) };
        let number = self.document.pointer(pointer).and_then(Value::as_u64);
        let missing =
            || wrong(format!("the running number at `{pointer}` is missing, or not a whole number"));
        number.map(Some).ok_or_else(missing)
    }
}

fn wrong(why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Unprocessable, why)
}

/// A text of the sender's in a sentence: short, and without control characters.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(100).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    format!("`{short}`")
}
