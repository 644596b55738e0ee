-- 'kept', or why not: 'no_space', 'share'. The room is given back by itself when the upload has not come to an end by then.
local why_not = set_aside(a.id, a.caller, a.size_bytes)
if why_not then return why_not end
call('HSET', key('holders'), a.id, a.caller)
call('ZADD', key('reserved'), now + a.ttl_s, a.id)
return 'kept'
