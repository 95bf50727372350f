//! What runs inside Redis, in one step each. Entry and lease lie in one slot; every number that goes in or out as a text is
//! whole and below 2^53, so that Lua's numbers hold it. Garbage in the place of a ticket counts as none.

use std::fmt::Write;
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// A script, and the name that Redis knows it by.
#[derive(Debug)]
pub struct Script {
    source: String,
    sha: String,
}

impl Script {
    /// A script of this source.
    pub fn new(source: impl Into<String>) -> Self {
        let source = source.into();
        let mut sha = String::with_capacity(40);
        for byte in digest(&SHA1_FOR_LEGACY_USE_ONLY, source.as_bytes()).as_ref() {
            let _ = write!(sha, "{byte:02x}");
        }
        Self { source, sha }
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn sha(&self) -> &str {
        &self.sha
    }
}

/// What several scripts need.
const COMMON: &str = r"
local function whole(x, base)
  local n = tonumber(x or '', base or 10)
  if not n or n < 0 or n >= 9007199254740991 then return 0 end
  return n
end
local function text(n) return string.format('%.0f', n) end
local function ticket_of(entry) return whole(redis.call('GETRANGE', entry, 8, 23), 16) end
";

fn with_common(body: &str) -> Script {
    Script::new(format!("{COMMON}{body}"))
}

/// KEYS entry, lease; ARGV token, milliseconds of the lease, ticket seen, ticket up to which leases are taken over, word.
pub(super) static BEGIN: LazyLock<Script> = LazyLock::new(|| {
    with_common(
        r"
local t = redis.call('TIME')
local micros = t[1] * 1000000 + t[2]
local now = math.floor(micros / 1000)
local entry = ticket_of(KEYS[1])
if entry > tonumber(ARGV[3]) then return {'newer', text(entry)} end
local l = redis.call('HMGET', KEYS[2], 'token', 'ticket', 'word', 'until')
local lease, ends = whole(l[2]), whole(l[4])
local own = l[1] == ARGV[1]
if l[1] and l[1] ~= '' and not own and ends > now and lease > tonumber(ARGV[4]) then
  return {'held', text(ends - now), l[3] or '', text(lease)}
end
local ticket = lease
if not own or lease <= entry then ticket = math.max(micros, entry + 1, lease + 1) end
redis.call('HSET', KEYS[2], 'token', ARGV[1], 'ticket', text(ticket), 'word', ARGV[5], 'until', text(now + ARGV[2]))
redis.call('PEXPIRE', KEYS[2], ARGV[2] + 60000)
return {'lead', text(ticket), text(micros)}
",
    )
});

/// KEYS lease; ARGV token, milliseconds of the lease.
pub(super) static RENEW: LazyLock<Script> = LazyLock::new(|| {
    with_common(
        r"
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
local t = redis.call('TIME')
redis.call('HSET', KEYS[1], 'until', text(t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[2] + 60000)
return 1
",
    )
});

/// KEYS lease; ARGV token, word. What is left is the ticket, for a minute: the next fill has a greater one.
pub(super) static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    with_common(
        r"
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
  redis.call('HSET', KEYS[1], 'token', '', 'word', '', 'until', '0')
else
  local t = redis.call('TIME')
  redis.call('HSET', KEYS[1], 'word', ARGV[2], 'until', text(t[1] * 1000 + math.floor(t[2] / 1000) + 1000))
end
redis.call('PEXPIRE', KEYS[1], 60000)
return 1
",
    )
});

/// KEYS entry, lease; ARGV ticket, milliseconds that the entry stays (0: until removed), bytes, token.
pub(super) static COMMIT: LazyLock<Script> = LazyLock::new(|| {
    with_common(
        r"
if ticket_of(KEYS[1]) > tonumber(ARGV[1]) then return 0 end
if ARGV[2] == '0' then
  redis.call('SET', KEYS[1], ARGV[3])
else
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
end
if redis.call('HGET', KEYS[2], 'token') == ARGV[4] then redis.call('UNLINK', KEYS[2]) end
return 1
",
    )
});

/// KEYS entry; ARGV ticket.
pub(super) static REMOVE: LazyLock<Script> = LazyLock::new(|| {
    with_common(
        r"
if ticket_of(KEYS[1]) > tonumber(ARGV[1]) then return 0 end
return redis.call('UNLINK', KEYS[1])
",
    )
});

#[cfg(test)]
mod tests {
    use super::Script;

    #[test]
    fn a_script_is_known_by_the_sha1_of_its_source() {
        assert_eq!(Script::new("return 1").sha(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }
}
