if call('EXISTS', key('job', a.id)) == 1 then return 0 end
call('ZREM', key('reserved'), a.id)
call('ZREM', key('holds'), a.id)
remove_references(a.id)
if a.idempotency_key then delete_if_held_by(idempotency_key_of(a.owner, a.idempotency_key), a.id) end
return 1
