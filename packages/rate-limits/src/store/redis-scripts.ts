/**
 * The Lua scripts. Each is one atomic call, and all its keys have one hash tag, so that Redis Cluster
 * accepts it. The formulas are those of `limits/state.ts`; times are whole microseconds of the server's
 * clock, so that a fleet has one clock.
 */
import { createHash } from 'node:crypto'

/** A script, and the digest under which Redis caches it. */
export interface Script {
  readonly source: string
  readonly sha: string
}

function script(source: string): Script {
  return { source, sha: createHash('sha1').update(source).digest('hex') }
}

/** ARGV[1] is the time of an injected clock in µs, or -1. */
const COMMON = `
local now = tonumber(ARGV[1])
if now < 0 then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end
local at = 1
local function arg() at = at + 1 return tonumber(ARGV[at]) end
local function unpacked(raw)
  if not raw then return { 0, 0, 0 } end
  local ok, state = pcall(cmsgpack.unpack, raw)
  if ok and type(state) == 'table' and type(state[3]) == 'number' then return state end
  return { 0, 0, 0 }
end
-- A state is { blocked until, refusals, refused since }, then for GCRA one time per bound, and for exact
-- windows pairs of time and units, oldest first.
local function save(key, state, exact, longest)
  local last = state[1]
  if state[2] > 0 then last = math.max(last, state[3] + longest) end
  if exact then
    if #state > 3 then last = math.max(last, state[#state - 1] + longest) end
  else
    for i = 4, #state do last = math.max(last, state[i]) end
  end
  local ttl = math.ceil((last - now) / 1000)
  if ttl < 1 then redis.call('DEL', key)
  else redis.call('SET', key, cmsgpack.pack(state), 'PX', string.format('%.0f', ttl)) end
end
`

/**
 * KEYS: the state of each slot, then factors, proofs and leases. ARGV: now, numbers in one text, the lease.
 * The numbers: 1 to decide or 0 to peek, number of slots, then for each slot its cost, index of its leases
 * (0: none), index of its proof (0: none), number of factors and their indexes, and of its policy: exact,
 * block, enforced, most in flight, lease in µs, number of bounds, and of each its limit and window.
 */
export const DECIDE = script(`${COMMON}
local numbers = {}
for number in string.gmatch(ARGV[2], '%S+') do numbers[#numbers + 1] = tonumber(number) end
at = 0
function arg() at = at + 1 return numbers[at] end
local deciding, count = arg() == 1, arg()
local lease = ARGV[3]
local values = redis.call('MGET', unpack(KEYS))
local slots, allowed = {}, 1
for i = 1, count do
  local s = { key = KEYS[i], cost = arg(), flights = arg() }
  local proof = arg()
  local proven = proof > 0 and values[proof]
  local factor = 1
  for _ = 1, arg() do
    local value = values[arg()]
    if value then factor = math.min(factor, tonumber(value)) end
  end
  s.exact, s.block, s.enforced = arg() == 1, arg(), arg() == 1
  s.most, s.lease, s.longest = arg(), arg(), 0
  for b = 1, arg() do
    local limit, window = arg(), arg()
    s.longest = math.max(s.longest, window)
    if factor < 1 then limit = math.max(1, math.floor(limit * factor)) end
    s.cost = math.min(s.cost, limit)
    s[b] = { limit, window }
  end
  if proven then s.cost = 0 end
  local state = unpacked(values[i])
  s.state = state
  state[1] = math.min(state[1], now + s.block)
  if now - state[3] >= s.longest then state[2] = 0 end
  local over = false
  if s.exact then
    local gone = 4
    while state[gone] and state[gone] <= now - s.longest do gone = gone + 2 end
    if gone > 4 then
      local kept = { state[1], state[2], state[3] }
      for k = gone, #state do kept[#kept + 1] = state[k] end
      state = kept
      s.state = state
    end
    for b, bound in ipairs(s) do
      local used, first = 0, #state + 1
      while first > 4 and state[first - 2] > now - bound[2] do
        used = used + state[first - 1]
        first = first - 2
      end
      local missing, k, retry = used + s.cost - bound[1], first, 0
      while missing > 0 and k < #state do
        missing = missing - state[k + 1]
        retry = math.min(state[k], now) + bound[2] - now
        k = k + 2
      end
      local last = first > #state and now - bound[2] or math.min(state[#state - 1], now)
      bound[3], bound[4], bound[5] = math.max(0, bound[1] - used), last + bound[2] - now, retry
      if retry > 0 then over = true end
    end
  else
    for b, bound in ipairs(s) do
      local interval = math.ceil(bound[2] / bound[1])
      local capacity = bound[1] * interval
      local debt = math.min(math.max(0, (state[3 + b] or 0) - now), capacity)
      bound[3], bound[4] = math.floor((capacity - debt) / interval), debt
      bound[5] = math.max(0, debt + s.cost * interval - capacity)
      bound[6] = interval
      if bound[5] > 0 then over = true end
    end
  end
  s.outcome = 0
  if proven then s.outcome = 4
  elseif state[1] > now then s.outcome = 2
  elseif over then s.outcome = 1
  elseif s.most > 0 then
    if deciding then redis.call('ZREMRANGEBYSCORE', KEYS[s.flights], '-inf', string.format('%.0f', now)) end
    if redis.call('ZCARD', KEYS[s.flights]) >= s.most then s.outcome = 3 end
  end
  s.refused = s.outcome > 0 and s.outcome < 4
  if s.refused and s.enforced then allowed = 0 end
  slots[i] = s
end
local reply = { allowed, now }
for i, s in ipairs(slots) do
  local state = s.state
  if deciding and s.refused then
    if state[2] == 0 then state[3] = now end
    state[2] = state[2] + 1
    if s.outcome == 1 then state[1] = now + s.block end
    save(s.key, state, s.exact, s.longest)
  elseif deciding and allowed == 1 then
    if s.cost > 0 then
      for b, bound in ipairs(s) do
        bound[3] = bound[3] - s.cost
        if s.exact then bound[4] = bound[2]
        else
          bound[4] = bound[4] + s.cost * bound[6]
          state[3 + b] = now + bound[4]
        end
      end
      if s.exact then
        local last = #state > 3 and state[#state - 1] or 0
        if last >= now then state[#state] = state[#state] + s.cost
        else
          state[#state + 1] = now
          state[#state + 1] = s.cost
        end
      end
      save(s.key, state, s.exact, s.longest)
    end
    if s.most > 0 then
      redis.call('ZADD', KEYS[s.flights], string.format('%.0f', now + s.lease), lease)
      redis.call('PEXPIRE', KEYS[s.flights], string.format('%.0f', math.ceil(s.lease / 1000)))
    end
  end
  reply[#reply + 1] = s.outcome
  reply[#reply + 1] = s.outcome == 4 and 0 or math.max(0, state[1] - now)
  reply[#reply + 1] = state[2]
  for _, bound in ipairs(s) do
    for k = 1, 5 do if k ~= 2 then reply[#reply + 1] = bound[k] end end
  end
end
return reply`)

/** One key. ARGV: now, exact, units, when they were consumed, number of bounds, then limit and window of each. */
export const REFUND = script(`${COMMON}
local exact, units, when, bounds = arg() == 1, arg(), arg(), {}
local raw = redis.call('GET', KEYS[1])
if not raw then return 0 end
local state, longest = unpacked(raw), 0
for b = 1, arg() do
  local limit, window = arg(), arg()
  units = math.min(units, limit)
  longest = math.max(longest, window)
  bounds[b] = math.ceil(window / limit)
end
if exact then
  for k = 4, #state - 1, 2 do
    if state[k] == when then
      state[k + 1] = state[k + 1] - units
      if state[k + 1] <= 0 then
        table.remove(state, k)
        table.remove(state, k)
      end
      break
    end
  end
else
  for b, interval in ipairs(bounds) do
    local due = math.max(0, units * interval - math.max(0, now - when))
    if state[3 + b] then state[3 + b] = state[3 + b] - due end
  end
end
save(KEYS[1], state, exact, longest)
return 1`)

/**
 * Adds what an instance has admitted alone. KEYS: states. ARGV: now, then for each key: exact, block left,
 * refusals, longest window, and the number of values that follow. For GCRA these are pairs of debt and
 * capacity per bound, for exact windows the most units, then pairs of age and units, oldest first.
 */
export const MERGE = script(`${COMMON}
for i = 1, #KEYS do
  local exact, block, refusals, longest, size = arg() == 1, arg(), arg(), arg(), arg()
  local state = unpacked(redis.call('GET', KEYS[i]))
  if block > 0 then state[1] = math.max(state[1], now + block) end
  if refusals > 0 then
    if state[2] == 0 then state[3] = now end
    state[2] = state[2] + refusals
  end
  if exact then
    local most, entries, units = arg(), {}, 0
    for k = 4, #state - 1, 2 do entries[#entries + 1] = { state[k], state[k + 1] } end
    for _ = 2, size, 2 do
      local age, each = arg(), arg()
      entries[#entries + 1] = { now - age, each }
    end
    table.sort(entries, function(a, b) return a[1] > b[1] end)
    local kept = {}
    for _, entry in ipairs(entries) do
      if units >= most or entry[1] <= now - longest then break end
      units = units + entry[2]
      table.insert(kept, 1, entry)
    end
    state = { state[1], state[2], state[3] }
    for _, entry in ipairs(kept) do
      state[#state + 1] = entry[1]
      state[#state + 1] = entry[2]
    end
  else
    for b = 1, size / 2 do
      local debt, capacity = arg(), arg()
      state[3 + b] = math.min(math.max(state[3 + b] or 0, now) + debt, now + capacity)
    end
  end
  save(KEYS[i], state, exact, longest)
end
return #KEYS`)

/** Lifts blocks. KEYS: states. ARGV: now, then for each key: exact, longest window. */
export const UNBLOCK = script(`${COMMON}
for i = 1, #KEYS do
  local exact, longest = arg() == 1, arg()
  local raw = redis.call('GET', KEYS[i])
  if raw then
    local state = unpacked(raw)
    state[1], state[2] = 0, 0
    save(KEYS[i], state, exact, longest)
  end
end
return 1`)

/** KEYS[1]: the instances. ARGV: now, lifetime in µs, instance. Returns how many are alive. */
export const HEARTBEAT = script(`${COMMON}
local life = arg()
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - life))
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[3])
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', life / 1000))
return redis.call('ZCARD', KEYS[1])`)
