local lane = key('webhooks', 'lane', a.receiver)
-- Compared as numbers, because versions of Redis format them differently.
if tonumber(call('ZSCORE', lane, a.id)) ~= tonumber(a.token) then return 0 end
call('ZREM', lane, a.id)
if a.retry_in_s then call('ZADD', lane, now + a.retry_in_s, a.id) end
schedule_lane(a.receiver)
if a.record and call('EXISTS', key('job', a.id)) == 1 then
  local record = key('webhooks', 'delivery', a.id)
  call('SET', record, a.record)
  -- The record of an unfinished delivery does not expire, because its schedule needs the number of attempts.
  call('ZREM', key('webhooks', 'given_up'), a.id)
  if a.given_up then call('ZADD', key('webhooks', 'given_up'), now, a.id) end
  if not a.retry_in_s then call('PEXPIRE', record, math.ceil(a.ttl_s * 1000)) end
end
return 1
