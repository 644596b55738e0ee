-- A write that needs memory, as a submission does; returns Redis' own clock.
call('SET', key('probe'), wall)
return string.format('%.6f', wall)
