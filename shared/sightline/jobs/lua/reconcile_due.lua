-- Returns 1 if the store must be compared with the records; soon after Redis lost its data, else every hour.
local SOON_S, LATER_S = 180, 3600
local due = call('GET', key('reconcile_due'))
if due and now < tonumber(due) then return 0 end
write_despite_full_memory()
call('SET', key('reconcile_due'), now + (due and LATER_S or SOON_S))
return 1
