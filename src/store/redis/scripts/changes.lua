-- What a reader has not seen.
-- KEYS: the ledger. ARGV: the epoch of an empty ledger, the reader's epoch ('' if it has none) and stamp, about how many
-- marks to return.
-- Returns the epoch, the newest stamp, 1 if there are more, and the marks with their stamps, oldest first.
local ledger, limit = KEYS[1], tonumber(ARGV[4])
local epoch, newest = open(ledger, ARGV[1])
if not epoch then
  return redis.error_reply(foreign)
end
local after = '0'
if ARGV[2] == epoch then
  -- It has seen more than there is: the end was lost.
  if tonumber(ARGV[3]) > newest then
    redis.call('DEL', ledger)
    epoch, newest = open(ledger, ARGV[1])
  else
    after = ARGV[3]
  end
end

local marks = redis.call('ZRANGEBYSCORE', ledger, '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', 0, limit + 1)
if #marks <= 2 * limit then
  return { epoch, string.format('%.0f', newest), 0, marks }
end
-- Cut between two stamps, because a stamp is all that a reader remembers.
local cut = marks[#marks]
while #marks > 0 and marks[#marks] == cut do
  marks[#marks] = nil
  marks[#marks] = nil
end
if #marks == 0 then
  marks = redis.call('ZRANGEBYSCORE', ledger, cut, cut, 'WITHSCORES')
end
local last = tonumber(marks[#marks])
return { epoch, string.format('%.0f', newest), last < newest and 1 or 0, marks }
