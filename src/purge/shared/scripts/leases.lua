-- Which nodes there are, each with what it has applied and the end of its lease.
local leases = {}
local fields = redis.call('HGETALL', KEYS[1])
for n = 1, #fields, 2 do
  local node = fields[n]:match('^node:(.*)$')
  local cursor, until_ms = fields[n + 1]:match('^(%d+) (%d+)$')
  if node and cursor then
    leases[#leases + 1] = { node, tonumber(cursor), tonumber(until_ms) }
  end
end
return standing(leases)
