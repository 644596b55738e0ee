local job = job_of(a.id)
if not job then return 0 end
if LIVE[job.state] then cancel(job) end
release_all(job)
delete_job(job)
return 1
