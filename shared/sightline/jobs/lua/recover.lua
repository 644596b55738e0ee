-- How many leases were lost. A clock that was set back leaves times too far ahead; they count as come.
local BATCH = 100

local function due(name, furthest_s)
  local past = call('ZRANGEBYSCORE', name, '-inf', now, 'LIMIT', 0, BATCH)
  return #past > 0 and past or call('ZRANGEBYSCORE', name, now + furthest_s, '+inf', 'LIMIT', 0, BATCH)
end

for _, priority in ipairs(PRIORITIES) do
  for _, id in ipairs(due(key('retrying', a.model, priority), 2 * settings.retry_cap_s)) do
    local job = job_of(id)
    requeue(job, job.attempts)
  end
end

-- While Redis was away nobody could renew; the living do so first thing when it is back.
local uptime_s = tonumber(call('INFO', 'server'):match('uptime_in_seconds:(%d+)'))
if uptime_s < settings.lease_s / 2 then return 0 end

local lost = 0
for _, priority in ipairs(PRIORITIES) do
  for _, id in ipairs(due(key('leases', a.model, priority), 10 * settings.lease_s)) do
    local job = job_of(id)
    unset(job, 'token', 'worker')
    -- Whether it or a neighbour took the worker down is unknown: from now on it takes down nobody else's attempt.
    set(job, {lost_leases = job.lost_leases + 1, isolated = 1})
    count(job, 'lost_leases')
    if job.lost_leases >= settings.max_lost_leases or tonumber(job.attempts) >= settings.max_attempts then
      a.problem.request_id = job.request_id
      bury(job, cjson.encode(a.problem))
    else
      requeue(job, job.attempts)
    end
    lost = lost + 1
  end
end
return lost
