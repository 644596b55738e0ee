call('ZREM', key('deleting'), a.sha256)
if call('ZREM', key('garbage'), a.sha256) == 0 then return end
call('DECRBY', key('stored_bytes'), call('HGET', key('sizes'), a.sha256))
call('HDEL', key('sizes'), a.sha256)
