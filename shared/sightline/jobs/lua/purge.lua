local job = job_of(a.id)
if not job then return 0 end
if LIVE[job.state] then cancel(job) end
discard(job)
forget(job)
return 1
