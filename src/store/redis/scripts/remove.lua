-- Removes an entry, unless it is newer.
-- KEYS: the entry. ARGV: a version's bytes.
if newer(redis.call('GETRANGE', KEYS[1], 8, 31), ARGV[1]) then
  return 0
end
return redis.call('DEL', KEYS[1])
