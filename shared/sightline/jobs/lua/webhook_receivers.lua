-- Returns due lanes, alternating between callers, so that a caller with many lanes does not hide those of others.
schedule_caller('')
local by_caller, longest = {}, 0
for _, caller in ipairs(call('ZRANGEBYSCORE', key('webhooks', 'callers'), '-inf', now, 'LIMIT', 0, a.limit)) do
  local lanes = call('ZRANGEBYSCORE', delivery_lanes(caller), '-inf', now, 'LIMIT', 0, a.limit)
  by_caller[#by_caller + 1], longest = lanes, math.max(longest, #lanes)
end
local due = {}
for turn = 1, longest do
  for _, lanes in ipairs(by_caller) do
    if lanes[turn] and #due < 4 * a.limit then due[#due + 1] = lanes[turn] end
  end
end
return due
