-- Purges get their places. ARGV[2]: how many records are kept at most. Where KEYS[3] remembers the event that they are of, and
-- KEYS[4] the counters: ARGV[3]: a digest of it; ARGV[4]: what its sender is told; ARGV[5]: for how long it is remembered, in ms;
-- ARGV[6]: its counter, or nothing; ARGV[7], ARGV[8]: what that is and what it becomes. At last each purge: its id, and what it is.
local at, count = 3, ''
if KEYS[3] then
  local known = redis.call('HMGET', KEYS[3], 'body', 'said', 'id', 'seq', 'time')
  if known[1] then
    -- A write, so that replicas that confirm it confirm what was written before.
    redis.call('PEXPIRE', KEYS[3], ARGV[5])
    -- A number beyond the last one is of a log that was lost: whatever began before was given up with it.
    seq, now = math.min(tonumber(known[4]), seq), tonumber(known[5])
    return standing('before', known[3], known[1], known[2])
  end
  count = redis.call('HGET', KEYS[4], ARGV[6]) or ''
  if ARGV[6] ~= '' and count ~= ARGV[7] then
    return standing('counted', count)
  end
  at = 9
end
local first = seq + 1
for n = at, #ARGV, 2 do
  seq = seq + 1
  redis.call('XADD', KEYS[2], text(seq) .. '-0', 'id', ARGV[n], 'time', text(now), 'purge', ARGV[n + 1])
end
redis.call('HSET', KEYS[1], 'seq', text(seq))
if KEYS[3] then
  local last = seq >= first and ARGV[#ARGV - 1] or ''
  redis.call('HSET', KEYS[3], 'body', ARGV[3], 'said', ARGV[4], 'id', last, 'seq', text(seq), 'time', text(now))
  redis.call('PEXPIRE', KEYS[3], ARGV[5])
  if ARGV[6] ~= '' then
    -- So many do not count: something is wrong, and counting starts anew.
    if count == '' and redis.call('HLEN', KEYS[4]) >= 65536 then
      redis.call('DEL', KEYS[4])
    end
    redis.call('HSET', KEYS[4], ARGV[6], ARGV[8])
  end
end
local target = seq - tonumber(ARGV[2])
if target > floor then
  local fields = redis.call('HGETALL', KEYS[1])
  for n = 1, #fields, 2 do
    local node = fields[n]:match('^node:')
    if node then
      local cursor, until_ms = fields[n + 1]:match('^(%d+) (%d+)$')
      if cursor and tonumber(until_ms) > now then
        target = math.min(target, tonumber(cursor))
      end
    end
  end
  if target > floor then
    local at = redis.call('XRANGE', KEYS[2], text(target) .. '-0', text(target) .. '-0')[1]
    redis.call('XTRIM', KEYS[2], 'MINID', text(target + 1) .. '-0')
    floor, floor_id = target, at and at[2][2] or ''
    redis.call('HSET', KEYS[1], 'floor', text(floor), 'floor_id', floor_id)
  end
end
return standing('placed', first)
