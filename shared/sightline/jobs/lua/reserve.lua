-- 'kept', or why not: 'deleting', 'ended' (the job), 'no_space', 'share'. An upload has an hour from here to become a job.
local UPLOAD_TTL_S = 3600
if is_being_deleted(a.blob.sha256) then return 'deleting' end
local state = call('HGET', key('job', a.id), 'state')
if state and not LIVE[state] then return 'ended' end
if state then
  -- What a running job still has to write, so that its end can free what it holds.
  write_despite_full_memory()
else
  set_aside(a.id, a.caller, 0)
  local why_not = lacks_room_for(a.caller, a.blob)
  if why_not then return why_not end
  call('ZADD', key('reserved'), now + UPLOAD_TTL_S, a.id)
end
need(a.id, state and caller_of(job_of(a.id)) or a.caller, a.blob)
return 'kept'
