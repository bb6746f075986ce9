/**
 * The Lua script of a decision. The formulas are those of `limits/state.ts`; times are whole microseconds of
 * the server's clock, so that a fleet has one clock.
 */
import { script } from './redis-script.ts'

/**
 * KEYS: the state of each slot, then factors, proofs and leases. ARGV: now, numbers in one text, the lease.
 * The numbers: 1 to decide or 0 to peek, number of slots, then for each slot its cost, index of its leases
 * (0: none), index of its proof (0: none), number of factors and their indexes, and of its policy: exact,
 * block, enforced, most in flight, lease in µs, number of bounds, and of each its limit and window.
 */
export const DECIDE = script(`
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
    local value = tonumber(values[arg()] or '')
    if value and value > 0 and value < factor then factor = value end
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
  local state = unpacked(values[i], s.exact)
  s.state = state
  if now - state[3] >= s.longest then state[2] = 0 end
  local over = false
  if s.exact then
    local gone = 5
    while state[gone] and state[gone] <= now - s.longest do gone = gone + 2 end
    if gone > 5 then
      local kept = { state[1], state[2], state[3], now }
      for k = gone, #state do kept[#kept + 1] = state[k] end
      state = kept
      s.state = state
    end
    for b, bound in ipairs(s) do
      local used, first = 0, #state + 1
      while first > 5 and state[first - 2] > now - bound[2] do
        used = used + state[first - 1]
        first = first - 2
      end
      local missing, k, retry = used + s.cost - bound[1], first, 0
      while missing > 0 and k < #state do
        missing = missing - state[k + 1]
        retry = state[k] + bound[2] - now
        k = k + 2
      end
      local last = first > #state and now - bound[2] or state[#state - 1]
      bound[3], bound[4], bound[5] = math.max(0, bound[1] - used), last + bound[2] - now, retry
      if retry > 0 then over = true end
    end
  else
    for b, bound in ipairs(s) do
      local interval = math.ceil(bound[2] / bound[1])
      local capacity = bound[1] * interval
      local debt = math.min(debt_of(state, bound[2], interval), capacity)
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
    -- Later than a lease can end: the clock was set back.
    local latest = string.format('%.0f', now + s.lease)
    if deciding then
      call('ZREMRANGEBYSCORE', KEYS[s.flights], '-inf', string.format('%.0f', now))
      call('ZREMRANGEBYSCORE', KEYS[s.flights], '(' .. latest, '+inf')
    end
    local running = call('ZCOUNT', KEYS[s.flights], '(' .. string.format('%.0f', now), latest)
    if running >= s.most then s.outcome = 3 end
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
          owe(state, bound[2], bound[6], bound[4])
        end
      end
      if s.exact then
        local last = #state > 4 and state[#state - 1] or 0
        if last >= now then state[#state] = state[#state] + s.cost
        else
          state[#state + 1] = now
          state[#state + 1] = s.cost
        end
      end
      save(s.key, state, s.exact, s.longest)
    end
    if s.most > 0 then
      call('ZADD', KEYS[s.flights], string.format('%.0f', now + s.lease), lease)
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
