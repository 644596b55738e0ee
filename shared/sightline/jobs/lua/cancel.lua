local job = job_of(a.id)
if not job or (a.owner and job.owner ~= a.owner) then return nil end
if LIVE[job.state] then cancel(job) end
release_all(job)
return reply(job.id)
