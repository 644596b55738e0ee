-- Returns 'kept', 'no_space' or 'share'. The space is released after `ttl_s` unless the upload has become a job.
local refusal = reserve_space(a.id, a.caller, a.size_bytes)
if refusal then return refusal end
call('HSET', key('holders'), a.id, a.caller)
call('ZADD', key('reserved'), now + a.ttl_s, a.id)
return 'kept'
