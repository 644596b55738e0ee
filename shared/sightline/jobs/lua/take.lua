-- The job that goes next, nil, or 'alone' where that job must run alone and its worker holds others (`busy`).
local HELD_PER_TAKE = 500

local function first(stream)
  if call('EXISTS', stream) == 0 then return nil end
  local returned = call('XPENDING', stream, 'workers', '-', '+', 1, 'returned')[1]
  if returned then return call('XCLAIM', stream, 'workers', 'running', 0, returned[1])[1][2][2] end
  local fresh = call('XREADGROUP', 'GROUP', 'workers', 'running', 'COUNT', 1, 'STREAMS', stream, '>')
  return fresh and fresh[1][2][1][2][2]
end

local function startable(priority)
  for _ = 1, HELD_PER_TAKE do
    local id = first(key('queue', a.model, priority))
    local job = id and job_of(id)
    if not job then return nil end
    if running_of(job.owner) < max_running(job.owner) then return job end
    move(job, 'held')
    call('ZADD', held_back(job), job.place, job.id)
  end
  wake(a.model) -- to go on from here in another take, because a script holds up everybody
end

local turns = key('turns', a.model)
local bulk_first = tonumber(call('GET', turns) or 0) >= settings.bulk_share
local job = startable(bulk_first and 'bulk' or 'interactive') or startable(bulk_first and 'interactive' or 'bulk')
if not job then return nil end
-- No other job starts in its place: on a worker that always has something else to do it would never run.
if job.isolated and a.busy then
  move(job, 'returned')
  return 'alone'
end

call('ZREM', waiting(job), job.id)
if job.priority == 'bulk' or call('ZCARD', key('waiting', a.model, 'bulk')) == 0 then
  call('DEL', turns)
else
  call('INCR', turns)
end
call('SADD', key('running', job.owner), job.id)
call('ZADD', leases(job), now + settings.lease_s, job.id)
set(job, {state = 'running', worker = a.worker, token = a.token, attempts = job.attempts + 1, started_at = wall, began_at = now})
count(job, 'attempts')
emit(job, 'running')
return reply(job.id)
