local job, over = held(a.id, a.token)
if not job then return 0 end
if over then return 1 end
leave_queue(job)
unset(job, 'progress', 'problem')
set(job, {results = a.results, stages_ms = a.stages_ms, model_sha256 = a.model_sha256})
keep_only_results(job, a.results)
end_job(job, 'succeeded', settings.result_ttl_s)
call('SET', cache_of(job, a.model_sha256), job.id)
observe_run(job)
return 1
