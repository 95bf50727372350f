-- A node reads on. ARGV[2]: its name; ARGV[3], ARGV[4]: the number and the id of the record up to which it has applied all;
-- ARGV[5]: how long its lease lasts, in ms; ARGV[6]: how many records at most; ARGV[7]: how many bytes at most; ARGV[8],
-- ARGV[9]: the id and the life of the log that it knows.
local cursor = tonumber(ARGV[3])
if id ~= ARGV[8] or life ~= ARGV[9] or cursor < floor then
  return standing('anew')
end
if cursor > seq then
  return standing('diverged')
end
-- Records that were there are not any more: nobody can read past them, so all begin after them.
local function lost()
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'floor', text(seq), 'floor_id', '')
  return standing('anew')
end
local known = floor_id
if cursor > floor then
  local at = redis.call('XRANGE', KEYS[2], text(cursor) .. '-0', text(cursor) .. '-0')[1]
  if not at then
    return lost()
  end
  known = at[2][2]
end
if known ~= ARGV[4] then
  return standing('diverged')
end
local found = redis.call('XRANGE', KEYS[2], text(cursor + 1) .. '-0', '+', 'COUNT', ARGV[6])
local lines, bytes, at = {}, 0, cursor
for _, record in ipairs(found) do
  local number = tonumber(record[1]:match('^(%d+)-0$'))
  if number ~= at + 1 or (#lines > 0 and bytes + #record[2][6] > tonumber(ARGV[7])) then
    break
  end
  at, bytes = number, bytes + #record[2][6]
  lines[#lines + 1] = { number, record[2][2], record[2][4], record[2][6] }
end
if #lines == 0 and seq > cursor then
  return lost()
end
redis.call('HSET', KEYS[1], 'node:' .. ARGV[2], text(cursor) .. ' ' .. text(now + ARGV[5]))
-- Only who has nothing to do looks at what changes seldom.
return standing('lines', lines, #lines == 0 and when_full() or '')
