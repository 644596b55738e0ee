-- {'held'}, {'taken', id of the job that has the key}, or {'busy'} with another upload.
local name = key_of(a.owner, a.idempotency_key)
local holder = call('GET', name) or a.id
if call('EXISTS', key('job', holder)) == 1 then return {'taken', holder} end
if holder ~= a.id then return {'busy'} end
call('SET', name, a.id, 'PX', math.ceil(a.ttl_s * 1000))
return {'held'}
