-- The stored result of a job is damaged: an identical request, also one of its key, is worked on again.
local job = job_of(a.id)
if not job then return 0 end
local source = job.cached_from and job_of(job.cached_from) or job
if source.model_sha256 then drop(cache_of(source, source.model_sha256), source.id) end
if job.idempotency_key then drop(key_of(job.owner, job.idempotency_key), job.id) end
return 1
