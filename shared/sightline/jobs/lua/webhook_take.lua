-- The time at which a lease ends is its token.
local lanes, lane = key('webhooks', 'lanes'), key('webhooks', 'lane', a.receiver)
local token = string.format('%.17g', now + a.lease_s)
local taken = {}
for i, id in ipairs(call('ZRANGEBYSCORE', lane, '-inf', now, 'LIMIT', 0, a.limit)) do
  call('ZREM', lane, id)
  call('ZADD', lane, token, id)
  taken[i] = {id, token, call('GET', key('webhooks', 'delivery', id)) or ''}
end
call('ZREM', lanes, a.receiver)
local first = call('ZRANGE', lane, 0, 0, 'WITHSCORES')
if first[1] then call('ZADD', lanes, first[2], a.receiver) end
return taken
