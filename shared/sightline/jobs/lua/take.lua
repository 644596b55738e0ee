-- Returns the next job, nil, or 'alone' if that job must run alone and its worker holds others (`busy`).
local LANES_PER_TAKE = 512

write_despite_full_memory()

-- Only entries that have been delivered can be claimed.
local function deliver(stream)
  if call('EXISTS', stream) == 0 then return end
  while call('XREADGROUP', 'GROUP', 'workers', 'returned', 'COUNT', 1000, 'STREAMS', stream, '>') do end
end

local function first_in(lane)
  while true do
    local id = call('ZRANGE', lane, 0, 0)[1]
    if not id or call('HGET', key('job', id), 'state') == 'queued' then return id end
    call('ZREM', lane, id) -- taken by a worker of a version without lanes
  end
end

-- Returns the first job of the caller with the fewest running jobs; of several, of the one served least recently.
local function startable(priority)
  local chosen, fewest
  for _, caller in ipairs(call('ZRANGE', key('lanes', a.model, priority), 0, LANES_PER_TAKE - 1)) do
    local id = first_in(lane_of(a.model, priority, caller))
    local owner = id and call('HGET', key('job', id), 'owner')
    local active = active_of(caller)
    if owner and (not fewest or active < fewest) and running_of(owner) < max_running(owner) then
      chosen, fewest = id, active
    end
    if fewest == 0 then break end
  end
  return chosen and job_of(chosen)
end

deliver(key('queue', a.model, 'interactive'))
deliver(key('queue', a.model, 'bulk'))

local turns = key('turns', a.model)
local bulk_first = tonumber(call('GET', turns) or 0) >= settings.bulk_share
local job = startable(bulk_first and 'bulk' or 'interactive') or startable(bulk_first and 'interactive' or 'bulk')
if not job then return nil end
-- No other job starts in its place: on a busy worker it would never run.
if job.isolated and a.busy then return 'alone' end

move(job, 'running')
stop_waiting(job)
if call('EXISTS', lane(job)) == 1 then rotate(job) end
if job.priority == 'bulk' or call('ZCARD', key('waiting', a.model, 'bulk')) == 0 then
  call('DEL', turns)
else
  call('INCR', turns)
end
call('SADD', key('running', job.owner), job.id)
call('SADD', key('active', caller_of(job)), job.id)
call('ZADD', leases(job), now + settings.lease_s, job.id)
set(job, {state = 'running', worker = a.worker, token = a.token, attempts = job.attempts + 1, started_at = wall, began_at = now})
count(job, 'attempts')
emit(job, 'running')
return reply(job.id)
