-- A node goes. ARGV[2]: its name.
redis.call('HDEL', KEYS[1], 'node:' .. ARGV[2], 'gone:' .. ARGV[2])
return standing()
