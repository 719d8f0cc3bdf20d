-- Gives a lease back if the token holds it, and leaves a note.
-- KEYS: the lease, the note. ARGV: the token, the note, milliseconds to keep it.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 1
