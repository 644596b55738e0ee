free_slot(cjson.encode({a.owner, a.id}))
