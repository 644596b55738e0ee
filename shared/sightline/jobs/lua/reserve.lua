-- 'kept', or why not: 'deleting', 'ended' (the job), 'no_space'. An upload has an hour from here to become a job.
local UPLOAD_TTL_S = 3600
if is_being_deleted(a.blob.sha256) then return 'deleting' end
local state = call('HGET', key('job', a.id), 'state')
if state and not LIVE[state] then return 'ended' end
if state then
  -- What a running job still has to write, so that its end can free what it holds.
  write_despite_full_memory()
else
  if not fits(a.blob) then return 'no_space' end
  call('ZADD', key('reserved'), now + UPLOAD_TTL_S, a.id)
end
need(a.id, a.blob)
return 'kept'
