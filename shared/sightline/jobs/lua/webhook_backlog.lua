schedule_caller('')
local due = key('webhooks', 'due')
local pending = call('ZCARD', due)
local first = tonumber(call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]) or now
for _, caller in ipairs(call('ZRANGE', key('webhooks', 'callers'), 0, -1)) do
  local lanes = call('ZRANGE', delivery_lanes(caller), 0, -1, 'WITHSCORES')
  for i = 1, #lanes, 2 do
    pending = pending + call('ZCARD', key('webhooks', 'lane', lanes[i]))
    first = math.min(first, tonumber(lanes[i + 1]))
  end
end
return cjson.encode({pending = pending, overdue_s = math.max(0, now - first)})
