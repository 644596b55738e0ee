-- Returns {cursor of the next page or '', jobs}; scans a limited number of jobs, so that rare states do not block Redis.
local SCANNED = 1000
local from = a.after and '(' .. a.after or '+inf'
local found = call('ZREVRANGEBYSCORE', key('owned', a.owner), from, '-inf', 'WITHSCORES', 'LIMIT', 0, SCANNED + 1)
local jobs = {}
for i = 1, #found, 2 do
  local job = job_of(found[i])
  if (not a.state or job.state == a.state) and (not a.model or job.model == a.model) then
    jobs[#jobs + 1] = reply(job.id)
  end
  local more = i + 2 <= #found
  if more and (#jobs == a.limit or i + 2 > 2 * SCANNED) then return {found[i + 1], jobs} end
end
return {'', jobs}
