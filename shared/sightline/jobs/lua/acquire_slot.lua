-- Counts a synchronous request against its owner's limit; 0 if the limit is reached.
if running_of(a.owner) >= max_running(a.owner) then return 0 end
call('SADD', key('running', a.owner), a.id)
call('ZADD', key('entered'), now + a.ttl_s, cjson.encode({a.owner, a.id}))
return 1
