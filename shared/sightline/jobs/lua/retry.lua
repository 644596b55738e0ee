-- Returns {'queued', job}, also for a job that has not ended, or {'unknown'}, {'ended'} or {'gone'}.
local job = job_of(a.id)
if not job then return {'unknown'} end
if LIVE[job.state] then return {'queued', reply(job.id)} end
if job.state ~= 'dead' and job.state ~= 'failed' then return {'ended'} end
if call('SISMEMBER', key('refs', cjson.decode(job.request).body.sha256), job.id) == 0 then return {'gone'} end

if job.letter then call('XDEL', dead(job), job.letter) end
call('ZREM', key('expiring'), job.id)
unset(job, 'letter', 'problem', 'progress', 'token', 'worker', 'started_at', 'began_at', 'finished_at', 'expires_at')
set(job, {attempts = 0, lost_leases = 0})
enqueue(job)
return {'queued', reply(job.id)}
