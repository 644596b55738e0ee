local job, over = held(a.id, a.token)
if not job then return 0 end
if over then return 1 end
leave(job)
unset(job, 'progress', 'problem')
set(job, {results = a.results, stages_ms = a.stages_ms, model_sha256 = a.model_sha256})
settle(job, a.results)
conclude(job, 'succeeded', settings.result_ttl_s)
call('SET', cache_of(job, a.model_sha256), job.id)
observe_run(job)
return 1
