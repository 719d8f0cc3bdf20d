-- The ledger's epoch and newest stamp, or nothing if it is no ledger. An empty one begins with the epoch `fresh`.
local function open(key, fresh)
  local first = redis.call('ZRANGEBYSCORE', key, '-inf', '0', 'LIMIT', 0, 2)
  if #first == 0 and redis.call('EXISTS', key) == 0 then
    redis.call('ZADD', key, 0, 'e:' .. fresh)
    return fresh, 0
  end
  if #first ~= 1 or string.sub(first[1], 1, 2) ~= 'e:' then
    return nil
  end
  local last = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
  return string.sub(first[1], 3), tonumber(last[2])
end

local foreign = 'ISRCORRUPT the ledger has no epoch: something else has written to it'
