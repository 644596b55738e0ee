-- Marked blobs stay garbage until `forget_blob`, so that another process continues if this one dies.
local MARK_S = 60
local garbage = key('garbage')
local marked = call('ZRANGEBYSCORE', garbage, '-inf', now - a.grace_s, 'LIMIT', 0, a.limit)
for _, sha256 in ipairs(marked) do
  call('ZREM', garbage, sha256)
  call('ZADD', garbage, now + MARK_S, sha256)
  call('ZADD', key('deleting'), now + MARK_S, sha256)
end
return marked
