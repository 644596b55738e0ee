-- Counts a synchronous request among what runs for an owner; 0 where as much runs as may.
if running_of(a.owner) >= max_running(a.owner) then return 0 end
call('SADD', key('running', a.owner), a.id)
call('ZADD', key('entered'), now + a.ttl_s, cjson.encode({a.owner, a.id}))
return 1
