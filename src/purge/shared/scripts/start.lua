-- A node begins. ARGV[2]: its name; ARGV[3]: what it has applied; ARGV[4]: how long its lease lasts, in ms.
local cursor = math.min(math.max(tonumber(ARGV[3]), floor), seq)
redis.call('HSET', KEYS[1], 'node:' .. ARGV[2], text(cursor) .. ' ' .. text(now + ARGV[4]))
return standing(floor_id)
