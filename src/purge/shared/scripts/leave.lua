-- A lease goes. ARGV[2]: its node; ARGV[3]: what it has to be still, or nothing.
local name = 'node:' .. ARGV[2]
if ARGV[3] == '' or redis.call('HGET', KEYS[1], name) == ARGV[3] then
  redis.call('HDEL', KEYS[1], name)
end
return standing()
