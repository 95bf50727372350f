-- What every script of the purge log begins with (docs/clustering.md, "The log"). KEYS: state, records.
-- ARGV[1]: a random id for the log, where there is none yet.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local replication = redis.call('INFO', 'replication')
if not replication:find('role:master', 1, true) then
  return redis.error_reply('READONLY this server is no primary')
end
local replicas = tonumber(replication:match('connected_slaves:(%d+)')) or 0
local life = (replication:match('master_replid:(%x+)') or '') .. (redis.call('INFO', 'server'):match('run_id:(%x+)') or '')
local state = redis.call('HMGET', KEYS[1], 'id', 'life', 'born', 'seq', 'floor', 'floor_id', 'replicas')
local id, born, seq, floor, floor_id = state[1], tonumber(state[3]), tonumber(state[4]), tonumber(state[5]), state[6]
if not (id and born and seq and floor and floor_id) then
  redis.call('DEL', KEYS[1], KEYS[2])
  id, born, seq, floor, floor_id = ARGV[1], now, 0, 0, ''
  redis.call('HSET', KEYS[1], 'id', id, 'life', life, 'born', now, 'seq', 0, 'floor', 0, 'floor_id', '')
elseif state[2] ~= life then
  -- The server was started anew, or another one took its place: what it confirmed may be lost.
  born, state[7] = now, '0'
  redis.call('HSET', KEYS[1], 'life', life, 'born', born, 'replicas', 0)
end
-- The most replicas that this server had in its life: a primary that was deposed may have kept some of them, but not all.
if replicas > (tonumber(state[7]) or 0) then
  redis.call('HSET', KEYS[1], 'replicas', replicas)
end
replicas = math.max(replicas, tonumber(state[7]) or 0)
local function standing(...)
  return { id, life, born, now, seq, floor, replicas, ... }
end
-- What the server does when its memory is full: managed ones may not say.
local function when_full()
  local memory = redis.call('INFO', 'memory')
  return (memory:match('maxmemory:(%d+)') or '0') .. ' ' .. (memory:match('maxmemory_policy:([%w-]+)') or '')
end
-- Numbers are written out: Lua would write large ones with an exponent.
local function text(number)
  return string.format('%.0f', number)
end
