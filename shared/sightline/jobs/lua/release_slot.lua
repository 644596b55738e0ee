leave_running(cjson.encode({a.owner, a.id}))
