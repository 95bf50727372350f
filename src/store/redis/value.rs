//! Replies and errors of Redis, apart from the client that reads them. What is not of the expected type is an error.

use bytes::Bytes;
use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::super::{SharedError, SharedErrorKind};

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Nil,
    /// A number.
    Int(i64),
    /// Bytes, or a status such as `OK`.
    Bytes(Bytes),
    /// Several.
    List(Vec<Value>),
}

impl Value {
    /// The number, also one that is written as a text.
    pub fn int(&self) -> Result<i64, SharedError> {
        match self {
            Self::Int(number) => Ok(*number),
            _ => self.text()?.parse().map_err(|_| unexpected("a number")),
        }
    }

    /// The number, which is not negative.
    pub fn whole(&self) -> Result<u64, SharedError> {
        u64::try_from(self.int()?).map_err(|_| unexpected("a number that is not negative"))
    }

    /// The bytes.
    pub fn bytes(&self) -> Result<&Bytes, SharedError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(unexpected("bytes")),
        }
    }

    /// The text.
    pub fn text(&self) -> Result<&str, SharedError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| unexpected("a text"))
    }

    /// The list.
    pub fn list(&self) -> Result<&[Value], SharedError> {
        match self {
            Self::List(list) => Ok(list),
            _ => Err(unexpected("a list")),
        }
    }

    /// The value at this place of a list.
    pub fn at(&self, index: usize) -> Result<&Value, SharedError> {
        self.list()?.get(index).ok_or_else(|| unexpected("a longer list"))
    }
}

impl TryFrom<redis::Value> for Value {
    type Error = SharedError;

    fn try_from(value: redis::Value) -> Result<Self, SharedError> {
        use redis::Value as Reply;
        Ok(match value {
            Reply::Nil => Self::Nil,
            Reply::Int(number) => Self::Int(number),
            Reply::BulkString(bytes) => Self::Bytes(bytes.into()),
            Reply::SimpleString(text) => Self::Bytes(text.into()),
            Reply::Okay => Self::Bytes(Bytes::from_static(b"OK")),
            Reply::Array(values) => {
                Self::List(values.into_iter().map(Self::try_from).collect::<Result<_, _>>()?)
            }
            // What a Cluster's nodes said, each under its address.
            Reply::Map(pairs) => {
                let values = pairs.into_iter().flat_map(|(key, value)| [key, value]);
                Self::List(values.map(Self::try_from).collect::<Result<_, _>>()?)
            }
            Reply::ServerError(error) => return Err(failed(&RedisError::from(error))),
            _ => return Err(unexpected("a reply of RESP2")),
        })
    }
}

/// A reply of another type.
pub(super) fn unexpected(what: &str) -> SharedError {
    SharedError::new(SharedErrorKind::Unexpected, format!("expected {what} from Redis"))
}

/// The time of an operation is over.
pub(super) fn too_late() -> SharedError {
    SharedError::new(SharedErrorKind::Timeout, "Redis did not answer in time")
}

/// The client's error in our words.
pub(super) fn failed(error: &RedisError) -> SharedError {
    SharedError::new(kind(error), error.to_string())
}

fn kind(error: &RedisError) -> SharedErrorKind {
    use SharedErrorKind as Kind;
    match error.kind() {
        ErrorKind::Io if error.is_timeout() => Kind::Timeout,
        ErrorKind::Io | ErrorKind::ClusterConnectionNotFound => Kind::Io,
        ErrorKind::Parse => Kind::Unexpected,
        ErrorKind::AuthenticationFailed => Kind::Auth,
        ErrorKind::Server(server) => match server {
            ServerErrorKind::BusyLoading => Kind::Loading,
            ServerErrorKind::ReadOnly => Kind::ReadOnly,
            ServerErrorKind::ClusterDown | ServerErrorKind::TryAgain => Kind::ClusterDown,
            ServerErrorKind::MasterDown => Kind::MasterDown,
            ServerErrorKind::Moved | ServerErrorKind::Ask => Kind::Moved,
            ServerErrorKind::NoPerm => Kind::Denied,
            _ => of_script(error),
        },
        ErrorKind::Extension => match error.code() {
            Some("OOM") => Kind::Full,
            Some("BUSY") => Kind::Busy,
            Some("NOAUTH" | "WRONGPASS") => Kind::Auth,
            _ => Kind::Refused,
        },
        _ => Kind::Refused,
    }
}

/// Before Redis 7, what a command within a script says is only in the text.
fn of_script(error: &RedisError) -> SharedErrorKind {
    let text = error.detail().unwrap_or_default();
    if text.contains("-OOM ") || text.contains("OOM command not allowed") {
        SharedErrorKind::Full
    } else if text.contains("-READONLY ") {
        SharedErrorKind::ReadOnly
    } else {
        SharedErrorKind::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_of_the_expected_type_is_an_error_and_no_panic() {
        let values =
            [Value::Nil, Value::Int(-1), Value::Bytes(Bytes::from_static(&[0xff])), Value::List(vec![])];
        for value in values {
            let _ = (value.int(), value.bytes(), value.text(), value.list());
            assert_eq!(value.whole().unwrap_err().kind, SharedErrorKind::Unexpected, "{value:?}");
            assert_eq!(value.at(0).unwrap_err().kind, SharedErrorKind::Unexpected, "{value:?}");
        }
        for reply in [redis::Value::Double(1.0), redis::Value::Boolean(true), redis::Value::Set(vec![])] {
            assert!(Value::try_from(redis::Value::Array(vec![reply])).is_err());
        }
    }
}
