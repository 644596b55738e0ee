-- JSON of the position among those waiting, 1 for the next, and of the seconds to the end, where they are known.
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

-- Takes go in turns: one bulk job after `share` interactive ones, of which `taken` have been already.
local share = settings.bulk_share
local taken = math.min(tonumber(call('GET', key('turns', job.model)) or 0), share)
local rank = call('ZRANK', waiting(job), job.id)
local other = job.priority == 'bulk' and 'interactive' or 'bulk'
local others = call('ZCARD', key('waiting', job.model, other))
local turns = job.priority == 'bulk' and share - taken + rank * share or math.floor((taken + rank) / share)
local ahead = rank + math.min(others, turns)
return cjson.encode({position = ahead + 1, eta_s = eta_s(job.model, ahead)})
