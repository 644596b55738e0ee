-- The stored result of a job is damaged: identical requests, also with its key, are processed again.
local job = job_of(a.id)
if not job then return 0 end
local source = job.cached_from and job_of(job.cached_from) or job
if source.model_sha256 then delete_if_held_by(cache_of(source, source.model_sha256), source.id) end
if job.idempotency_key then delete_if_held_by(idempotency_key_of(job.owner, job.idempotency_key), job.id) end
return 1
