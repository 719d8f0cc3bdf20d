-- Moves an entry that was written under a temporary key to its place, unless what is there is newer.
-- KEYS: the entry, the temporary key. ARGV: the new version's bytes, milliseconds to keep.
-- Returns 1 if it was stored, 0 if what is there stays, -1 if the temporary key has gone.
if newer(redis.call('GETRANGE', KEYS[1], 8, 31), ARGV[1]) then
  redis.call('DEL', KEYS[2])
  return 0
end
if redis.call('EXISTS', KEYS[2]) == 0 then
  return -1
end
redis.call('RENAME', KEYS[2], KEYS[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
