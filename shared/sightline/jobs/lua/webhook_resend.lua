-- Returns 'due', 'unknown' (no such job), 'live' or 'unwanted' (no webhook). The retry schedule starts again.
local job = job_of(a.id)
if not job then return 'unknown' end
if LIVE[job.state] then return 'live' end
if not job.webhook then return 'unwanted' end
call('ZREM', key('webhooks', 'given_up'), a.id)
call('DEL', key('webhooks', 'delivery', a.id))
call('ZADD', key('webhooks', 'due'), now, a.id)
return 'due'
