local due, lanes = key('webhooks', 'due'), call('ZRANGE', key('webhooks', 'lanes'), 0, -1, 'WITHSCORES')
local pending = call('ZCARD', due)
local first = tonumber(call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]) or now
for i = 1, #lanes, 2 do
  pending = pending + call('ZCARD', key('webhooks', 'lane', lanes[i]))
  first = math.min(first, tonumber(lanes[i + 1]))
end
return cjson.encode({pending = pending, overdue_s = math.max(0, now - first)})
