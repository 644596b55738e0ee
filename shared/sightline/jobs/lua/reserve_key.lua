-- Returns {'held'}, {'taken', id of the job that has the key}, or {'busy'} for another upload.
local FORGOTTEN_MS = 3600000 -- upper bound for keys that are never freed
local name = idempotency_key_of(a.owner, a.idempotency_key)
local holder = call('GET', name) or a.id
if call('EXISTS', key('job', holder)) == 1 then return {'taken', holder} end
if holder ~= a.id and holds_key(holder) then return {'busy'} end
call('SET', name, a.id, 'PX', FORGOTTEN_MS)
call('ZADD', key('holds'), now + a.ttl_s, a.id)
return {'held'}
