-- Moves an ended job to its lane, or removes it if it has no receiver.
if call('ZREM', key('webhooks', 'due'), a.id) == 0 or not a.receiver then return end
call('ZADD', key('webhooks', 'lane', a.receiver), now, a.id)
schedule_lane(a.receiver)
