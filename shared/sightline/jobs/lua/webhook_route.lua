-- From where the ends of jobs put it into its receiver's lane; without a receiver, out.
if call('ZREM', key('webhooks', 'due'), a.id) == 0 or not a.receiver then return end
call('ZADD', key('webhooks', 'lane', a.receiver), now, a.id)
schedule_lane(a.receiver)
