write_despite_full_memory() -- a worker that drains a full queue must be counted
local workers = key('workers', a.model)
for _, worker in ipairs(call('HKEYS', workers)) do
  local at = call('HGET', workers, worker):match('^%S+')
  if worker == a.worker or tonumber(at) < now - settings.lease_s then call('HDEL', workers, worker) end
end
if a.slots then call('HSET', workers, a.worker, string.format('%.3f %d', now, a.slots)) end
