-- Returns 'kept', 'deleting', 'ended' (the job), 'no_space' or 'share'. An upload must become a job within an hour.
local UPLOAD_TTL_S = 3600
if is_being_deleted(a.blob.sha256) then return 'deleting' end
local state = call('HGET', key('job', a.id), 'state')
if state and not LIVE[state] then return 'ended' end
if state then
  -- A running job must be able to write its results, so that its end can free its space.
  write_despite_full_memory()
else
  reserve_space(a.id, a.caller, 0)
  local refusal = lacks_room_for(a.caller, a.blob)
  if refusal then return refusal end
  call('ZADD', key('reserved'), now + UPLOAD_TTL_S, a.id)
end
add_reference(a.id, state and caller_of(job_of(a.id)) or a.caller, a.blob)
return 'kept'
