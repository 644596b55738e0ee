-- Returns {'accepted', job}, or the reason of the refusal with the id of a conflicting job.
local job = a.record
local request = cjson.decode(job.request).body

if call('EXISTS', key('job', job.id)) == 1 then return {'accepted', reply(job.id)} end

local idempotency_key = job.idempotency_key and idempotency_key_of(job.owner, job.idempotency_key)
local holder = idempotency_key and call('GET', idempotency_key)
if holder and holder ~= job.id then
  local other = job_of(holder)
  if not other and holds_key(holder) then return {'held'} end
  if other and other.fingerprint ~= job.fingerprint then return {'reused', holder} end
  if other then return {'accepted', reply(holder)} end
end

local cached = a.model_sha256 and call('GET', cache_of(job, a.model_sha256))
local source = cached and job_of(cached)
if not source then
  local free = settings.max_queued_per_model - sum('waiting', job.model)
  if free <= 0 then return {'crowded'} end
  local own = 0
  for _, priority in ipairs(PRIORITIES) do
    own = own + call('ZCARD', lane_of(job.model, priority, caller_of(job)))
  end
  if own >= MAX_SHARE * free then return {'share'} end
  local reserved = call('SISMEMBER', key('blobs', job.id), request.sha256) == 1
  local refusal = not reserved and lacks_room_for(caller_of(job), request)
  if refusal then return {refusal == 'share' and 'stored_share' or refusal} end
  if is_being_deleted(request.sha256) then return {'deleting'} end
end

set(job, a.record)
set(job, {created_at = wall, attempts = 0, lost_leases = 0})
call('SADD', key('models'), job.model)
call('ZADD', key('owned', job.owner), call('INCR', key('places')), job.id)
call('ZREM', key('reserved'), job.id)
call('ZREM', key('holds'), job.id)
if idempotency_key then call('SET', idempotency_key, job.id) end
count(job, 'submitted')
if source then
  set(job, {results = source.results, cached_from = source.id})
  keep_only_results(job, source.results)
  count(job, 'cached')
  end_job(job, 'succeeded', settings.result_ttl_s)
else
  add_reference(job.id, caller_of(job), request)
  enqueue(job)
end
return {'accepted', reply(job.id)}
