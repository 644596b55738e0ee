-- Returns JSON: one object per model and priority.
local COUNTED = {'submitted', 'cached', 'attempts', 'retries', 'lost_leases', 'succeeded', 'failed', 'dead', 'cancelled'}

local function line(model, priority)
  local oldest = call('ZRANGE', key('waiting', model, priority), 0, 0)[1]
  local totals = {}
  for _, what in ipairs(COUNTED) do
    totals[what] = tonumber(call('HGET', key('stats', model), priority .. ':' .. what) or 0)
  end
  return {
    model = model,
    priority = priority,
    waiting = call('ZCARD', key('waiting', model, priority)),
    oldest_age_s = oldest and math.max(0, now - call('HGET', key('job', oldest), 'queued_at')) or 0,
    running = call('ZCARD', key('leases', model, priority)),
    retrying = call('ZCARD', key('retrying', model, priority)),
    dead = call('XLEN', key('dead', model, priority)),
    totals = totals,
  }
end

local lines = {}
for _, model in ipairs(a.models) do
  for _, priority in ipairs(PRIORITIES) do lines[#lines + 1] = line(model, priority) end
end
return #lines > 0 and cjson.encode(lines) or '[]'
