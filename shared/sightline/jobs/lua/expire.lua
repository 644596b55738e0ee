-- How many were let go: first the results of an ended job go, later its record.
local function past(name)
  return call('ZRANGEBYSCORE', name, '-inf', now, 'LIMIT', 0, a.limit)
end

local jobs, uploads = past(key('expiring')), past(key('reserved'))
for _, id in ipairs(jobs) do
  local job = job_of(id)
  discard(job)
  if job.discarded then
    forget(job)
  else
    set(job, {discarded = 1})
    call('ZADD', key('expiring'), now + settings.record_ttl_s, id)
  end
end
for _, id in ipairs(uploads) do
  call('ZREM', key('reserved'), id)
  release(id)
end
for _, member in ipairs(past(key('lingering'))) do discharge(member) end
for _, member in ipairs(past(key('entered'))) do leave_running(member) end
call('ZREMRANGEBYSCORE', key('holds'), '-inf', now)
return #jobs + #uploads
