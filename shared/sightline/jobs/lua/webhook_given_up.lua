-- Returns {job, record of its delivery or ''} for each, newest first.
local found = {}
for i, id in ipairs(call('ZREVRANGE', key('webhooks', 'given_up'), 0, a.limit - 1)) do
  found[i] = {reply(id), call('GET', key('webhooks', 'delivery', id)) or ''}
end
return found
