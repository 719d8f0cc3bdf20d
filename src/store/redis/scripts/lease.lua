-- Takes or prolongs a lease.
-- KEYS: the lease, the note. ARGV: the token, milliseconds to hold it, '1' for a claim that has waited.
-- Returns 'mine', 'held', or the note.
if ARGV[3] == '1' then
  local note = redis.call('GET', KEYS[2])
  if note then
    return note
  end
end
local holder = redis.call('GET', KEYS[1])
if not holder then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  redis.call('DEL', KEYS[2])
  return 'mine'
end
if holder == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 'mine'
end
return 'held'
