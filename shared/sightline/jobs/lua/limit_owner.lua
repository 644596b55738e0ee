-- Said again and again, because Redis may have lost it.
if tonumber(call('HGET', key('limits'), a.owner)) == a.max_running then return end
if a.max_running then
  call('HSET', key('limits'), a.owner, a.max_running)
else
  call('HDEL', key('limits'), a.owner)
end
wake_waiting()
