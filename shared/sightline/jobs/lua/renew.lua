-- Tokens, of the leases {{id, token}, ...}, that are not the caller's any more.
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
