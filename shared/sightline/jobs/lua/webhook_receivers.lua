return call('ZRANGEBYSCORE', key('webhooks', 'lanes'), '-inf', now, 'LIMIT', 0, a.limit)
