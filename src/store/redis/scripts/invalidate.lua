-- Notes marks, all with one stamp.
-- KEYS: the ledger. ARGV: the epoch of an empty ledger, the most marks, the channel for hints, the marks.
-- Returns the epoch and the stamp.
local ledger, most = KEYS[1], tonumber(ARGV[2])
local epoch, newest = open(ledger, ARGV[1])
if not epoch then
  return redis.error_reply(foreign)
end
if #ARGV == 3 then
  return { epoch, string.format('%.0f', newest) }
end

-- 1. The stamp: larger than every other, and not before now. Below 2^53, so a score holds it exactly.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local stamp = string.format('%.0f', math.max(newest + 1, now))

-- 2. The marks, some at a time: Lua's stack is bounded.
for from = 4, #ARGV, 1000 do
  local command = { 'ZADD', ledger, 'GT' }
  for i = from, math.min(from + 999, #ARGV) do
    command[#command + 1] = stamp
    command[#command + 1] = ARGV[i]
  end
  redis.call(unpack(command))
end

-- 3. Too many: the oldest are folded into marks on everything. Those two, and the epoch, do not count.
local everything = { r = 'm:r*', e = 'm:e*' }
local kept = redis.call('ZCARD', ledger) - 1
for _, member in pairs(everything) do
  if redis.call('ZSCORE', ledger, member) then
    kept = kept - 1
  end
end
local excess = kept - most
if excess > 0 then
  local oldest = redis.call('ZRANGEBYSCORE', ledger, '(0', '+inf', 'WITHSCORES', 'LIMIT', 0, excess + 2)
  local raised, gone, at = {}, {}, 1
  while excess > 0 and at < #oldest do
    local member, score = oldest[at], oldest[at + 1]
    if member ~= everything.r and member ~= everything.e then
      -- What cannot be read counts as the stronger verb, as it does for readers.
      raised[string.sub(member, 1, 3) == 'm:r' and 'r' or 'e'] = score
      gone[#gone + 1] = member
      excess = excess - 1
    end
    at = at + 2
  end
  for from = 1, #gone, 1000 do
    redis.call('ZREM', ledger, unpack(gone, from, math.min(from + 999, #gone)))
  end
  for verb, score in pairs(raised) do
    redis.call('ZADD', ledger, 'GT', string.format('%.0f', tonumber(score)), everything[verb])
  end
end

-- 4. Who may not publish may still invalidate.
redis.pcall('PUBLISH', ARGV[3], stamp)
return { epoch, stamp }
