-- Returns the number of lost leases. Times too far in the future come from another clock; they count as past.
local BATCH = 100
local NOTE_EVERY_S = 1

if not noted[1] or wall < tonumber(noted[1]) or wall - noted[1] >= NOTE_EVERY_S then
  write_despite_full_memory()
  call('HSET', CLOCK, 'wall', wall, 'now', now)
end

local function due(name, furthest_s)
  local past = call('ZRANGEBYSCORE', name, '-inf', now, 'LIMIT', 0, BATCH)
  return #past > 0 and past or call('ZRANGEBYSCORE', name, now + furthest_s, '+inf', 'LIMIT', 0, BATCH)
end

-- Adds jobs that a version without lanes queued to their lanes.
local ADOPTED = 1000
local function adopt(priority)
  local queued, in_lanes = key('waiting', a.model, priority), 0
  for _, caller in ipairs(call('ZRANGE', key('lanes', a.model, priority), 0, -1)) do
    in_lanes = in_lanes + call('ZCARD', lane_of(a.model, priority, caller))
  end
  if in_lanes >= call('ZCARD', queued) then return end
  for _, id in ipairs(call('ZRANGE', queued, 0, ADOPTED - 1)) do
    local job = job_of(id)
    if not call('ZSCORE', lane(job), id) then start_waiting(job) end
  end
end

for _, priority in ipairs(PRIORITIES) do
  adopt(priority)
  for _, id in ipairs(due(key('retrying', a.model, priority), 2 * settings.retry_cap_s)) do
    local job = job_of(id)
    requeue(job, job.attempts)
  end
end

local lost = 0
for _, priority in ipairs(PRIORITIES) do
  for _, id in ipairs(due(key('leases', a.model, priority), 10 * settings.lease_s)) do
    local job = job_of(id)
    unset(job, 'token', 'worker')
    -- This job may have taken its worker down, so it runs alone from now on.
    set(job, {lost_leases = job.lost_leases + 1, isolated = 1})
    count(job, 'lost_leases')
    if job.lost_leases >= settings.max_lost_leases or tonumber(job.attempts) >= settings.max_attempts then
      a.problem.request_id = job.request_id
      dead_letter(job, cjson.encode(a.problem))
    else
      requeue(job, job.attempts)
    end
    lost = lost + 1
  end
end
return lost
