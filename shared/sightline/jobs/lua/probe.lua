-- Writes a value, which needs memory as a submission does; returns the clock of Redis.
call('SET', key('probe'), wall)
return string.format('%.6f', wall)
