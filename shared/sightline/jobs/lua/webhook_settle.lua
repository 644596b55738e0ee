local lanes, lane = key('webhooks', 'lanes'), key('webhooks', 'lane', a.receiver)
-- As numbers, because Redis does not write them alike in all its versions.
if tonumber(call('ZSCORE', lane, a.id)) ~= tonumber(a.token) then return 0 end
call('ZREM', lane, a.id)
if a.retry_in_s then call('ZADD', lane, now + a.retry_in_s, a.id) end
call('ZREM', lanes, a.receiver)
local first = call('ZRANGE', lane, 0, 0, 'WITHSCORES')
if first[1] then call('ZADD', lanes, first[2], a.receiver) end
if a.record then call('SET', key('webhooks', 'delivery', a.id), a.record, 'PX', math.ceil(a.ttl_s * 1000)) end
return 1
