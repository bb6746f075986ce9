/**
 * The Lua scripts besides that of a decision. Each is one atomic call, and all its keys have one hash tag, so
 * that Redis Cluster accepts it.
 */
import { script } from './redis-script.ts'

/** One key. ARGV: now, exact, units, when they were consumed, longest window. */
export const REFUND = script(`
local exact, units, when, longest = arg() == 1, arg(), arg(), arg()
local raw = call('GET', KEYS[1])
if not raw then return 0 end
local state = unpacked(raw, exact)
if exact then
  for k = 5, #state - 1, 2 do
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
  for k = 5, #state, 3 do
    state[k + 2] = state[k + 2] - math.max(0, units * state[k + 1] - math.max(0, now - when))
  end
end
save(KEYS[1], state, exact, longest)
return 1`)

/**
 * Adds what an instance has admitted alone. KEYS: states. ARGV: now, then for each key: exact, block left,
 * refusals, longest window, and the number of values that follow. For GCRA these are window, interval, debt
 * and capacity of each bound, for exact windows the most units, then pairs of age and units, oldest first.
 */
export const MERGE = script(`
for i = 1, #KEYS do
  local exact, block, refusals, longest, size = arg() == 1, arg(), arg(), arg(), arg()
  local state = unpacked(call('GET', KEYS[i]), exact)
  if block > 0 then state[1] = math.max(state[1], now + block) end
  if refusals > 0 then
    if state[2] == 0 then state[3] = now end
    state[2] = state[2] + refusals
  end
  if exact then
    local most, entries, units = arg(), {}, 0
    for k = 5, #state - 1, 2 do entries[#entries + 1] = { state[k], state[k + 1] } end
    for _ = 2, size, 2 do
      local age, each = arg(), arg()
      entries[#entries + 1] = { now - age, each }
    end
    table.sort(entries, function(a, b) return a[1] > b[1] end)
    local kept = {}
    for _, entry in ipairs(entries) do
      if units >= most or entry[1] <= now - longest then break end
      units = units + entry[2]
      kept[#kept + 1] = entry
    end
    state = { state[1], state[2], state[3], now }
    for k = #kept, 1, -1 do
      state[#state + 1] = kept[k][1]
      state[#state + 1] = kept[k][2]
    end
  else
    for _ = 1, size, 4 do
      local window, interval, debt, capacity = arg(), arg(), arg(), arg()
      owe(state, window, interval, math.min(debt_of(state, window, interval) + debt, capacity))
    end
  end
  save(KEYS[i], state, exact, longest)
end
return #KEYS`)

/** Lifts blocks. KEYS: states. ARGV: now, then for each key: exact, longest window. */
export const UNBLOCK = script(`
for i = 1, #KEYS do
  local exact, longest = arg() == 1, arg()
  local raw = call('GET', KEYS[i])
  if raw then
    local state = unpacked(raw, exact)
    state[1], state[2] = 0, 0
    save(KEYS[i], state, exact, longest)
  end
end
return 1`)

/** KEYS[1]: the instances. ARGV: now, lifetime in µs, instance. Returns how many are alive. */
export const HEARTBEAT = script(`
local life = arg()
call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - life))
call('ZREMRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now), '+inf')
call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[3])
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', life / 1000))
return redis.call('ZCARD', KEYS[1])`)
