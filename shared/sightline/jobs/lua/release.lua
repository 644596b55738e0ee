local job, over = held(a.id, a.token)
if not job then return 0 end
if not over and a.isolate then set(job, {isolated = 1}) end
if not over then requeue(job, job.attempts - 1) end
return 1
