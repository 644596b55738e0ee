local job, over = held(a.id, a.token)
if not job then return 0 end
if over then return 1 end

if not a.transient then
  leave_queue(job)
  set(job, {problem = a.problem})
  end_job(job, 'failed', settings.result_ttl_s)
  release_all_but_body(job) -- so that an operator can retry the job
elseif tonumber(job.attempts) >= settings.max_attempts then
  dead_letter(job, a.problem)
else
  local bound_s = math.min(settings.retry_cap_s, settings.retry_base_s * 2 ^ (job.attempts - 1))
  move(job, 'retrying')
  stop_running(job)
  set(job, {state = 'retrying', problem = a.problem, retry_at = wall + a.jitter * bound_s})
  call('ZADD', retrying(job), now + a.jitter * bound_s, job.id)
  count(job, 'retries')
  emit(job, 'retrying')
end
return 1
