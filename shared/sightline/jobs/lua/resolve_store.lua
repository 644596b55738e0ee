-- The identity that the blob store must have, where `found` is that of the one there is and `offered` one for a new store;
-- nil where the bytes that are needed lie in another store.
local known = call('GET', key('store'))
local empty = call('HLEN', key('sizes')) == 0
if known and known ~= a.found and not empty then return nil end
local identity = a.found or empty and known or a.offered
if identity ~= known then
  write_despite_full_memory()
  call('SET', key('store'), identity)
end
return identity
