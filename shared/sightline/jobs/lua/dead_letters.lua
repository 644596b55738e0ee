local jobs = {}
for _, priority in ipairs(PRIORITIES) do
  for _, letter in ipairs(call('XRANGE', key('dead', a.model, priority), '-', '+', 'COUNT', a.limit)) do
    jobs[#jobs + 1] = reply(letter[2][2])
  end
end
return jobs
