call('DEL', key('store'))
