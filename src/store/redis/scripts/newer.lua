-- Whether version `a` is newer than version `b`: of the same epoch (8 bytes), and its stamp and begin (16 bytes) are
-- larger. Byte by byte, because `<` on strings follows the server's locale.
local function newer(a, b)
  if #a < 24 or string.sub(a, 1, 8) ~= string.sub(b, 1, 8) then
    return false
  end
  for i = 9, 24 do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x > y
    end
  end
  return false
end
