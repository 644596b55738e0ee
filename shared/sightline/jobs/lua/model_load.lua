local ahead = sum('waiting', a.model)
return cjson.encode({
  waiting = ahead,
  slots = slots_of(a.model),
  run_s = run_s_of(a.model),
  eta_s = eta_s(a.model, ahead),
})
