-- A node begins. ARGV[2]: its name; ARGV[3]: what it has applied; ARGV[4]: how long its lease lasts, in ms; ARGV[5],
-- ARGV[6]: the id and the life of the log that it knows. Of another one it has applied nothing.
local cursor = floor
if id == ARGV[5] and life == ARGV[6] then
  -- Where that is below the floor, it gives up what is between when it hears of it: not yet.
  cursor = math.min(tonumber(ARGV[3]), seq)
end
redis.call('HSET', KEYS[1], 'node:' .. ARGV[2], text(cursor) .. ' ' .. text(now + ARGV[4]))
return standing(floor_id, when_full())
