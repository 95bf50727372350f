-- A node begins. ARGV[2]: its name; ARGV[3]: what it has applied; ARGV[4]: how long its lease lasts, in ms; ARGV[5],
-- ARGV[6]: the id and the life of the log that it knows. Of another one it has applied nothing.
local cursor = floor
if id == ARGV[5] and life == ARGV[6] then
  -- Where that is below the floor, it gives up what is between when it hears of it: not yet.
  cursor = math.min(tonumber(ARGV[3]), seq)
end
redis.call('HSET', KEYS[1], 'node:' .. ARGV[2], text(cursor) .. ' ' .. text(now + ARGV[4]))
-- Who went without a word is forgotten an hour after somebody noticed: a lease that is over may only be one of before the
-- server's clock was set.
local fields, noticed = redis.call('HGETALL', KEYS[1]), {}
for n = 1, #fields, 2 do
  noticed[fields[n]:match('^gone:(.*)$') or ''] = tonumber(fields[n + 1])
end
for n = 1, #fields, 2 do
  local node = fields[n]:match('^node:(.*)$')
  if node and (tonumber(fields[n + 1]:match('^%d+ (%d+)$') or '') or 0) > now then
    redis.call('HDEL', KEYS[1], 'gone:' .. node)
  elseif node and not noticed[node] then
    redis.call('HSET', KEYS[1], 'gone:' .. node, text(now))
  elseif node and noticed[node] + 3600000 < now then
    redis.call('HDEL', KEYS[1], 'node:' .. node, 'gone:' .. node)
  end
end
-- What the server does when its memory is full: managed ones may not say.
local memory = redis.call('INFO', 'memory')
local full = (memory:match('maxmemory:(%d+)') or '0') .. ' ' .. (memory:match('maxmemory_policy:([%w-]+)') or '')
return standing(floor_id, full)
