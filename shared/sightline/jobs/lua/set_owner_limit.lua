-- Called periodically, because Redis may have lost the limit.
if tonumber(call('HGET', key('limits'), a.owner)) == a.max_running then return end
write_despite_full_memory()
if a.max_running then
  call('HSET', key('limits'), a.owner, a.max_running)
else
  call('HDEL', key('limits'), a.owner)
end
wake_waiting()
