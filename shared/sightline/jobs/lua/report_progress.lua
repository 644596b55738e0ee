local job, over = held(a.id, a.token)
if not job or over then return 0 end
set(job, {progress = a.progress})
emit(job, 'progress')
return 1
