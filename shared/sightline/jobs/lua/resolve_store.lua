-- Returns the identity that the blob store must have, or nil if the needed bytes are in another store. `found` is the
-- identity of the current store, `offered` one for a new store.
local known = call('GET', key('store'))
local empty = call('HLEN', key('sizes')) == 0
if known and known ~= a.found and not empty then return nil end
local identity = a.found or empty and known or a.offered
if identity ~= known then
  write_despite_full_memory()
  call('SET', key('store'), identity)
end
return identity
