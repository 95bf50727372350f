-- A purge gets its place. ARGV[2]: its id; ARGV[3]: the purge; ARGV[4]: how many records are kept at most.
local first = seq + 1
redis.call('XADD', KEYS[2], text(first) .. '-0', 'id', ARGV[2], 'time', text(now), 'purge', ARGV[3])
seq = first
redis.call('HSET', KEYS[1], 'seq', text(seq))
local target = seq - tonumber(ARGV[4])
if target > floor then
  local fields = redis.call('HGETALL', KEYS[1])
  for n = 1, #fields, 2 do
    local node = fields[n]:match('^node:')
    if node then
      local cursor, until_ms = fields[n + 1]:match('^(%d+) (%d+)$')
      if cursor and tonumber(until_ms) > now then
        target = math.min(target, tonumber(cursor))
      elseif not cursor or tonumber(until_ms) + 3600000 < now then
        redis.call('HDEL', KEYS[1], fields[n])
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
return standing(first)
