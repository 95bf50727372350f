-- The log gets another id, if its id is still ARGV[2] and its life ARGV[3].
if id == ARGV[2] and life == ARGV[3] then
  id, born = ARGV[1], now
  redis.call('HSET', KEYS[1], 'id', id, 'born', text(born))
end
return standing()
