-- Returns how many expired: first the results of an ended job, later its record.
local function past(name)
  return call('ZRANGEBYSCORE', name, '-inf', now, 'LIMIT', 0, a.limit)
end

local jobs, uploads = past(key('expiring')), past(key('reserved'))
for _, id in ipairs(jobs) do
  local job = job_of(id)
  release_all(job)
  if job.discarded then
    delete_job(job)
  else
    set(job, {discarded = 1})
    call('ZADD', key('expiring'), now + settings.record_ttl_s, id)
  end
end
for _, id in ipairs(uploads) do
  call('ZREM', key('reserved'), id)
  remove_references(id)
end
for _, member in ipairs(past(key('lingering'))) do stop_lingering(member) end
for _, member in ipairs(past(key('entered'))) do free_slot(member) end
call('ZREMRANGEBYSCORE', key('holds'), '-inf', now)
return #jobs + #uploads
