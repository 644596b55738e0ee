-- Marks stored blobs that are not recorded here as garbage; returns their number.
local orphans = 0
for _, blob in ipairs(a.blobs) do
  if call('HEXISTS', key('sizes'), blob.sha256) == 0 then
    write_despite_full_memory()
    call('HSET', key('sizes'), blob.sha256, blob.size_bytes)
    call('INCRBY', key('stored_bytes'), blob.size_bytes)
    if call('EXISTS', key('refs', blob.sha256)) == 0 then
      call('ZADD', key('garbage'), now, blob.sha256)
      orphans = orphans + 1
    end
  end
end
return orphans
