-- Returns JSON: the position among waiting jobs (1 is next) and the seconds to the end, if known.
local job = job_of(a.id)
if not job then return '{}' end
local run_s = run_s_of(job.model)

if job.state == 'running' then
  return cjson.encode({eta_s = run_s and math.max(0, run_s - (now - (job.began_at or now)))})
end
if job.state == 'retrying' then
  return cjson.encode({eta_s = run_s and math.max(0, call('ZSCORE', retrying(job), job.id) - now) + run_s})
end
if job.state ~= 'queued' then return '{}' end

-- Returns how many jobs of its priority go first if no running job ends: each take gives a caller one more running job,
-- and among callers with equally many the one that had more before goes first, then the one served earlier.
local LANES_COUNTED = 512
local function ahead_of(job)
  local rank = call('ZRANK', lane(job), job.id)
  if not rank then return call('ZRANK', waiting(job), job.id) end
  local own, active = caller_of(job), active_of(caller_of(job))
  local served, ahead, level = tonumber(call('ZSCORE', lanes(job), own)), rank, active + rank
  local others = call('ZRANGE', lanes(job), 0, LANES_COUNTED - 1, 'WITHSCORES')
  for i = 1, #others, 2 do
    if others[i] ~= own then
      local length, theirs = call('ZCARD', lane_of(job.model, job.priority, others[i])), active_of(others[i])
      local before = math.min(math.max(level - theirs, 0), length)
      local first = theirs > active or (theirs == active and tonumber(others[i + 1]) < served)
      ahead = ahead + before + (first and level >= theirs and before < length and 1 or 0)
    end
  end
  return ahead
end

-- Jobs are taken in turns: one bulk job after `share` interactive ones, of which `taken` have been taken already.
local share = settings.bulk_share
local taken = math.min(tonumber(call('GET', key('turns', job.model)) or 0), share)
local rank = ahead_of(job)
local other = job.priority == 'bulk' and 'interactive' or 'bulk'
local others = call('ZCARD', key('waiting', job.model, other))
local turns = job.priority == 'bulk' and share - taken + rank * share or math.floor((taken + rank) / share)
local ahead = rank + math.min(others, turns)
return cjson.encode({position = ahead + 1, eta_s = eta_s(job.model, ahead)})
