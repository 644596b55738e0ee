-- The token of a lease is the time at which it ends.
local lane = key('webhooks', 'lane', a.receiver)
local token = string.format('%.17g', now + a.lease_s)
local taken = {}
for i, id in ipairs(call('ZRANGEBYSCORE', lane, '-inf', now, 'LIMIT', 0, a.limit)) do
  call('ZREM', lane, id)
  call('ZADD', lane, token, id)
  taken[i] = {id, token, call('GET', key('webhooks', 'delivery', id)) or ''}
end
schedule_lane(a.receiver)
return taken
