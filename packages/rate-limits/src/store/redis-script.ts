/** A Lua script, and what all scripts of this plugin begin with. */
import { createHash } from 'node:crypto'

/** A script, and the digest under which Redis caches it. */
export interface Script {
  readonly source: string
  readonly sha: string
}

/** Makes a script that begins with the common part. */
export function script(body: string): Script {
  const source = COMMON + body
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
local function valid(state, step)
  if type(state) ~= 'table' or #state < 4 or (#state - 4) % step > 0 then return false end
  for i = 1, #state do
    if type(state[i]) ~= 'number' or state[i] ~= state[i] then return false end
  end
  return true
end
-- A state is { blocked until, refusals, refused since, written at }, then for GCRA window, interval and time
-- of each bound, and for exact windows pairs of time and units, oldest first. One that was written by others
-- and is none begins anew. If the clock was set back, all times are.
local function unpacked(raw, exact)
  local step = exact and 2 or 3
  local ok, state = false
  if raw then ok, state = pcall(cmsgpack.unpack, raw) end
  if not ok or not valid(state, step) then return { 0, 0, 0, now } end
  local back = state[4] - now
  if back > 0 then
    state[1], state[3] = state[1] - back, state[3] - back
    for k = exact and 5 or 7, #state, step do state[k] = state[k] - back end
  end
  state[4] = now
  if exact then return state end
  local kept = { state[1], state[2], state[3], now }
  for k = 5, #state, 3 do
    if state[k + 2] > now then
      for part = 0, 2 do kept[#kept + 1] = state[k + part] end
    end
  end
  return kept
end
-- Where a window is in a GCRA state, or the end.
local function place(state, window)
  local k = 5
  while k <= #state and state[k] ~= window do k = k + 3 end
  return k
end
local function debt_of(state, window, interval)
  local k = place(state, window)
  if k > #state then return 0 end
  local debt = math.max(0, state[k + 2] - now)
  if state[k + 1] == interval then return debt end
  return math.ceil(debt * interval / state[k + 1])
end
local function owe(state, window, interval, debt)
  local k = place(state, window)
  state[k], state[k + 1], state[k + 2] = window, interval, now + debt
end
-- A key of another type was not written by this plugin.
local function call(name, key, ...)
  local reply = redis.pcall(name, key, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if not string.find(reply.err, 'WRONGTYPE', 1, true) then return error(reply) end
  redis.call('DEL', key)
  return redis.call(name, key, ...)
end
local function save(key, state, exact, longest)
  local last = state[1]
  if state[2] > 0 then last = math.max(last, state[3] + longest) end
  if exact then
    if #state > 4 then last = math.max(last, state[#state - 1] + longest) end
  else
    for i = 7, #state, 3 do last = math.max(last, state[i]) end
  end
  local ttl = math.ceil((last - now) / 1000)
  if ttl < 1 then redis.call('DEL', key)
  else redis.call('SET', key, cmsgpack.pack(state), 'PX', string.format('%.0f', ttl)) end
end
`
