-- Precedes every script. KEYS[1] is the prefix of all keys, ARGV[1] the arguments by name, ARGV[2] the settings.
--
-- A full Redis refuses a script whose first write may need memory, but not one that begins with another kind of write.
-- Scripts that take, end or delete work begin with a claim or a removal, so that a full queue drains; only scripts that
-- add data are refused.
--
-- A job has one entry in its queue's stream until it ends, so that it never loses its place. The entry is pending for
-- the consumer that names what the job waits for: `running` (its worker, see the
-- job's `worker` and `token`), `returned` (any worker) or `retrying` (its time).
--
-- Queued jobs of one model and priority wait in lanes, one per caller, in the order of their places. `lanes` orders the
-- lanes by the time of service, the least recent first. `active` has the running jobs of a caller.

local prefix = KEYS[1]
local a = cjson.decode(ARGV[1])
local settings = cjson.decode(ARGV[2])
local call = redis.call

-- Two clocks. `wall` is that of Redis, which an operator or NTP may set; it is only displayed. `now` measures leases,
-- waits and ages: it stops while Redis or the whole fleet is stopped, and a jump of `wall` in either direction moves it
-- by a few seconds at most. `recover`, which every process runs each second, records both.
local time = call('TIME')
local wall = time[1] + time[2] / 1e6
local CLOCK = prefix .. 'clock'
local longest_step_s = math.max(1, math.min(5, settings.lease_s / 4))
local noted = call('HMGET', CLOCK, 'wall', 'now')
local now = noted[1] and noted[2] + math.max(0, math.min(wall - noted[1], longest_step_s)) or wall

-- A script that a stalled Redis runs only after its caller has left must not change anything. `sent_at` is the caller's
-- estimate of the clock of Redis; the reply lets a caller that still waits correct its estimate.
if a.sent_at and math.abs(wall - a.sent_at) > a.patience_s then
  return {'late', string.format('%.6f', wall)}
end

local PRIORITIES = {'interactive', 'bulk'}
local LIVE = {queued = true, running = true, retrying = true}
local EVENTS_KEPT, CANCELLATIONS_KEPT = 64, 128
local MAX_SHARE = 3 -- a caller may have at most this many times the free part, so a single caller gets three quarters
local RUN_WEIGHT = 0.2 -- weight of the latest run in the moving average

-- Begins the script with a removal, so that a full Redis runs the rest.
local function write_despite_full_memory()
  call('DEL', prefix .. 'nothing')
end

local function key(...)
  return prefix .. table.concat({...}, ':')
end

local function queue(job) return key('queue', job.model, job.priority) end
local function waiting(job) return key('waiting', job.model, job.priority) end
local function leases(job) return key('leases', job.model, job.priority) end
local function retrying(job) return key('retrying', job.model, job.priority) end
local function dead(job) return key('dead', job.model, job.priority) end
local function lanes(job) return key('lanes', job.model, job.priority) end
local function entry(job) return job.place .. '-0' end

-- Places are shared between callers; without API keys one owner has many callers.
local function caller_of(job) return job.caller or job.owner end
local function lane_of(model, priority, caller) return key('lane', model, priority, caller) end
local function lane(job) return lane_of(job.model, job.priority, caller_of(job)) end
local function active_of(caller) return call('SCARD', key('active', caller)) end

-- The client's key is hashed, so that no pair of owner and key has the same name as another pair.
local function idempotency_key_of(owner, idempotency_key)
  return key('key', owner, redis.sha1hex(idempotency_key))
end

local function cache_of(job, model_sha256)
  return key('cache', job.owner, job.model, model_sha256, job.fingerprint)
end

local function sum(name, model)
  return call('ZCARD', key(name, model, 'interactive')) + call('ZCARD', key(name, model, 'bulk'))
end

local function reply(id)
  return call('HGETALL', key('job', id))
end

local function job_of(id)
  local flat = reply(id)
  if #flat == 0 then return nil end
  local job = {}
  for i = 1, #flat, 2 do job[flat[i]] = flat[i + 1] end
  return job
end

-- Returns the job whose current attempt has the token, and whether that attempt has ended already.
local function held(id, token)
  local job = job_of(id)
  if not job or job.token ~= token then return nil end
  return job, job.state ~= 'running'
end

local function set(job, fields)
  local flat = {}
  for name, value in pairs(fields) do
    flat[#flat + 1], flat[#flat + 2] = name, value
    job[name] = value
  end
  call('HSET', key('job', job.id), unpack(flat))
end

local function unset(job, ...)
  call('HDEL', key('job', job.id), ...)
  for _, name in ipairs({...}) do job[name] = nil end
end

local function count(job, what)
  call('HINCRBY', key('stats', job.model), job.priority .. ':' .. what, 1)
end

-- Data of an event; members that are JSON already are inserted unchanged.
local function snapshot(job)
  local facts = {id = job.id, model = job.model, state = job.state, attempts = tonumber(job.attempts), at = wall,
                 retry_at = tonumber(job.retry_at)}
  local text = cjson.encode(facts):sub(1, -2)
  for _, name in ipairs({'progress', 'problem'}) do
    if job[name] then text = text .. ',"' .. name .. '":' .. job[name] end
  end
  return text .. '}'
end

local function emit(job, event)
  call('XADD', key('events', job.id), 'MAXLEN', '~', EVENTS_KEPT, '*', 'event', event, 'data', snapshot(job))
end

local function wake(model)
  call('XADD', key('wake', model), 'MAXLEN', 1, '*', 'at', wall)
end

local function move(job, consumer)
  call('XCLAIM', queue(job), 'workers', consumer, 0, entry(job), 'JUSTID')
end

local function max_running(owner)
  return tonumber(call('HGET', key('limits'), owner) or settings.max_running_per_owner or math.huge)
end

local function running_of(owner)
  return call('SCARD', key('running', owner))
end

-- Wakes all models with waiting jobs, as an owner's limit may have blocked any of them.
local function wake_waiting()
  for _, model in ipairs(call('SMEMBERS', key('models'))) do
    if sum('waiting', model) > 0 then wake(model) end
  end
end

local function free_slot(member)
  local owner, id = unpack(cjson.decode(member))
  call('ZREM', key('entered'), member)
  if call('SREM', key('running', owner), id) == 1 then wake_waiting() end
end

local function stop_running(job)
  call('ZREM', leases(job), job.id)
  call('SREM', key('active', caller_of(job)), job.id)
  if call('SREM', key('running', job.owner), job.id) == 1 and max_running(job.owner) < math.huge then wake_waiting() end
end

-- Moves a lane behind all others.
local function rotate(job)
  call('ZADD', lanes(job), call('INCR', key('served', job.model)), caller_of(job))
end

local function start_waiting(job)
  if call('EXISTS', lane(job)) == 0 then rotate(job) end
  call('ZADD', lane(job), job.place, job.id)
  call('ZADD', waiting(job), job.place, job.id)
end

local function stop_waiting(job)
  call('ZREM', waiting(job), job.id)
  call('ZREM', lane(job), job.id)
  if call('EXISTS', lane(job)) == 0 then call('ZREM', lanes(job), caller_of(job)) end
end

local function enqueue(job)
  if call('EXISTS', queue(job)) == 0 then call('XGROUP', 'CREATE', queue(job), 'workers', 0, 'MKSTREAM') end
  set(job, {state = 'queued', place = call('INCR', key('places')), queued_at = now})
  call('XADD', queue(job), entry(job), 'id', job.id)
  start_waiting(job)
  emit(job, 'queued')
  wake(job.model)
end

local function requeue(job, attempts)
  move(job, 'returned')
  call('ZREM', retrying(job), job.id)
  stop_running(job)
  unset(job, 'progress', 'retry_at')
  set(job, {state = 'queued', attempts = attempts})
  start_waiting(job)
  emit(job, 'queued')
  wake(job.model)
end

local function leave_queue(job)
  call('XACK', queue(job), 'workers', entry(job))
  call('XDEL', queue(job), entry(job))
  stop_waiting(job)
  call('ZREM', retrying(job), job.id)
  stop_running(job)
  unset(job, 'retry_at')
end

local function end_job(job, state, ttl_s)
  set(job, {state = state, finished_at = wall, expires_at = wall + ttl_s})
  call('ZADD', key('expiring'), now + ttl_s, job.id)
  count(job, state)
  emit(job, state)
  if job.webhook then call('ZADD', key('webhooks', 'due'), now, job.id) end
end

-- A caller is charged once for each of its blobs, whatever others store, and for its uploads in progress. So the free
-- space does not reveal whether another caller stores the same bytes.
local function charge(caller, size_bytes)
  if call('HINCRBY', key('charged'), caller, size_bytes) <= 0 then call('HDEL', key('charged'), caller) end
  call('INCRBY', key('charged_bytes'), size_bytes)
end

local function charged_to(caller)
  return tonumber(call('HGET', key('charged'), caller) or 0), tonumber(call('GET', key('charged_bytes')) or 0)
end

-- Returns nil, or 'no_space', or 'share' if the caller has used its share of the store.
local function lacks_room(caller, size_bytes)
  local own, total = charged_to(caller)
  local free = settings.max_stored_bytes - total - size_bytes
  if free < 0 then return 'no_space' end
  return own > 0 and own + size_bytes > MAX_SHARE * free and 'share' or nil
end

-- Bytes stay on the disk for some time after the last reference, and are charged as long.
local LINGER_S = 60
local function lingering(caller, blob) return cjson.encode({caller, blob.sha256, blob.size_bytes}) end

local function lacks_room_for(caller, blob)
  if call('HEXISTS', key('holdings', caller), blob.sha256) == 1 then return nil end
  return lacks_room(caller, blob.size_bytes)
end

local function add_holding(caller, blob)
  if call('HINCRBY', key('holdings', caller), blob.sha256, 1) > 1 then return end
  if call('ZREM', key('lingering'), lingering(caller, blob)) == 0 then charge(caller, blob.size_bytes) end
end

-- Deliveries wait in lanes, one per caller and receiver, named by both. `callers` has the time at which the first lane
-- of each caller is due. Lanes of an earlier version have no caller.
local function caller_of_lane(lane) return lane:match('^(%S*) ') or '' end

local function delivery_lanes(caller)
  return caller == '' and key('webhooks', 'lanes') or key('webhooks', 'lanes', caller)
end

local function first_time_in(name)
  return call('ZRANGE', name, 0, 0, 'WITHSCORES')[2]
end

local function schedule_caller(caller)
  local at = first_time_in(delivery_lanes(caller))
  if at then call('ZADD', key('webhooks', 'callers'), at, caller) else call('ZREM', key('webhooks', 'callers'), caller) end
end

local function schedule_lane(lane)
  local lanes = delivery_lanes(caller_of_lane(lane))
  call('ZREM', lanes, lane)
  local at = first_time_in(key('webhooks', 'lane', lane))
  if at then call('ZADD', lanes, at, lane) end
  schedule_caller(caller_of_lane(lane))
end

local function remove_holding(caller, sha256)
  if call('HINCRBY', key('holdings', caller), sha256, -1) > 0 then return end
  call('HDEL', key('holdings', caller), sha256)
  local blob = {sha256 = sha256, size_bytes = tonumber(call('HGET', key('sizes'), sha256) or 0)}
  call('ZADD', key('lingering'), now + LINGER_S, lingering(caller, blob))
end

local function stop_lingering(member)
  local caller, _, size_bytes = unpack(cjson.decode(member))
  if call('ZREM', key('lingering'), member) == 1 then charge(caller, -size_bytes) end
end

-- Sets the space that is reserved for an upload as a whole; 0 releases it.
local function reserve_space(id, caller, size_bytes)
  local before = tonumber(call('HGET', key('incoming'), id) or 0)
  if size_bytes == before then return nil end
  local refusal = size_bytes > before and lacks_room(caller, size_bytes - before)
  if refusal then return refusal end
  charge(caller, size_bytes - before)
  if size_bytes > 0 then call('HSET', key('incoming'), id, size_bytes) else call('HDEL', key('incoming'), id) end
end

local function add_reference(id, caller, blob)
  if call('SADD', key('blobs', id), blob.sha256) == 1 then
    call('HSET', key('holders'), id, caller)
    add_holding(caller, blob)
  end
  call('SADD', key('refs', blob.sha256), id)
  call('ZREM', key('garbage'), blob.sha256)
  if call('HSETNX', key('sizes'), blob.sha256, blob.size_bytes) == 1 then
    call('INCRBY', key('stored_bytes'), blob.size_bytes)
  end
end

local function remove_references(id, kept)
  local caller = call('HGET', key('holders'), id) -- false for blobs of a version without charges
  if caller then reserve_space(id, caller, 0) end
  for _, sha256 in ipairs(call('SMEMBERS', key('blobs', id))) do
    if not (kept and kept[sha256]) then
      call('SREM', key('blobs', id), sha256)
      call('SREM', key('refs', sha256), id)
      if caller then remove_holding(caller, sha256) end
      if call('EXISTS', key('refs', sha256)) == 0 then call('ZADD', key('garbage'), now, sha256) end
    end
  end
  if call('EXISTS', key('blobs', id)) == 0 then call('HDEL', key('holders'), id) end
end

local function release_all_but_body(job)
  remove_references(job.id, {[cjson.decode(job.request).body.sha256] = true})
end

-- References all blobs of the results (JSON), and removes all other references of the job.
local function keep_only_results(job, results)
  local kept = {}
  for _, result in ipairs(cjson.decode(results)) do
    add_reference(job.id, caller_of(job), result.blob)
    kept[result.blob.sha256] = true
  end
  remove_references(job.id, kept)
end

local function dead_letter(job, problem)
  leave_queue(job)
  set(job, {problem = problem})
  end_job(job, 'dead', settings.dead_ttl_s)
  set(job, {letter = call('XADD', dead(job), '*', 'id', job.id, 'problem', problem)})
  release_all_but_body(job)
end

local function cancel(job)
  local ran = job.state == 'running'
  leave_queue(job)
  unset(job, 'token', 'worker')
  end_job(job, 'cancelled', settings.result_ttl_s)
  if ran then call('XADD', key('cancelled', job.model), 'MAXLEN', '~', CANCELLATIONS_KEPT, '*', 'id', job.id) end
end

local function is_being_deleted(sha256)
  return tonumber(call('ZSCORE', key('deleting'), sha256) or 0) > now
end

-- Returns whether an upload still holds the idempotency key of its future job.
local function holds_key(id)
  return tonumber(call('ZSCORE', key('holds'), id) or 0) > now
end

local function delete_if_held_by(name, id)
  if call('GET', name) == id then call('DEL', name) end
end

-- Releases everything that an ended job holds except its record.
local function release_all(job)
  unset(job, 'results')
  remove_references(job.id)
  if job.letter then call('XDEL', dead(job), job.letter) end
  if job.idempotency_key then delete_if_held_by(idempotency_key_of(job.owner, job.idempotency_key), job.id) end
  if job.model_sha256 then delete_if_held_by(cache_of(job, job.model_sha256), job.id) end
end

local function delete_job(job)
  call('ZREM', key('owned', job.owner), job.id)
  call('ZREM', key('expiring'), job.id)
  call('ZREM', key('webhooks', 'due'), job.id)
  call('ZREM', key('webhooks', 'given_up'), job.id)
  call('DEL', key('job', job.id), key('events', job.id), key('webhooks', 'delivery', job.id))
end

local function observe_run(job)
  local stats, run_s = key('stats', job.model), now - (job.began_at or now)
  local mean_s = tonumber(call('HGET', stats, 'run_s')) or run_s
  call('HSET', stats, 'run_s', mean_s + RUN_WEIGHT * (run_s - mean_s))
end

local function run_s_of(model)
  return tonumber(call('HGET', key('stats', model), 'run_s'))
end

-- Returns the slots of workers that sent a heartbeat within a lease.
local function slots_of(model)
  local total, workers = 0, call('HGETALL', key('workers', model))
  for i = 2, #workers, 2 do
    local at, slots = workers[i]:match('^(%S+) (%S+)$')
    if tonumber(at) > now - settings.lease_s then total = total + slots end
  end
  return total
end

-- Returns the seconds until a queued job with so many ahead of it ends, or nil if unknown.
local function eta_s(model, ahead)
  local run_s, slots = run_s_of(model), slots_of(model)
  if not run_s or slots == 0 then return nil end
  return run_s * (math.floor((ahead + sum('leases', model)) / slots) + 1)
end
