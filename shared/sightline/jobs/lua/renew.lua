-- Renews the leases {{id, token}, ...}; returns the tokens of those that the caller has lost.
local lost = {}
for _, lease in ipairs(a.leases) do
  local id, token = unpack(lease)
  local job, over = held(id, token)
  if job and not over then
    move(job, 'running')
    call('ZADD', leases(job), 'XX', now + settings.lease_s, id)
  else
    lost[#lost + 1] = token
  end
end
return lost
